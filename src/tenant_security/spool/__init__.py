"""EVENTS ON DISK: append-only segments that survive a crash; what the proxy's outbox and the logdriver are made of.

May import ``errors``; knows neither events nor tenants, only records of bytes and their positions.
"""
