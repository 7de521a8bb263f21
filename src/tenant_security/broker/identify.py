"""Finds out who asks: by a signed request of a service or of an author, or by an API key.

People who signed in on the web are found by ``sessions``.
"""

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker import schema
from tenant_security.broker.audit import Actor
from tenant_security.broker.callers import Caller, Role
from tenant_security.broker.database import Database
from tenant_security.broker.refusals import NotSignedInError
from tenant_security.broker.replays import Replays
from tenant_security.broker.trusted import VendorTrust, vendor_trust
from tenant_security.crypto.request_tokens import LIFE_S, SKEW_S, Asking, BadTokenError, check_request, signer_of
from tenant_security.crypto.signing import VerifyingKey
from tenant_security.wire import snapshot as words
from tenant_security.wire.key_scopes import Scope

_NOT_KNOWN: Final = "the request is not signed by anybody who is known here"
API_KEY_PREFIX: Final = "tsb_"
_USED_EVERY_MS: Final = 60_000
"""How exactly a key's last use is written down."""


class Identify:
    """Tells who asks. One for a process: it remembers which tokens were used.

    Trust: what it remembers is this process's own; behind several brokers a token may be used once with each, within
    its minute.
    """

    def __init__(self, database: Database, now_s: Callable[[], int]) -> None:
        self._database: Final = database
        self._now_s: Final = now_s
        self._replays: Final = Replays(LIFE_S + 2 * SKEW_S)

    async def signed(self, token: str, asking: Asking, vendor: str | None) -> Caller:
        """Identify the signer of a request. ``vendor`` is whom the request is about; services are of one anyway.

        Raises: NotSignedInError.
        """
        try:
            key_id = signer_of(token)
            async with self._database.read() as connection:
                found = await _service(connection, key_id)
                if found is None and vendor is not None:
                    found = await _author(connection, key_id, vendor)
            if found is None:
                raise NotSignedInError(_NOT_KNOWN)
            caller, key = found
            now_s = self._now_s()
            token_id = check_request(token, key, asking, now_s=now_s)
        except BadTokenError as bad:
            raise NotSignedInError(f"the request's token is refused: {bad}") from None
        if not self._replays.is_new(f"{key_id} {token_id}", now_s):
            raise NotSignedInError("the request's token was used before; sign every request anew")
        return caller

    async def api_key(self, text: str) -> Caller:
        """Identify the holder of an API key.

        Raises: NotSignedInError.
        """
        key_id, digest = api_key_parts(text)
        keys = schema.api_keys
        async with self._database.read() as connection:
            row = (await connection.execute(sa.select(keys).where(keys.c.id == key_id))).one_or_none()
        # The digest is compared even where there is no such key, so that time tells nobody which ids exist.
        same = hmac.compare_digest(digest, row.hash if row is not None else bytes(32))
        now_ms = self._now_s() * 1000
        if row is None or not same or row.revoked_ms is not None or (row.expires_ms or now_ms + 1) <= now_ms:
            raise NotSignedInError("the API key is not known here, has expired or was revoked")
        if now_ms - (row.used_ms or 0) >= _USED_EVERY_MS:
            async with self._database.note() as connection:
                await connection.execute(keys.update().where(keys.c.id == key_id).values(used_ms=now_ms))
        return Caller(
            Actor("api-key", row.id, row.name),
            row.vendor,
            Role(row.role),
            scopes=None if row.scopes is None else frozenset(known_scopes(row.scopes)),
            tenants=None if row.tenants is None else tuple(json.loads(row.tenants)),
        )


def known_scopes(stored: str) -> list[Scope]:
    """Read the scopes of a key as they are stored. One that a newer version stored gives nothing here."""
    known = {scope.value: scope for scope in Scope}
    return [known[each] for each in json.loads(stored) if each in known]


def api_key_parts(text: str) -> tuple[str, bytes]:
    """Return the id of an API key and the digest that is stored of it. Shape: ``tsb_<id>_<secret>``."""
    key_id = text.removeprefix(API_KEY_PREFIX).partition("_")[0]
    return key_id, hashlib.sha256(b"tenant-security/broker-api-key/v1\n" + text.encode()).digest()


async def _service(connection: AsyncConnection, key_id: str) -> tuple[Caller, VerifyingKey] | None:
    accounts = schema.service_accounts
    row = (
        await connection.execute(
            sa.select(accounts).where(accounts.c.signing_key_id == key_id, accounts.c.status.in_(("active", "revoked")))
        )
    ).one_or_none()
    if row is None:
        return None
    trust = await vendor_trust(connection, row.vendor)
    # The manifest has the last word: a row that says more than it counts for nothing.
    identity = next((each for each in trust.manifest.identities if each.id == row.id), None)
    if identity is None or identity.signing != row.signing:
        return None
    actor = Actor("service", row.id, row.id)
    if identity.status is words.Status.REVOKED:
        return Caller(actor, row.vendor, Role.REVOKED), VerifyingKey(row.signing)
    if row.status != "active":
        return None
    segments = frozenset(segment.id for segment in trust.segments_for(frozenset(identity.tags)))
    return Caller(actor, row.vendor, Role(row.kind), None, segments), VerifyingKey(row.signing)


async def _author(connection: AsyncConnection, key_id: str, vendor: str) -> tuple[Caller, VerifyingKey] | None:
    known = sa.select(schema.vendors.c.id).where(schema.vendors.c.id == vendor)
    if (await connection.execute(known)).first() is None:
        return None
    trust: VendorTrust = await vendor_trust(connection, vendor)
    author = trust.authors.get(key_id)
    if author is None or author.tenant != words.SHARED:
        return None
    named = next((each.name for each in trust.manifest.authors if each.public == author.key.public), key_id)
    return Caller(Actor("author", key_id, named), vendor, Role.AUTHOR), author.key
