"""A broker that serves, with people."""

import contextlib
import ipaddress
from collections.abc import AsyncIterator
from typing import Any

from tests.unit.broker.browser import Browser
from tests.unit.broker.conftest import ALICE
from tests.unit.broker.served import Served, served

from tenant_security.broker.people import invitations
from tenant_security.broker.people.organisations import organisation
from tenant_security.wire.people_api import NewInvitation

TRUSTED = (ipaddress.ip_network("127.0.0.0/8"),)
VENDOR = "/api/1/vendors/acme"


class Town:
    """People of a vendor and its tenants."""

    def __init__(self, made: Served, world: Any) -> None:
        self.made = made
        self.world = world

    async def token(self, email: str, role: str = "owner", tenant: str | None = None, **more: Any) -> str:
        async with self.world.change() as change:
            where = await organisation(change.connection, "acme", tenant)
            return (await invitations.invite(change, where, NewInvitation(email, role, **more))).token

    async def person(self, email: str, role: str = "owner", tenant: str | None = None) -> Browser:
        """Somebody who has signed up with a passkey, and is signed in."""
        browser = Browser(self.made)
        name = email.partition("@")[0].title()
        made = await browser.sign_up(await self.token(email, role, tenant), name)
        assert made.status == 201, made
        return browser

    async def with_passphrase(self, email: str, role: str = "owner", tenant: str | None = None) -> Browser:
        browser = Browser(self.made)
        made = await browser.sign_up_with_passphrase(await self.token(email, role, tenant))
        assert made.status == 201, made
        return browser

    async def id_of(self, browser: Browser) -> str:
        return (await browser.get("/api/1/session")).json["person"]["id"]


@contextlib.asynccontextmanager
async def inhabited(world: Any, **web: Any) -> AsyncIterator[Town]:
    async with served(world, trusted=TRUSTED, **web) as made:
        yield Town(made, world)


__all__ = ["ALICE", "VENDOR", "Town", "inhabited"]
