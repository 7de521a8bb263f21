"""The HTTP API of the proxy, as an ASGI application.

Order of checks, as clients test it: API key (101), path and method (404, 405), body (102), then the operation's own.
Nothing but a wrong API key answers 401.
"""

import time
import traceback
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, TypeVar

import msgspec
import structlog

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.kms.provider import KmsFaultError
from tenant_security.proxy.applications import ENVIRONMENT, Gate
from tenant_security.proxy.hot_routes import Client
from tenant_security.proxy.observed import SLOW, ProxyMetrics
from tenant_security.proxy.openapi import openapi_document
from tenant_security.proxy.operations import Operations
from tenant_security.service.http import (
    ClientGoneError,
    Receive,
    Reply,
    Scope,
    Send,
    error_reply,
    header,
    path_of,
    read_body,
    send_reply,
    unknown_route,
    wrong_method,
)
from tenant_security.service.logs import tells_all
from tenant_security.service.pacer import Pacer
from tenant_security.service.ray import RayIds
from tenant_security.wire import proxy_api
from tenant_security.wire.applications import Application
from tenant_security.wire.proxy_api import BASE_PATH, RequestBody

R = TypeVar("R", bound=RequestBody)

OPENAPI_PATH: Final = "/openapi.json"
_NO_ROUTE: Final = "none"


class Call(NamedTuple):
    """A request that was read and waits to be run."""

    tenant_id: str
    run: Callable[[], Awaitable[bytes]]


class Route(NamedTuple):
    """One endpoint: reads a body and a ray id into a call."""

    name: str
    read: Callable[[bytes, str], Call]


def _route(name: str, kind: type[R], operation: Callable[[R, str], Awaitable[bytes]]) -> Route:
    decoder: msgspec.json.Decoder[R] = proxy_api.decoder(kind)

    def read(body: bytes, ray_id: str) -> Call:
        request = proxy_api.decode(decoder, body)
        return Call(request.tenant_id, lambda: operation(request, ray_id))

    return Route(name, read)


def routes(operations: Operations) -> dict[str, Route]:
    """Every endpoint by its path."""
    declared = (
        _route("document/wrap", proxy_api.WrapRequest, operations.wrap),
        _route("document/unwrap", proxy_api.UnwrapRequest, operations.unwrap),
        _route("document/batch-wrap", proxy_api.BatchWrapRequest, operations.batch_wrap),
        _route("document/batch-unwrap", proxy_api.BatchUnwrapRequest, operations.batch_unwrap),
        _route("document/rekey", proxy_api.RekeyRequest, operations.rekey),
        _route("document/report-operations", proxy_api.ReportOperationsRequest, operations.report_operations),
        _route("key/derive-with-secret-path", proxy_api.DeriveRequest, operations.derive),
        _route("event/security-event", proxy_api.SecurityEventRequest, operations.security_event),
    )
    return {BASE_PATH + each.name: each for each in declared}


