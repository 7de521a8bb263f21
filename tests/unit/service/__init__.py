"""The HTTP edge, settings, logs and metrics that every daemon shares."""
