"""One file per step. They are never changed once they were released."""
