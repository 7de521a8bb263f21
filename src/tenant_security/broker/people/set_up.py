"""The set-up token: what lets the first person sign up at a new broker and hand in a vendor.

A broker that keeps no vendor prints one when it starts. It is made of the broker's own key, so all processes print the
same, and it is void as soon as there is a vendor.
"""

import base64
import hmac
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker import schema
from tenant_security.broker.server_key import ServerKey
from tenant_security.broker.web import Web

SHORTEST: Final = 16
_BYTES: Final = 24


def first_token(key: ServerKey) -> str:
    """Return the token that a broker without a vendor prints."""
    return "set_" + base64.urlsafe_b64encode(key.code("set-up", b"first vendor")[:_BYTES]).decode()


async def is_needed(connection: AsyncConnection) -> bool:
    """Whether there is no vendor yet."""
    return (await connection.execute(sa.select(schema.vendors.c.id).limit(1))).first() is None


async def is_good(connection: AsyncConnection, web: Web, token: str) -> bool:
    """Whether this is the set-up token of the settings, or the one of a broker that keeps no vendor."""
    given = token.encode()
    of_settings = hmac.compare_digest(given, web.set_up_token.encode())
    if len(web.set_up_token) >= SHORTEST and of_settings:
        return True
    return hmac.compare_digest(given, first_token(web.key).encode()) and await is_needed(connection)
