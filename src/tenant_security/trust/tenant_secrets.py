"""The rules for tenant secrets: whose word a secret's place stands on, and that what a broker shows does not go back.

* A secret's fingerprint is made from the secret and its place: vendor, tenant, type, path, number. Whoever opens the
  secret checks it, so a secret that was put elsewhere is noticed. Whoever keeps it cannot make one.
* The fingerprint and the place are signed by a proxy of the manifest, so a secret that somebody else made is noticed,
  also one whose value they know.
* A secret that was brought from elsewhere is vouched for by an author for all tenants, until a proxy has bound it.
* Of one path, numbers rise from archived to in rotation to current, and no two are alike.
* A secret that was seen stays, and its rotation only goes forward.

Source: docs/formats.md, "Tenant secrets".
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final, NamedTuple

from tenant_security.crypto.derive import bound_fingerprint, secret_fingerprint
from tenant_security.crypto.signing import Kind, SigningKey, VerifyingKey
from tenant_security.wire import snapshot as words
from tenant_security.wire.service_api import StoredSecret

_IMPORTED: Final = b"tenant-security/imported-secret/v1\n"
_ORDER: Final = {"archived": 0, "in-rotation": 1, "current": 2}


class Makers(NamedTuple):
    """Who may say where a secret belongs, by key id: the manifest's proxies, and its authors for all tenants."""

    proxies: Mapping[str, VerifyingKey]
    authors: Mapping[str, VerifyingKey]


NO_MAKERS: Final = Makers({}, {})


class Place(NamedTuple):
    """Where a secret belongs."""

    vendor: str
    tenant: str
    type: str
    path: str
    number: int

    def encoded(self) -> bytes:
        """Return the place as the fingerprint covers it: each text after its length, then the number."""
        texts = (text.encode() for text in self[:4])
        return b"".join(len(text).to_bytes(4) + text for text in texts) + self.number.to_bytes(8)


class Standing(Enum):
    """On whose word a secret's place stands."""

    BOUND = "bound"
    """A proxy of the manifest signed its fingerprint."""
    BROUGHT = "brought"
    """An author for all tenants vouches for its EDEK, which a proxy has not opened yet."""
    UNBOUND = "unbound"
    """Nobody's: it is from before secrets were bound, or forged."""


def makers_of(manifest: words.Manifest) -> Makers:
    """Return who may say where a secret belongs.

    A proxy that was revoked counts: the secrets it made before are still the ones that data is encrypted with.
    """
    services = {words.BRIDGE_TAG, words.LOGDRIVER_TAG}
    proxies = (VerifyingKey(each.signing) for each in manifest.identities if not services.intersection(each.tags))
    authors = (
        VerifyingKey(each.public)
        for each in manifest.authors
        if each.tenant == words.SHARED and {words.May.RECORD, words.May.CONFIG} <= set(each.may)
    )
    return Makers({each.key_id: each for each in proxies}, {each.key_id: each for each in authors})


def bind(key: SigningKey, place: Place, *, fingerprint: bytes = b"", wrapped: bytes = b"") -> words.Signed:
    """Sign where a secret belongs: by its fingerprint, or by its EDEK where that cannot be opened."""
    edek = hashlib.sha256(wrapped).digest() if wrapped else b""
    body = words.encode(words.SecretBinding(*place, fingerprint=fingerprint, wrapped=edek))
    return words.Signed(body, key.key_id, key.sign(Kind.SECRET, body))


def place_of(vendor: str, tenant: str, secret: StoredSecret) -> Place:
    """Return where a secret is said to belong."""
    return Place(vendor, tenant, secret.type, secret.path, secret.number)


def standing_of(secret: StoredSecret, place: Place, makers: Makers) -> Standing:
    """Judge whose word a secret's place stands on. It costs one signature and opens nothing."""
    signed = secret.binding
    if signed is None:
        return Standing.UNBOUND
    try:
        said = words.decode(words.SecretBinding, signed.body)
    except words.MalformedError:
        return Standing.UNBOUND
    if (said.vendor, said.tenant, said.type, said.path, said.number) != place:
        return Standing.UNBOUND
    by_proxy, by_author = makers.proxies.get(signed.key), makers.authors.get(signed.key)
    key, standing = (by_proxy, Standing.BOUND) if by_proxy is not None else (by_author, Standing.BROUGHT)
    says_it = (
        said.fingerprint == secret.fingerprint
        if standing is Standing.BOUND
        else said.wrapped == hashlib.sha256(secret.encrypted).digest()
    )
    if key is None or not says_it or not key.verifies(Kind.SECRET, signed.body, signed.sig):
        return Standing.UNBOUND
    return standing


def fits(plain: bytes, secret: StoredSecret, place: Place, standing: Standing) -> bool:
    """Whether what the tenant's KMS unwrapped is the secret of this place."""
    if hmac.compare_digest(bound_fingerprint(plain, place.encoded()), secret.fingerprint):
        return True
    if standing is Standing.BOUND:
        return False
    return standing is Standing.BROUGHT or (
        hmac.compare_digest(secret_fingerprint(plain), secret.fingerprint)
        or hmac.compare_digest(imported_fingerprint(secret.encrypted), secret.fingerprint)
    )


def imported_fingerprint(wrapped: bytes) -> bytes:
    """Return what stands in a fingerprint's place for a secret that was brought from elsewhere unopened."""
    return hashlib.sha256(_IMPORTED + wrapped).digest()


def contradiction(secrets: Sequence[StoredSecret]) -> str:
    """Say why these cannot all be secrets of one tenant as an honest broker keeps them; empty when they can.

    Give it secrets whose place is vouched for: of others nothing is known.
    """
    if len({each.number for each in secrets}) < len(secrets):
        return "two of its secrets have one number"
    by_path: dict[tuple[str, str], list[StoredSecret]] = {}
    for each in secrets:
        by_path.setdefault((each.type, each.path), []).append(each)
    for alike in by_path.values():
        ordered = sorted(alike, key=lambda each: each.number)
        ranks = [_ORDER[each.rotation] for each in ordered]
        if ranks != sorted(ranks) or any(ranks.count(rank) > 1 for rank in (1, 2)):
            return "an older secret stands before a newer one of its path"
    return ""


def falls_behind(secrets: Sequence[StoredSecret], seen: Sequence[tuple[StoredSecret, Standing]]) -> str:
    """Say how what a broker shows is older than what was seen of the same tenant; empty when it is not."""
    now = {each.number: each for each in secrets}
    for before, standing in seen:
        after = now.get(before.number)
        if after is None:
            return f"secret {before.number} is gone"
        if (after.type, after.path) != (before.type, before.path):
            return f"secret {before.number} is of another path"
        if standing is Standing.BOUND and after.fingerprint != before.fingerprint:
            return f"secret {before.number} is another secret"
        if _ORDER[after.rotation] > _ORDER[before.rotation]:
            return f"secret {before.number} was {before.rotation} and is {after.rotation}"
    return ""