class ProxyApi:
    """The ASGI application on the API port. ``safe`` waits until what was recorded is safe, where it must be."""

    def __init__(
        self,
        operations: Operations,
        gate: Gate,
        metrics: ProxyMetrics,
        log: structlog.typing.FilteringBoundLogger,
        rays: RayIds,
        *,
        body_bytes: int,
        safe: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._safe = safe
        self._routes = routes(operations)
        self._gate = gate
        self._metrics = metrics
        self._log = log
        self._body_bytes = body_bytes
        self._rays = rays
        self._pacer = Pacer()
        self._openapi = Reply(200, msgspec.json.encode(openapi_document()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        began = time.perf_counter()
        await self._pacer.turn()
        ray_id = self._rays.next()
        path = path_of(scope)
        route = self._routes.get(path)
        name = route.name if route is not None else _NO_ROUTE
        try:
            reply, code = await self._answer(scope, receive, path, route, ray_id)
        except ClientGoneError:
            self._metrics.requests.add(name, "gone", SLOW)
            return
        await send_reply(send, reply)
        self._metrics.requests.add(name, code, SLOW)
        self._metrics.latency.observe(time.perf_counter() - began, name)

    async def later(self, name: str, body: bytes, client: Client) -> Reply:
        """Answer a request that came with a key of the environment, and whose protocol has judged its head."""
        began = time.perf_counter()
        await self._pacer.turn()
        self._count_client(*client)
        reply, code = await self._run(self._routes[BASE_PATH + name], ENVIRONMENT, body, self._rays.next())
        self._metrics.requests.add(name, code, SLOW)
        self._metrics.latency.observe(time.perf_counter() - began, name)
        return reply

    async def _answer(
        self, scope: Scope, receive: Receive, path: str, route: Route | None, ray_id: str
    ) -> tuple[Reply, str]:
        name = route.name if route is not None else _NO_ROUTE
        try:
            if path == OPENAPI_PATH and scope["method"] == "GET":
                return self._openapi, "ok"
            application = self._gate.who(header(scope, b"authorization"))
            self._count_client(header(scope, b"x-icl-tsc-language"), header(scope, b"x-icl-tsc-version"))
            if route is None:
                raise unknown_route()
            if scope["method"] != "POST":
                return wrong_method("POST"), str(int(Code.UNKNOWN_ERROR))
            self._gate.let_in(application, route.name)
            body = await read_body(scope, receive, self._body_bytes)
        except TenantSecurityError as fault:
            return self._refused(name, ray_id, None, fault)
        except ClientGoneError:
            raise
        except Exception as broken:  # noqa: BLE001 - the last line of defence, told apart in the log
            return self._internal(name, ray_id, None, broken)
        return await self._run(route, application, body, ray_id)

    async def _run(self, route: Route, application: Application, body: bytes, ray_id: str) -> tuple[Reply, str]:
        """Do what a request asks for that was let in."""
        tenant_id: str | None = None
        try:
            call = route.read(body, ray_id)
            tenant_id = call.tenant_id
            self._gate.let_in_for(application, tenant_id)
            try:
                answer = await call.run()
            finally:
                if self._safe is not None:
                    await self._safe()  # what was done is told only when it can be told to the tenant too
        except TenantSecurityError as fault:
            return self._refused(route.name, ray_id, tenant_id, fault)
        except Exception as broken:  # noqa: BLE001 - the last line of defence, told apart in the log
            return self._internal(route.name, ray_id, tenant_id, broken)
        if tells_all():
            self._log.debug("request served", name=route.name, ray_id=ray_id, tenant_id=tenant_id)
        return Reply(200, answer), "ok"

    def _refused(self, name: str, ray_id: str, tenant_id: str | None, fault: TenantSecurityError) -> tuple[Reply, str]:
        provider = fault if isinstance(fault, KmsFaultError) else None
        self._log.info(
            "request refused",
            name=name,
            ray_id=ray_id,
            tenant_id=tenant_id,
            code=int(fault.code),
            fixer=fault.fixer.value,
            provider=provider.provider if provider is not None else None,
            provider_code=provider.provider_code if provider is not None else None,
            provider_request_id=provider.request_id if provider is not None else None,
        )
        return error_reply(fault), str(int(fault.code))

    def _internal(self, name: str, ray_id: str, tenant_id: str | None, broken: Exception) -> tuple[Reply, str]:
        """Tell the caller nothing but where to look; tell the log the kind and the place, never the message."""
        frames = traceback.extract_tb(broken.__traceback__)
        self._log.error(
            "internal error",
            name=name,
            ray_id=ray_id,
            tenant_id=tenant_id,
            code=int(Code.UNKNOWN_ERROR),
            error=type(broken).__qualname__,
            at=[f"{frame.name}:{frame.lineno}" for frame in frames[-6:]],
        )
        message = f"An internal error happened; the operator finds it in the log under ray id {ray_id}"
        return error_reply(TenantSecurityError(Code.UNKNOWN_ERROR, message)), str(int(Code.UNKNOWN_ERROR))

    def _count_client(self, language: bytes | None, version: bytes | None) -> None:
        client = self._metrics.client(language, version)
        if client is not None:
            client.value += 1
