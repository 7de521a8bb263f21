"""The only way out: talks to others are written as flows and run by a driver.

A flow is a generator that yields what it wants to send, is sent what came back, and returns a value or raises a
fault. It opens no socket, so it is tested without one. The driver owns deadlines, size caps, pooling and sharing.

May import: ``wire``, ``crypto``, ``errors``, ``secret``.
"""
