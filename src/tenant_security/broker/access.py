"""Lets in who may: by a signed request or an API key, or by the session of somebody's browser.

Source: docs/broker-api.md, "Who asks"; OWASP ASVS 5.0, 3.5.
"""

from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from tenant_security.broker.callers import Caller, Right, Role, right_of
from tenant_security.broker.http import Asked, Broker, caller_of
from tenant_security.broker.people import sessions
from tenant_security.broker.people.personal import places
from tenant_security.broker.people.sessions import Origin, SignedIn, SignOnPlace
from tenant_security.broker.refusals import (
    CrossSiteError,
    ForbiddenError,
    NotFoundError,
    NotSignedInError,
    OwnSignInRequiredError,
    ProveAgainError,
    SessionEndedError,
    SignOnRequiredError,
)
from tenant_security.broker.web import client_address
from tenant_security.wire.key_scopes import Scope
from tenant_security.wire.people_api import Method

OWN_HEADER: Final = "ts-request"
BY_SESSION: Final = "session"
BY_SIGNATURE: Final = "signedRequest"
BY_API_KEY: Final = "apiKey"
_READS: Final = {"GET", "HEAD"}
_TO_BE_PROVED: Final = {Right.SIGN, Right.KEYS, Right.PEOPLE, Right.HEADS}


def asked_by(*scopes: Scope, session: bool = True) -> list[dict[str, list[str]]]:
    """Say, for the OpenAPI document, who may ask an endpoint.

    Without scopes only an owner's session may; otherwise also a signed request, and an API key with any of the scopes.
    """
    ways: list[dict[str, list[str]]] = [{BY_SESSION: []}] if session else []
    if scopes:
        ways.append({BY_SIGNATURE: []})
    return [*ways, *({BY_API_KEY: [scope.value]} for scope in scopes)]


class Somebody(NamedTuple):
    """Who is signed in, and where they belong."""

    session: SignedIn
    places: list[sa.Row[Any]]

    @property
    def owns_account(self) -> bool:
        """Whether this session may change what is the person's own, such as passkeys and keys.

        An organisation's provider can say of anybody that they signed in; so it has a say only about people who belong
        to that organisation alone.
        """
        place = self.session.place
        return place is None or all((each.vendor, each.tenant) == place for each in self.places)

    def has_rights_in(self, place: sa.Row[Any]) -> bool:
        """Whether this session counts in an organisation. Owners come in without its single sign-on too."""
        if self.session.place is not None:
            return self.session.place == SignOnPlace(place.vendor, place.tenant)
        return not place.sso_required or place.role == Role.OWNER.value


def require_own_page(request: Asked, broker: Broker) -> None:
    """Refuse what pages other than ours make a browser ask.

    Raises: CrossSiteError.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if OWN_HEADER not in request.headers:
        raise CrossSiteError("the header 'TS-Request: 1' is missing: only the app's own pages may ask this")
    if site not in (None, "same-origin") or origin not in (None, broker.web.public.origin):
        raise CrossSiteError(
            f"only pages of {broker.web.public.origin} may ask this; BROKER_PUBLIC_URL says what the address is"
        )
    if request.method not in _READS and site is None and origin is None:
        raise CrossSiteError("the browser does not say from which page it asks")


async def signed_in(request: Asked, broker: Broker) -> Somebody:
    """Find out who is signed in.

    Raises: NotSignedInError; CrossSiteError.
    """
    token = request.cookies.get(sessions.COOKIE)
    if not token:
        raise NotSignedInError("say who you are: sign in, sign the request, or bring an API key")
    require_own_page(request, broker)
    now_ms = broker.now_ms()
    async with broker.database.read() as connection:
        session = await sessions.find(connection, token, now_ms, broker.web.lives)
        found = [] if session is None else await places(connection, session.person)
        timed_out = session is None and await sessions.timed_out(connection, token, now_ms, broker.web.lives)
    if timed_out:
        raise SessionEndedError
    if session is None:
        raise NotSignedInError("the session has ended; sign in again")
    if sessions.should_be_seen(session, now_ms):
        async with broker.database.note() as connection:
            await sessions.seen(connection, session, now_ms)
    return Somebody(session, [place for place in found if place.disabled_ms is None])


async def owner_of_account(request: Asked, broker: Broker) -> Somebody:
    """Find out who is signed in and may, at this moment, change what is their own.

    Raises: NotSignedInError; CrossSiteError; OwnSignInRequiredError; ProveAgainError.
    """
    somebody = await signed_in(request, broker)
    if not somebody.owns_account:
        raise OwnSignInRequiredError
    if not somebody.session.is_proved(broker.now_ms()):
        raise ProveAgainError
    return somebody


async def allow(
    request: Asked, broker: Broker, asked: Scope | Right, vendor: str, tenant: str | None = None, *, own: bool = False
) -> Caller:
    """Return who asks, when they may. With ``own`` a vendor's people do not count for a tenant.

    Raises: NotSignedInError; CrossSiteError; NotFoundError; ForbiddenError.
    """
    if "authorization" in request.headers:
        caller = await caller_of(request, broker, vendor)
        caller.require(asked, vendor, tenant)
        if own and tenant is not None and caller.tenant is None:
            raise _of_their_own(tenant)
        return caller
    somebody = await signed_in(request, broker)
    caller = _allowed(somebody, asked, vendor, tenant, own=own)
    matters = request.method not in _READS and (right_of(asked) in _TO_BE_PROVED or request.method == "DELETE")
    if matters and not somebody.session.is_proved(broker.now_ms()):
        raise ProveAgainError
    return caller


def _allowed(somebody: Somebody, asked: Scope | Right, vendor: str, tenant: str | None, *, own: bool) -> Caller:
    """Take the membership that allows it: the tenant's own before the vendor's."""
    why: Exception = NotFoundError(f"there is no vendor {vendor!r} here")
    at_sso = False
    mine = [place for place in somebody.places if place.vendor == vendor and place.tenant_id in (None, tenant)]
    for place in sorted(mine, key=lambda place: place.tenant == 0):
        caller = Caller(somebody.session.actor, vendor, Role(place.role), place.tenant_id)
        if not somebody.has_rights_in(place):
            at_sso = True
            continue
        if own and tenant is not None and place.tenant_id is None:
            why = _of_their_own(tenant)
            continue
        try:
            caller.require(asked, vendor, tenant)
        except (ForbiddenError, NotFoundError) as refused:
            why = refused
            continue
        return caller
    if at_sso:
        raise SignOnRequiredError
    if not mine and any(place.vendor == vendor for place in somebody.places):
        why = NotFoundError(f"there is no tenant {tenant!r}") if tenant else ForbiddenError(_VENDORS_ONLY)
    raise why


_VENDORS_ONLY: Final = "only people of the vendor may ask this; a tenant's people name their tenant"


def _of_their_own(tenant: str) -> ForbiddenError:
    return ForbiddenError(f"only people of tenant {tenant!r} may do this")


def origin(request: Asked, broker: Broker, method: Method, place: SignOnPlace | None = None) -> Origin:
    """Say how and from where somebody signs in."""
    return Origin(method, address_of(request, broker), request.headers.get("user-agent", ""), place, broker.web.lives)


def address_of(request: Asked, broker: Broker) -> str:
    """Return the address of who asks."""
    peer = request.client.host if request.client is not None else ""
    return client_address(peer, request.headers.get("x-forwarded-for", ""), broker.web.trusted)
