"""FastAPI: one client for the application, one tenant for each request, errors as answers.

security = TenantSecurity(AsyncTenantSecurityClient(...), metadata_of)
app = FastAPI(lifespan=security.lifespan)
security.install(app)

@app.post("/notes")
async def write(note: Note, keys: Annotated[TenantKeys, Depends(security)]) -> ...:
encrypted = await keys.encrypt({"text": note.text.encode()})
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from inspect import isawaitable
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from tenant_security.client.async_client import AsyncTenantSecurityClient
from tenant_security.client.documents import EncryptedDocument
from tenant_security.client.errors import ClientError, KmsError
from tenant_security.client.metadata import Metadata

_FORBIDDEN: Final = 403
_BROKEN: Final = 500
_LATER: Final = 503
_LATER_S: Final = 1.0

MetadataOf = Callable[[Request], Metadata | Awaitable[Metadata]]


class TenantKeys:
    """The client, for the tenant of one request."""

    def __init__(self, client: AsyncTenantSecurityClient, metadata: Metadata) -> None:
        self.client = client
        self.metadata = metadata

    async def encrypt(self, document: Mapping[str, bytes], *, edek: str | None = None) -> EncryptedDocument:
        """Encrypt a document for this tenant."""
        return await self.client.encrypt(document, self.metadata, edek=edek)

    async def decrypt(self, encrypted: EncryptedDocument) -> dict[str, bytes]:
        """Decrypt a document of this tenant."""
        return await self.client.decrypt(encrypted, self.metadata)


class TenantSecurity:
    """A dependency that gives each request its tenant's keys. ``metadata_of`` says whose request it is.

    What ``metadata_of`` believes decides who reads what: take the tenant from the session or a verified token, never
    from a header that the caller can choose.
    """

    def __init__(self, client: AsyncTenantSecurityClient, metadata_of: MetadataOf) -> None:
        self.client = client
        self._metadata_of = metadata_of

    async def __call__(self, request: Request) -> TenantKeys:
        """Return the keys for a request's tenant."""
        metadata = self._metadata_of(request)
        return TenantKeys(self.client, await metadata if isawaitable(metadata) else metadata)

    @asynccontextmanager
    async def lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        """Close the client's connections when the application ends."""
        try:
            yield
        finally:
            await self.client.close()

    def install(self, app: FastAPI) -> None:
        """Answer errors of the client: 403 where the tenant's KMS said no, 503 where asking again helps, else 500."""
        app.add_exception_handler(ClientError, _answer)


async def _answer(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ClientError)
    headers: dict[str, str] = {}
    if error.retryable:
        status, detail = _LATER, "The tenant's keys cannot be reached now"
        headers["Retry-After"] = str(math.ceil(error.retry_after_s or _LATER_S))
    elif isinstance(error, KmsError):
        status, detail = _FORBIDDEN, "The tenant's keys may not be used"
    else:
        status, detail = _BROKEN, "The tenant's data could not be read or written"
    # The error's own words are for the application's log: they may name configurations.
    body: dict[str, Any] = {"detail": detail, "code": error.code}
    return JSONResponse(body, status, headers)
