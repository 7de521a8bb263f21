"""The demo's owner: a link by which whoever runs the demo signs up once, and their key let in by itself."""

import asyncio
import base64
import os
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from tenant_security.authoring.admitting import admit_admin
from tenant_security.authoring.at_broker import AtBroker
from tenant_security.crypto.signing import Kind, SigningKey
from tenant_security.outbound.broker import BrokerRefusedError
from tenant_security.outbound.flow import Flow, UnreachableError
from tenant_security.secret import Secret
from tenant_security.wire import people_api as api
from tenant_security.wire.enrolment import Invitation
from tenant_security.wire.snapshot import SHARED, Signed

EMAIL: Final = "owner@demo.example"
_LIFE_S: Final = 7 * 86_400
_LOOK_S: Final = 2.0
_SEED_BYTES: Final = 32

Run = Callable[[Flow[Any]], Awaitable[Any]]


async def invite_owner(admin: AtBroker, run: Run, origin: str) -> str | None:
    """Return the link by which the demo's owner signs up; None once somebody has.

    Raises: BrokerRefusedError; UnreachableError.
    """
    if await run(admin.ask("GET", "/people", list[api.Member])):
        return None
    for each in await run(admin.ask("GET", "/invitations", list[api.InvitationLine])):
        if each.status == "open":
            await run(admin.ask("DELETE", f"/invitations/{each.id}", type(None)))
    vendor, seed = admin.vendor, os.urandom(_SEED_BYTES)
    now_s = vendor.now_s()
    once = SigningKey(Secret(seed))
    invitation = Invitation(vendor.id, SHARED, EMAIL, "owner", once.public, now_s, now_s + _LIFE_S)
    body = msgspec.json.encode(invitation)
    signed = Signed(body, vendor.admin.key_id, vendor.admin.sign(Kind.INVITATION, body))
    wanted = api.NewInvitation(EMAIL, "owner", "link", signed)
    made = await run(admin.ask("POST", "/invitations", api.InvitationMade, wanted))
    secret = base64.urlsafe_b64encode(seed).rstrip(b"=").decode()
    return f"{origin}/invitation#{urlencode({'t': made.token, 'r': vendor.root_fingerprint, 's': secret})}"


async def let_owner_in(admin: AtBroker, run: Run) -> None:
    """Wait until the owner has made their keys, then let them sign for the vendor."""
    while True:
        try:
            lines = await run(admin.ask("GET", "/authors", list[api.AuthorLine]))
            owner = next((each for each in lines if each.email == EMAIL), None)
            if owner is not None:
                if owner.status == "pending":
                    await run(admin.pull_keys())
                    admit_admin(admin.vendor, owner)
                    await run(admin.publish_keys())
                return
        except (BrokerRefusedError, UnreachableError, ValueError):
            pass  # it is tried again while the demo runs
        await asyncio.sleep(_LOOK_S)
