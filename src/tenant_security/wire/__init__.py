"""WHAT WE SAY: frozen types and their bytes. No I/O, no clock.

May import: ``errors``, ``secret``, ``crypto``'s neighbours on this floor never.
"""
