"""How a vendor comes to be at a broker: handed in once, with a set-up token; whoever is signed in becomes its owner."""

from collections.abc import Awaitable, Callable
from typing import Final

from litestar import Controller, post
from litestar.params import JSONBody
from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker import tags, vendors
from tenant_security.broker.access import signed_in
from tenant_security.broker.audit import Actor
from tenant_security.broker.callers import Role
from tenant_security.broker.database import Database
from tenant_security.broker.http import Asked, GivenBroker
from tenant_security.broker.people import memberships, set_up
from tenant_security.broker.people.operator import OPERATOR
from tenant_security.broker.people.organisations import Organisation
from tenant_security.broker.people.sessions import COOKIE
from tenant_security.broker.refusals import ConflictError, NotAllowedNowError, NotSignedInError
from tenant_security.trust.refusal import SnapshotRefusedError
from tenant_security.wire import snapshot as words
from tenant_security.wire.broker_api import NewVendor, VendorDocuments

TOKEN_HEADER: Final = "set-up-token"  # noqa: S105 - a header's name


class SetupApi(Controller):
    """The endpoint that needs a token instead of an identity."""

    path = "/api/1/vendors"
    tags = ("vendor",)

    @post("/", status_code=201)
    async def create(self, request: Asked, broker: GivenBroker, data: JSONBody[NewVendor]) -> dict[str, str]:
        """Keep a new vendor."""
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        token = request.headers.get(TOKEN_HEADER) or bearer
        owner: Actor | None = None
        if not bearer and COOKIE in request.cookies:
            owner = (await signed_in(request, broker)).session.actor
        async with broker.database.read() as connection:
            good = await set_up.is_good(connection, broker.web, token)
        if not good:
            raise NotSignedInError(
                "a vendor is handed in with the set-up token: BROKER_SETUP_TOKEN, or for the first vendor "
                "the one that the broker printed when it started"
            )
        kept = await keep_vendor(
            broker.database,
            data.name,
            data.documents,
            data.default_tag,
            owner=owner,
            allowed=lambda connection: set_up.is_good(connection, broker.web, token),
        )
        return {"id": kept}


async def keep_vendor(
    database: Database,
    name: str,
    documents: VendorDocuments,
    default_tag: str,
    *,
    owner: Actor | None = None,
    allowed: Callable[[AsyncConnection], Awaitable[bool]] | None = None,
) -> str:
    """Keep a new vendor, make its default tag and, if somebody signed up for that, its owner. Returns its id.

    ``allowed`` is asked with nobody else making a vendor at the same time.
    Raises: NotAllowedNowError; ConflictError.
    """
    vendor = _vendor_named(documents)
    async with database.change(owner or OPERATOR, vendor, creates_vendor=True) as change:
        if allowed is not None:
            await database.lock_vendors(change.connection)
            if not await allowed(change.connection):
                raise ConflictError("there is a vendor already; the set-up token that was printed is void")
        await vendors.create_vendor(change, name, documents)
        if owner is not None:
            await memberships.add(change, Organisation(vendor), owner.id, Role.OWNER.value)
        if default_tag:
            await tags.create_tag(change, default_tag, default=True)
    return vendor


def _vendor_named(documents: VendorDocuments) -> str:
    try:
        return words.decode(words.Root, documents.root.body).vendor
    except (words.MalformedError, SnapshotRefusedError) as malformed:
        raise NotAllowedNowError(f"the root cannot be read: {malformed}") from None
