"""People of an organisation: members, invitations, authors, single sign-on. The same for a vendor and for a tenant."""

from typing import Final

from litestar import Controller, delete, get, patch, post, put
from litestar.params import FromPath, JSONBody

from tenant_security.broker.access import allow, asked_by, owner_of_account, signed_in
from tenant_security.broker.callers import Caller, Right
from tenant_security.broker.http import Asked, Broker, GivenBroker
from tenant_security.broker.people import claims, invitations, memberships, sign_on
from tenant_security.broker.people.mail import MailError
from tenant_security.broker.people.organisations import Organisation, organisation
from tenant_security.broker.people.personal import personal
from tenant_security.broker.refusals import ForbiddenError, NotAllowedNowError, NotFoundError
from tenant_security.broker.sign_in_api import SMALL_BYTES
from tenant_security.wire import people_api as api
from tenant_security.wire.key_scopes import Scope

_PEOPLE: Final = ["/people", "/tenants/{tenant:str}/people"]
_PERSON: Final = [f"{each}/{{person:str}}" for each in _PEOPLE]
_INVITATIONS: Final = ["/invitations", "/tenants/{tenant:str}/invitations"]
_INVITATION: Final = [f"{each}/{{invitation:str}}" for each in _INVITATIONS]
_RESEND: Final = [f"{each}/resend" for each in _INVITATION]
_AUTHORS: Final = ["/authors", "/tenants/{tenant:str}/authors"]
_SSO: Final = ["/sso", "/tenants/{tenant:str}/sso"]


class PeopleApi(Controller):
    """The endpoints about people of a vendor, or of one of its tenants."""

    path = "/api/1/vendors/{vendor:str}"
    tags = ("people",)
    request_max_body_size = SMALL_BYTES

    # -- members -----------------------------------------------------------------------------------------------------

    @get(_PEOPLE, security=asked_by(Scope.PEOPLE_READ))
    async def people(
        self, request: Asked, broker: GivenBroker, vendor: FromPath[str], tenant: FromPath[str | None] = None
    ) -> list[api.Member]:
        """List people."""
        await allow(request, broker, Scope.PEOPLE_READ, vendor, tenant)
        async with broker.database.read() as connection:
            return await memberships.members(connection, await organisation(connection, vendor, tenant))

    @patch(_PERSON, status_code=204, security=asked_by())
    async def update_person(
        self,
        request: Asked,
        broker: GivenBroker,
        vendor: FromPath[str],
        person: FromPath[str],
        data: JSONBody[api.MemberUpdate],
        tenant: FromPath[str | None] = None,
    ) -> None:
        """Change somebody's role, or keep them out."""
        caller = await allow(request, broker, Right.PEOPLE, vendor, tenant, own=True)
        async with broker.change(caller) as change:
            where = await organisation(change.connection, vendor, tenant)
            await memberships.update(change, where, person, role=data.role, disabled=data.disabled)

    @delete(_PERSON, security=asked_by())
    async def remove_person(
        self,
        request: Asked,
        broker: GivenBroker,
        vendor: FromPath[str],
        person: FromPath[str],
        tenant: FromPath[str | None] = None,
    ) -> None:
        """End somebody's membership; anybody may end their own."""
        if "authorization" not in request.headers:
            somebody = await signed_in(request, broker)
            if somebody.session.person == person and somebody.owns_account:
                leaving = await owner_of_account(request, broker)
                async with personal(broker.database, leaving.session.actor) as own:
                    change = await own.changes.of(vendor)
                    await memberships.remove(change, await organisation(own.connection, vendor, tenant), person)
                return
        caller = await allow(request, broker, Right.PEOPLE, vendor, tenant, own=True)
        async with broker.change(caller) as change:
            await memberships.remove(change, await organisation(change.connection, vendor, tenant), person)

    # -- invitations -------------------------------------------------------------------------------------------------

    @get(_INVITATIONS, security=asked_by(Scope.PEOPLE_READ))
    async def invitations(
        self, request: Asked, broker: GivenBroker, vendor: FromPath[str], tenant: FromPath[str | None] = None
    ) -> list[api.InvitationLine]:
        """List invitations."""
        await allow(request, broker, Scope.PEOPLE_READ, vendor, tenant)
        async with broker.database.read() as connection:
            where = await organisation(connection, vendor, tenant)
            return await invitations.lines(connection, where, broker.now_ms())

    @post(_INVITATIONS, security=asked_by(Scope.INVITATIONS_WRITE, Scope.KEYS_WRITE))
    async def invite(
        self,
        request: Asked,
        broker: GivenBroker,
        vendor: FromPath[str],
        data: JSONBody[api.NewInvitation],
        tenant: FromPath[str | None] = None,
    ) -> api.InvitationMade:
        """Invite somebody."""
        caller, where = await _may_invite(request, broker, vendor, tenant)
        _require_mail(broker, data.deliver)
        async with broker.change(caller) as change:
            made = await invitations.invite(change, where, data)
        return await _deliver(broker, made, data.deliver)

    @post(_RESEND, status_code=200, security=asked_by(Scope.INVITATIONS_WRITE, Scope.KEYS_WRITE))
    async def resend(
        self,
        request: Asked,
        broker: GivenBroker,
        vendor: FromPath[str],
        invitation: FromPath[str],
        data: JSONBody[api.Resend],
        tenant: FromPath[str | None] = None,
    ) -> api.InvitationMade:
        """Make a new link; the old one is void."""
        caller, where = await _may_invite(request, broker, vendor, tenant)
        _require_mail(broker, data.deliver)
        async with broker.change(caller) as change:
            made = await invitations.renew(change, where, invitation, data.deliver)
        return await _deliver(broker, made, data.deliver)

    @delete(_INVITATION, security=asked_by(Scope.INVITATIONS_WRITE, Scope.KEYS_WRITE))
    async def withdraw(
        self,
        request: Asked,
        broker: GivenBroker,
        vendor: FromPath[str],
        invitation: FromPath[str],
        tenant: FromPath[str | None] = None,
    ) -> None:
        """Make an invitation void."""
        caller, where = await _may_invite(request, broker, vendor, tenant)
        async with broker.change(caller) as change:
            await invitations.withdraw(change, where, invitation)

    # -- keys --------------------------------------------------------------------------------------------------------

    @get(_AUTHORS, security=asked_by(Scope.PEOPLE_READ))
    async def authors(
        self, request: Asked, broker: GivenBroker, vendor: FromPath[str], tenant: FromPath[str | None] = None
    ) -> list[api.AuthorLine]:
        """List who has keys, and whether the signed documents name them."""
        await allow(request, broker, Scope.PEOPLE_READ, vendor, tenant)
        async with broker.database.read() as connection:
            return await claims.author_lines(connection, await organisation(connection, vendor, tenant))

    # -- single sign-on ----------------------------------------------------------------------------------------------

    @get(_SSO, security=asked_by(Scope.PEOPLE_READ))
    async def sign_on(
        self, request: Asked, broker: GivenBroker, vendor: FromPath[str], tenant: FromPath[str | None] = None
    ) -> api.SignOn:
        """Describe single sign-on."""
        await allow(request, broker, Scope.PEOPLE_READ, vendor, tenant)
        async with broker.database.read() as connection:
            return await sign_on.read(connection, await organisation(connection, vendor, tenant), broker.web)

    @put(_SSO, status_code=204, security=asked_by())
    async def put_sign_on(
        self,
        request: Asked,
        broker: GivenBroker,
        vendor: FromPath[str],
        data: JSONBody[api.NewSignOn],
        tenant: FromPath[str | None] = None,
    ) -> None:
        """Set single sign-on."""
        caller = await allow(request, broker, Right.PEOPLE, vendor, tenant, own=True)
        await sign_on.check(broker, data)
        async with broker.change(caller) as change:
            where = await organisation(change.connection, vendor, tenant)
            await sign_on.put(change, where, data, broker.web)

    @delete(_SSO, security=asked_by())
    async def remove_sign_on(
        self, request: Asked, broker: GivenBroker, vendor: FromPath[str], tenant: FromPath[str | None] = None
    ) -> None:
        """Do without single sign-on."""
        caller = await allow(request, broker, Right.PEOPLE, vendor, tenant, own=True)
        async with broker.change(caller) as change:
            await sign_on.remove(change, await organisation(change.connection, vendor, tenant))


