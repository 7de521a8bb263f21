"""How the broker's tables came to be what they are, step by step, and how a database is brought up to date."""
