"""Frameworks: Django, SQLAlchemy, FastAPI, S3. Each module needs the extra of its name, and imports nothing of others.

May import what the client may, and its own framework.
"""