async def _may_invite(request: Asked, broker: Broker, vendor: str, tenant: str | None) -> tuple[Caller, Organisation]:
    """Let in owners for their own organisation, and a vendor's side for a tenant that nobody has joined yet."""
    async with broker.database.read() as connection:
        try:
            where = await organisation(connection, vendor, tenant)
            joined = await memberships.anybody(connection, where)
        except NotFoundError:
            where, joined = None, False
    if where is None:
        await allow(request, broker, Scope.INVITATIONS_WRITE, vendor, tenant)
        raise NotFoundError(f"there is no tenant {tenant!r}")
    if joined and not where.tenant:
        caller = await allow(request, broker, Right.PEOPLE, vendor, tenant)
    elif not where.tenant:
        # A vendor that its command line handed in has nobody yet: whoever may hand in its keys invites the first.
        caller = await allow(request, broker, Scope.KEYS_WRITE, vendor)
    elif joined:
        caller = await _own_people(request, broker, vendor, tenant)
    else:
        caller = await allow(request, broker, Scope.INVITATIONS_WRITE, vendor, tenant)
    return caller, where


async def _own_people(request: Asked, broker: Broker, vendor: str, tenant: str | None) -> Caller:
    """Let in a tenant's own owners; the vendor's side hears that its time is over."""
    if "authorization" not in request.headers:
        try:
            return await allow(request, broker, Right.PEOPLE, vendor, tenant, own=True)
        except ForbiddenError as refused:
            if refused.code is not None:
                raise
    await allow(request, broker, Scope.INVITATIONS_WRITE, vendor, tenant)
    raise NotAllowedNowError(f"somebody of tenant {tenant!r} has joined; its own owners invite the others")


def _require_mail(broker: Broker, deliver: str) -> None:
    if deliver == "mail" and broker.web.mail is None:
        raise NotAllowedNowError("this broker sends no mail (BROKER_SMTP_URL); bring the link along yourself")


async def _deliver(broker: Broker, made: invitations.Made, deliver: str) -> api.InvitationMade:
    if deliver == "link" or broker.web.mail is None:
        return api.InvitationMade(made.id, made.token, mailed=False, expires=made.expires_ms)
    async with broker.database.read() as connection:
        invited = invitations.describe(await invitations.find(connection, made.token, broker.now_ms()))
    try:
        await broker.web.mail.send(made.email, *invitations.letter(invited, made.token, broker.web.public))
    except MailError as why:
        broker.log.warning("an invitation was not mailed", invitation=made.id, why=str(why))
        return api.InvitationMade(made.id, None, mailed=False, expires=made.expires_ms)
    async with broker.database.note() as connection:
        await invitations.mailed(connection, made.id, broker.now_ms())
    return api.InvitationMade(made.id, None, mailed=True, expires=made.expires_ms)
