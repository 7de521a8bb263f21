"""What whoever runs the broker can do about people, with the database at hand: let somebody in, and forget somebody.

It is how an organisation comes back whose every owner lost everything. Both stand in the audit.
"""

from typing import Final

import sqlalchemy as sa

from tenant_security.broker import schema
from tenant_security.broker.audit import Actor
from tenant_security.broker.database import Database
from tenant_security.broker.people import invitations
from tenant_security.broker.people.invitations import Made
from tenant_security.broker.people.organisations import organisation
from tenant_security.broker.people.personal import Personal
from tenant_security.broker.refusals import NotFoundError
from tenant_security.wire.people_api import NewInvitation, RoleName

OPERATOR: Final = Actor("operator", "operator", "whoever runs this broker")


async def invite(database: Database, vendor: str, tenant: str | None, email: str, role: RoleName) -> Made:
    """Invite somebody.

    Raises: NotFoundError; NotAllowedNowError when they belong there.
    """
    async with database.change(OPERATOR, vendor) as change:
        where = await organisation(change.connection, vendor, tenant)
        return await invitations.invite(change, where, NewInvitation(email, role, "link"))


async def forget(database: Database, email: str) -> int:
    """Delete somebody's account: memberships, passkeys, sessions and keys. Returns of how many organisations they were.

    Their author key stays in the signed documents until the vendor's side takes it out.
    Raises: NotFoundError.
    """
    people, members = schema.people, schema.memberships
    async with database.changes(OPERATOR) as changes:
        found = await changes.connection.execute(sa.select(people.c.id).where(people.c.email == email.lower()))
        person = found.scalar_one_or_none()
        if person is None:
            raise NotFoundError(f"there is no account of {email!r}")
        counted = sa.select(sa.func.count()).where(members.c.person == person)
        count = int((await changes.connection.execute(counted)).scalar_one())
        await Personal(changes, person).record("person.forget", detail={"email": email.lower()})
        await changes.connection.execute(people.delete().where(people.c.id == person))
    return count
