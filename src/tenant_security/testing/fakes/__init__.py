"""Faithful fakes of the clouds that tenants use: they check what the real ones check, and fail when they are told to.

Each is one HTTPS server with a certificate for the real host names; the driver dials it in their place, so everything
but the address is as in production. What vendors' own SDKs make of them is tested in tests/oracles.
"""
