"""A service identity's keys: made where the service runs, or by the vendor for it."""

from collections.abc import Iterable

import msgspec

from tenant_security.crypto.seal import Suite
from tenant_security.crypto.signing import SigningKey, fingerprint
from tenant_security.crypto.unseal import OpeningKey, new_seed
from tenant_security.secret import Secret
from tenant_security.wire import snapshot as words


class IdentityRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The public half of a service identity: what a service shows to be let in."""

    id: words.Name
    config: words.ConfigId
    suite: words.SuiteNumber
    encryption: bytes
    signing: words.Ed25519Public
    tags: tuple[words.Name, ...] = ()

    @property
    def fingerprint(self) -> str:
        """What the two sides compare before the identity is let in."""
        return fingerprint(self.encryption + self.signing)


def new_identity(
    name: str, config_id: int, suite: Suite, tags: Iterable[str] = ()
) -> tuple[IdentityRequest, Secret[bytes], Secret[bytes]]:
    """Make a service identity's keys. Returns its public half, its encryption seed and its signing seed."""
    encryption, signing = new_seed(), new_seed()
    request = IdentityRequest(
        id=name,
        config=config_id,
        suite=suite.value,
        encryption=OpeningKey(suite, encryption).public,
        signing=SigningKey(signing).public,
        tags=tuple(tags),
    )
    return request, encryption, signing
