"""How a vendor comes to be at a broker: handed in once, with a token that its operator set."""

import hmac

from litestar import Controller, post
from litestar.params import JSONBody

from tenant_security.broker import tags, vendors
from tenant_security.broker.audit import Actor
from tenant_security.broker.http import Asked, Broker, GivenBroker
from tenant_security.broker.refusals import NotAllowedNowError, NotSignedInError
from tenant_security.trust.refusal import SnapshotRefusedError
from tenant_security.wire import snapshot as words
from tenant_security.wire.broker_api import NewVendor, VendorDocuments

_SHORTEST = 16


class SetupApi(Controller):
    """The endpoint that needs a token instead of an identity."""

    path = "/api/1/vendors"
    tags = ("vendor",)

    @post("/", status_code=201)
    async def create(self, request: Asked, broker: GivenBroker, data: JSONBody[NewVendor]) -> dict[str, str]:
        """Keep a new vendor."""
        expected: str = request.app.state.setup_token
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if len(expected) < _SHORTEST or not hmac.compare_digest(given.encode(), expected.encode()):
            raise NotSignedInError("a vendor is handed in with the broker's setup token (BROKER_SETUP_TOKEN)")
        return {"id": await add_vendor(broker, data.name, data.documents, data.default_tag)}


async def add_vendor(broker: Broker, name: str, documents: VendorDocuments, default_tag: str) -> str:
    """Keep a new vendor and make its default tag. Returns its id.

    Raises: NotAllowedNowError; ConflictError.
    """
    try:
        vendor = words.decode(words.Root, documents.root.body).vendor
    except (words.MalformedError, SnapshotRefusedError) as malformed:
        raise NotAllowedNowError(f"the root cannot be read: {malformed}") from None
    operator = Actor("operator", "operator", "whoever runs this broker")
    async with broker.database.change(operator, vendor, creates_vendor=True) as change:
        await vendors.create_vendor(change, name, documents)
        if default_tag:
            await tags.create_tag(change, default_tag, default=True)
    return vendor
