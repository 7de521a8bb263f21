"""``tenant-security broker invite`` and ``forget-person``: what an operator does about people, without HTTP."""

import os
from datetime import UTC, datetime

from tenant_security.broker.database import Database
from tenant_security.broker.people import operator
from tenant_security.broker.people.invitations import Made
from tenant_security.broker.settings import read_broker_settings
from tenant_security.broker.trusted import vendor_trust
from tenant_security.cli.run_broker import with_database
from tenant_security.crypto.signing import fingerprint
from tenant_security.wire.people_api import RoleName


def invite(vendor: str, tenant: str | None, email: str, role: RoleName) -> str:
    """Invite somebody, and return the link to bring to them."""
    settings = read_broker_settings(os.environ)

    async def work(database: Database) -> tuple[Made, str]:
        made = await operator.invite(database, vendor, tenant, email, role)
        async with database.read() as connection:
            return made, fingerprint((await vendor_trust(connection, vendor)).root.root_key)

    made, root = with_database(settings.database_url, work)
    until = datetime.fromtimestamp(made.expires_ms / 1_000, UTC)
    return f"{settings.public.origin}/invitation#t={made.token}&r={root}\nGood once, until {until:%Y-%m-%d %H:%M} UTC."


def forget(email: str) -> str:
    """Delete somebody's account, and say what that was."""

    async def work(database: Database) -> int:
        return await operator.forget(database, email)

    count = with_database(read_broker_settings(os.environ).database_url, work)
    return (
        f"The account of {email} is gone, with {count} memberships. If the vendor's manifest names its author key, "
        "take it out: the key still signs."
    )
