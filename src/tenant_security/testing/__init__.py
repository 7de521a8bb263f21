"""The shipped test kit: the real proxy in one event loop, a KMS that does as it is told, a clock that is stepped.

May import everything but ``cli``; nothing of the product imports it.
"""
