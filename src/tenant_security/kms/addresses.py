"""Addresses that a tenant writes into a KMS config, held to one shape.

Source: wire/addresses.py has the rule.
"""

from collections.abc import Collection

from tenant_security.kms.refusals import Provider, invalid
from tenant_security.wire import addresses


def origin(provider: Provider, address: str, member: str, *, paths: Collection[str] = ("", "/")) -> str:
    """Return the scheme, host and port of an address, such as ``https://kms.acme.example:8443``.

    ``paths``: what may stand after them; it is dropped.

    Raises: KmsFaultError 207 that names the member.
    """
    try:
        return addresses.origin(address, member, paths=paths)
    except ValueError as wrong:
        raise invalid(provider, str(wrong)) from None
