"""The file of applications: who may ask the proxy, with which keys, for what and how often.

Shape: JSON. A key is ``tsk_<8 characters of id>_<43 characters of secret>``; the file holds its id and the HMAC-SHA256
of all of it, so who reads the file cannot ask for anything.

Source: docs/api-keys.md.
"""

import hashlib
import hmac
import re
import secrets
from datetime import datetime
from typing import Annotated, Final

import msgspec

from tenant_security.secret import Secret
from tenant_security.wire.name_patterns import names

Name = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
KeyId = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9]{8}\Z")]
Digest = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
TenantPattern = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]

MOST_APPLICATIONS: Final = 200
SLOTS: Final = 2
"""How many keys an application has at most: the old one and the new one."""
OPERATIONS: Final = frozenset(
    {
        "document/wrap",
        "document/unwrap",
        "document/batch-wrap",
        "document/batch-unwrap",
        "document/rekey",
        "document/report-operations",
        "key/derive-with-secret-path",
        "event/security-event",
    }
)
_KEY: Final = re.compile(r"tsk_([a-z0-9]{8})_([A-Za-z0-9_-]{43})")
_ID_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_DOMAIN: Final = b"tenant-security/application-key/v1\n"


class _Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """What all of these have in common."""


class Key(_Written, frozen=True):
    """One key of an application. Not good any more from ``expires`` on."""

    id: KeyId
    hmac: Digest
    expires: datetime | None = None


class Application(_Written, frozen=True, kw_only=True):
    """Who asks. Without ``operations`` it may do everything, without ``tenants`` for everybody.

    ``tenants`` are ids, or beginnings of ids that end with ``*``. ``requests_per_second`` bounds all of its requests in
    one process; ``burst`` is how many may come at once, by default a second's worth.
    """

    name: Name
    keys: Annotated[tuple[Key, ...], msgspec.Meta(max_length=SLOTS)] = ()
    operations: tuple[str, ...] | None = None
    tenants: tuple[TenantPattern, ...] | None = None
    requests_per_second: Annotated[float, msgspec.Meta(gt=0, le=1e6)] | None = None
    burst: Annotated[int, msgspec.Meta(ge=1, le=10**6)] | None = None

    def may(self, operation: str) -> bool:
        """Whether it may do this at all."""
        return self.operations is None or operation in self.operations

    def may_for(self, tenant: str) -> bool:
        """Whether it may do anything for this tenant."""
        return self.tenants is None or names(self.tenants, tenant)


class ApplicationsFile(_Written, frozen=True):
    """All applications. ``salt`` keys the HMACs."""

    salt: Annotated[bytes, msgspec.Meta(min_length=32, max_length=64)]
    applications: Annotated[tuple[Application, ...], msgspec.Meta(max_length=MOST_APPLICATIONS)] = ()


class WrongFileError(Exception):
    """The file of applications cannot be used. The message says why, and holds no key."""


def read_applications(text: bytes) -> ApplicationsFile:
    """Read the file strictly. Raises: WrongFileError."""
    try:
        file = msgspec.json.decode(text, type=ApplicationsFile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as malformed:
        raise WrongFileError(str(malformed)) from None
    seen: set[str] = set()
    for application in file.applications:
        for name in (f"application {application.name}", *(f"key {key.id}" for key in application.keys)):
            if name in seen:
                raise WrongFileError(f"{name} stands there twice")
            seen.add(name)
        if unknown := sorted(set(application.operations or ()) - OPERATIONS):
            raise WrongFileError(f"application {application.name}: {unknown[0]!r} is no operation")
        if any(key.expires is not None and key.expires.tzinfo is None for key in application.keys):
            raise WrongFileError(f"application {application.name}: expires needs a time zone, such as Z")
    return file


def new_salt() -> bytes:
    """Return a new file's salt."""
    return secrets.token_bytes(32)


def new_key(salt: bytes, expires: datetime | None = None) -> tuple[Secret[str], Key]:
    """Make a key. The first is for the application, and is shown once; the second for the file."""
    key_id = "".join(secrets.choice(_ID_LETTERS) for _ in range(8))
    text = f"tsk_{key_id}_{secrets.token_urlsafe(32)}"
    return Secret(text), Key(key_id, digest(salt, text.encode()).hex(), expires)


def id_of(key: bytes) -> str | None:
    """Return the id that a key names, or None where it has not the shape of one."""
    found = _KEY.fullmatch(key.decode("latin-1"))
    return found.group(1) if found is not None else None


def digest(salt: bytes, key: bytes) -> bytes:
    """Return what is kept of a key: 32 bytes."""
    return hmac.digest(salt, _DOMAIN + key, hashlib.sha256)
