"""FastAPI: each request works with its tenant's keys. Start it with: uvicorn examples.fastapi_notes:app."""

import os
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request

from tenant_security.client import AsyncTenantSecurityClient, EncryptedDocument, Metadata
from tenant_security.client.integrations.fastapi import TenantKeys, TenantSecurity

URL = os.environ.get("TENANT_SECURITY_PROXY", "http://localhost:7777")
SESSIONS = {"anna's session": ("tenant-gcp-l", "anna"), "bert's session": ("tenant-gcp", "bert")}


def metadata_of(request: Request) -> Metadata:
    """Say whose request it is: from what was verified, never from what a caller may write."""
    session = SESSIONS.get(request.headers.get("authorization", ""))
    if session is None:
        raise HTTPException(401)
    tenant, user = session
    return Metadata(tenant, requesting_id=user, source_ip=request.client.host if request.client else None)


security = TenantSecurity(AsyncTenantSecurityClient(URL, os.environ["API_KEY"], allow_insecure_http=True), metadata_of)
app = FastAPI(lifespan=security.lifespan)
security.install(app)
notes: dict[str, EncryptedDocument] = {}
Keys = Annotated[TenantKeys, Depends(security)]


@app.put("/notes/{name}", status_code=204)
async def write(name: str, text: str, keys: Keys) -> None:
    """Store a note, encrypted."""
    notes[name] = await keys.encrypt({"text": text.encode()})


@app.get("/notes/{name}")
async def read(name: str, keys: Keys) -> str:
    """Read a note of one's own tenant; that of another is answered with 403."""
    if name not in notes:
        raise HTTPException(404)
    return (await keys.decrypt(notes[name]))["text"].decode()
