"""WHAT WE DO TO BYTES: pure functions over the ``cryptography`` library, never primitives of our own.

May import: ``errors``, ``secret``.
"""
