"""What a vendor's side takes away: whole snapshots, for heads, files and drills; and secrets that it brings."""

from typing import Annotated

from litestar import Controller, get, put
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.response import Stream

from tenant_security.broker import secrets
from tenant_security.broker.access import asked_by
from tenant_security.broker.http import Asked, GivenBroker, caller_of
from tenant_security.broker.published import chunks
from tenant_security.wire import broker_api as api
from tenant_security.wire.key_scopes import Scope


class ExportApi(Controller):
    """The endpoints of export and import."""

    path = "/api/1/vendors/{vendor:str}"
    tags = ("vendor",)

    @get("/snapshot", security=asked_by(Scope.SNAPSHOTS_READ, session=False))
    async def snapshot(
        self,
        request: Asked,
        broker: GivenBroker,
        vendor: FromPath[str],
        segment: Annotated[int, QueryParameter(ge=1)],
    ) -> Stream:
        """Send a segment's whole snapshot, as services get it."""
        caller = await caller_of(request, broker, vendor)
        caller.require(Scope.SNAPSHOTS_READ, vendor)
        path = await broker.published.whole(vendor, segment)
        return Stream(chunks(path), media_type="application/jsonl", headers={"Cache-Control": "no-store"})

    @put("/imported-secrets", status_code=200, security=asked_by(Scope.SECRETS_IMPORT, session=False))
    async def import_secrets(
        self, request: Asked, broker: GivenBroker, vendor: FromPath[str], data: JSONBody[api.ImportedSecrets]
    ) -> api.Imported:
        """Keep secrets that were kept elsewhere, with their numbers and states. What is there already stays."""
        caller = await caller_of(request, broker, vendor)
        caller.require(Scope.SECRETS_IMPORT, vendor)
        async with broker.change(caller) as change:
            added = 0
            for each in data.secrets:
                added += await secrets.import_secret(change, each)
            await change.record("secret.import", f"{added} secrets", detail={"added": added, "of": len(data.secrets)})
        return api.Imported(added)
