"""Plain ASGI, the little of it that the daemons need: read a bounded body, send one reply, find a route."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, NamedTuple

import msgspec

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.wire.proxy_api import ErrorResponse

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

JSON: Final = b"application/json"


class Reply(NamedTuple):
    """One response, whole."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete; nobody waits for an answer."""


def error_reply(fault: TenantSecurityError) -> Reply:
    """Say a fault as every client reads it: ``{"code": ..., "message": ...}``."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if fault.retry_after_s is not None:
        headers = ((b"retry-after", b"%d" % max(1, round(fault.retry_after_s))),)
    return Reply(fault.http_status, error_body(fault.code, fault.message), JSON, headers)


def error_body(code: Code, message: str) -> bytes:
    """The body of a failure."""
    return msgspec.json.encode(ErrorResponse(int(code), message))


def header(scope: Scope, name: bytes) -> bytes | None:
    """The one value of a header, or None when it is absent or stands more than once."""
    found: bytes | None = None
    for key, value in scope["headers"]:
        if key == name:
            if found is not None:
                return None
            found = value
    return found


async def read_body(scope: Scope, receive: Receive, cap_bytes: int) -> bytes:
    """Read the whole request body.

    Raises: TenantSecurityError 102 with HTTP 413 past the cap; ClientGoneError.
    """
    declared = header(scope, b"content-length")
    if declared is not None and int(declared) > cap_bytes:
        raise _too_large(cap_bytes)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        part = message.get("body", b"")
        size += len(part)
        if size > cap_bytes:
            raise _too_large(cap_bytes)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts) if len(parts) > 1 else parts[0]


def _too_large(cap_bytes: int) -> TenantSecurityError:
    return TenantSecurityError(
        Code.INVALID_REQUEST_BODY,
        f"The request body is larger than {cap_bytes} bytes; send fewer documents in one request",
        http_status=413,
    )


async def send_reply(send: Send, reply: Reply) -> None:
    """Send one reply."""
    headers = [(b"content-type", reply.content_type), (b"content-length", b"%d" % len(reply.body)), *reply.headers]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def path_of(scope: Scope) -> str:
    """The request's path with repeated slashes read as one, as a trailing slash in a client's address makes them."""
    path: str = scope["path"]
    while "//" in path:
        path = path.replace("//", "/")
    return path


def unknown_route() -> TenantSecurityError:
    """No such path."""
    return TenantSecurityError(Code.UNKNOWN_ERROR, "There is no such endpoint", http_status=404)


def wrong_method(allowed: str) -> Reply:
    """The path exists, the method does not."""
    fault = TenantSecurityError(Code.UNKNOWN_ERROR, f"This endpoint takes {allowed} requests only", http_status=405)
    reply = error_reply(fault)
    return reply._replace(headers=((b"allow", allowed.encode("ascii")),))
