"""What all of the broker's endpoints share: what they work with, who asks, and how they say no."""

import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Final

import structlog
from litestar import Request, Response
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException

from tenant_security.broker.callers import Caller
from tenant_security.broker.database import Change, Database
from tenant_security.broker.identify import API_KEY_PREFIX, Identify
from tenant_security.broker.published import Published
from tenant_security.broker.refusals import BusyError, NotSignedInError, RefusalError, TooManyError
from tenant_security.broker.web import Web, plain_web
from tenant_security.crypto.request_tokens import SCHEME, Asking
from tenant_security.service.validation import detail_of

BODY_CAP_BYTES: Final = 16 * 1_048_576
"""The longest body of a request. Units: bytes."""

REQUESTOR_HEADER: Final = "icl-requestor-id"
"""Whom a bridge asks for. It is believed of bridges alone, and only written down."""

Asked = Request[None, None, State]


class Broker:
    """What endpoints work with. One for a process."""

    def __init__(
        self,
        database: Database,
        now_ms: Callable[[], int],
        log: structlog.typing.FilteringBoundLogger,
        web: Web | None = None,
    ) -> None:
        self.database: Final = database
        self.now_ms: Final = now_ms
        self.log: Final = log
        self.web: Final = web or plain_web()
        self.identify: Final = Identify(database, lambda: now_ms() // 1000)
        self.published: Final = Published(database, now_ms)

    @contextlib.asynccontextmanager
    async def change(self, caller: Caller) -> AsyncIterator[Change]:
        """One change by whoever asks; services that wait for news hear of it once it is there."""
        async with self.database.change(caller.actor, caller.vendor) as change:
            yield change
        if change.touched:
            self.published.tell(caller.vendor)


GivenBroker = NamedDependency[Broker]
"""How an endpoint asks for what it works with."""


async def caller_of(request: Asked, broker: Broker, vendor: str | None) -> Caller:
    """Find out who asks.

    Raises: NotSignedInError.
    """
    scheme, _, proof = request.headers.get("authorization", "").partition(" ")
    if scheme == SCHEME:
        raw_path: bytes = request.scope["raw_path"]
        query: bytes = request.scope["query_string"]
        target = (raw_path + b"?" + query if query else raw_path).decode("latin-1")
        asking = Asking(request.method, target, await request.body())
        caller = await broker.identify.signed(proof, asking, vendor)
        return caller.on_behalf_of(request.headers.get(REQUESTOR_HEADER, ""))
    if scheme == "Bearer" and proof.startswith(API_KEY_PREFIX):
        return await broker.identify.api_key(proof)
    raise NotSignedInError("say who you are: sign in, sign the request, or bring an API key")


def say_no(request: Asked, refusal: Exception) -> Response[dict[str, object]]:
    """Answer with what is wrong, in words. What we did not expect is logged and shown as a number only."""
    match refusal:
        case TooManyError():
            return _no(429, refusal.message, {"Retry-After": str(refusal.retry_after_s)}, refusal.code)
        case BusyError():
            return _no(refusal.status, refusal.message, {"Retry-After": "2"})
        case RefusalError():
            return _no(refusal.status, refusal.message, {}, refusal.code, **refusal.members)
        case RecursionError():
            return _no(400, "the body is nested too deeply", {})
        case HTTPException():
            return _no(refusal.status_code, detail_of(refusal), {})
        case _:
            number = uuid.uuid4().hex
            broker: Broker = request.app.state.broker
            broker.log.error(
                "a request failed", error=type(refusal).__name__, request_id=number, path=request.scope["path"]
            )
            return _no(500, f"something went wrong in the broker; its log says more under {number}", {})


def _no(
    status: int, message: str, headers: dict[str, str], code: str | None = None, **more: str
) -> Response[dict[str, object]]:
    said = {"message": message, "statusCode": status, **more}
    return Response(said if code is None else {**said, "code": code}, status_code=status, headers=headers)
