"""Tenant secrets as a proxy hands them in, for tests that have no proxy."""

from tenant_security.broker.secrets import create_secret, reserve_number
from tenant_security.crypto.derive import bound_fingerprint
from tenant_security.crypto.signing import SigningKey
from tenant_security.secret import Secret
from tenant_security.trust.tenant_secrets import Place, bind
from tenant_security.wire.service_api import NewSecret

ANYBODY = SigningKey(Secret(bytes(32)))


def new_secret(place, *, secret=bytes(32), config=1, encrypted=b"edek", key=ANYBODY):
    """A secret for a place, signed by somebody."""
    fingerprint = bound_fingerprint(secret, place.encoded())
    binding = bind(key, place, fingerprint=fingerprint)
    return NewSecret(place.tenant, place.number, place.type, place.path, fingerprint, config, encrypted, binding)


async def keep_secret(change, tenant, path, config, *, type_="deterministic"):
    """Keep a secret in a change of a broker's database; return its row."""
    number = await reserve_number(change.connection, change.vendor)
    return await create_secret(change, new_secret(Place(change.vendor, tenant, type_, path, number), config=config))
