"""FastAPI: every request has its tenant's keys, and errors are answers that a caller can act on."""

from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI, Request

from tenant_security.client import Code, EncryptedDocument, Metadata
from tenant_security.client.integrations.fastapi import TenantKeys, TenantSecurity
from tenant_security.outbound.flow import Reason


@pytest.fixture(params=["plain", "awaited"])
def app(memory, request):
    def of(call: Request) -> Metadata:
        return Metadata(call.headers["tenant"], requesting_id="r")

    async def of_later(call: Request) -> Metadata:
        return of(call)

    security = TenantSecurity(memory.async_client(), of if request.param == "plain" else of_later)
    app = FastAPI(lifespan=security.lifespan)
    security.install(app)
    stored: dict[str, EncryptedDocument] = {}

    @app.put("/notes/{name}")
    async def write(name: str, text: str, keys: Annotated[TenantKeys, Depends(security)]) -> None:
        stored[name] = await keys.encrypt({"text": text.encode()})

    @app.get("/notes/{name}")
    async def read(name: str, keys: Annotated[TenantKeys, Depends(security)]) -> str:
        return (await keys.decrypt(stored[name]))["text"].decode()

    return app


@pytest.fixture
async def call(app):
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://app", headers={"tenant": "acme"}) as call,
    ):
        yield call


async def test_each_request_has_its_tenants_keys(call):
    assert (await call.put("/notes/1", params={"text": "secret"})).status_code == 200
    assert (await call.get("/notes/1")).json() == "secret"
    other = await call.get("/notes/1", headers={"tenant": "other"})
    assert (other.status_code, other.json()["code"]) == (403, 202)
    assert "KMS configuration" not in other.text


async def test_what_may_pass_is_told_so(call, memory):
    await call.put("/notes/1", params={"text": "secret"})
    memory.fail_next(*[Reason.CONNECT] * 3)
    away = await call.get("/notes/1")
    assert (away.status_code, away.json()["code"], away.headers["retry-after"]) == (503, 0, "1")


async def test_what_is_broken_is_told_so(call, memory):
    await call.put("/notes/1", params={"text": "secret"})
    memory.fail_next(Code.UNAUTHORIZED_REQUEST)
    assert (await call.get("/notes/1")).status_code == 500
