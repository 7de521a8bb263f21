"""What logdrivers ask on the events port, whoever answers: this process, or a supervisor with workers behind it."""

from abc import ABC, abstractmethod

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.service.api_key import ApiKeys
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
from tenant_security.wire.event_feed import (
    ACKNOWLEDGE_PATH,
    LEASE_PATH,
    REQUEST_BYTES,
    WAIT_PATH,
    Acknowledgement,
    LeaseRequest,
    decode_request,
)
from tenant_security.wire.proxy_api import NULL

DONE = Reply(200, NULL)


class EventPort(ABC):
    """The ASGI application on the events port. Logdrivers present the API key: they share the proxy's env file.

    What is asked comes with the ``Authorization`` that came with it, which is good.
    """

    def __init__(self, api_keys: ApiKeys) -> None:
        self._api_keys = api_keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            reply = await self._answer(scope, receive)
        except TenantSecurityError as fault:
            reply = error_reply(fault)
        except ClientGoneError:
            return
        await send_reply(send, reply)

    async def _answer(self, scope: Scope, receive: Receive) -> Reply:
        given = header(scope, b"authorization")
        self._api_keys.check(given)
        authorization = (given or b"").decode("latin-1")
        path = path_of(scope)
        if path not in (LEASE_PATH, ACKNOWLEDGE_PATH, WAIT_PATH):
            raise unknown_route()
        if scope["method"] != "POST":
            return wrong_method("POST")
        body = await read_body(scope, receive, REQUEST_BYTES)
        if path == ACKNOWLEDGE_PATH:
            return await self.acknowledge(decode_request(Acknowledgement, body), authorization)
        request = decode_request(LeaseRequest, body)
        if path == LEASE_PATH:
            return await self.lease(request, authorization, receive)
        await self.wait(request, authorization)
        return DONE

    @abstractmethod
    async def lease(self, request: LeaseRequest, authorization: str, receive: Receive, /) -> Reply:
        """Hand a batch out, waiting for one as long as asked."""

    @abstractmethod
    async def wait(self, request: LeaseRequest, authorization: str, /) -> None:
        """Wait until there are events, at most as long as asked."""

    @abstractmethod
    async def acknowledge(self, request: Acknowledgement, authorization: str, /) -> Reply:
        """Forget a batch that somebody else has safe."""


def not_lent() -> TenantSecurityError:
    """Nobody waits for the acknowledgement of this batch."""
    return TenantSecurityError(
        Code.INVALID_REQUEST_BODY,
        "This batch is not lent: it was acknowledged already, or too late, or by another proxy's number",
        http_status=409,
    )
