"""Rekeying many EDEKs: from files or a database, at a chosen rate, and on from where it was interrupted.

May import what the client may. SQLAlchemy is imported only by ``sql``.
"""
