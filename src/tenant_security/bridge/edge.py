"""What all of the bridge's endpoints share: who asks, what they work with, how the bridge says no."""

import uuid
from collections.abc import Callable, Sequence
from hmac import compare_digest
from typing import Final, NamedTuple, TypeVar

import msgspec
import structlog
from litestar import Request, Response
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException

from tenant_security.bridge.broker import Broker, Vendor
from tenant_security.bridge.records import NotPossibleError
from tenant_security.bridge.vendor_keys import KeysHolder, VendorKeys
from tenant_security.crypto.signing import SigningKey
from tenant_security.outbound.broker import BrokerRefusedError
from tenant_security.outbound.flow import UnreachableError
from tenant_security.secret import Secret
from tenant_security.service.validation import detail_of
from tenant_security.trust.refusal import SnapshotRefusedError
from tenant_security.wire import bridge_api as api

BODY_CAP_BYTES: Final = 1_048_576
SCHEME: Final = b"vab:1:"
REQUESTOR_HEADER: Final = "icl-requestor-id"

Asked = Request[None, None, State]
T = TypeVar("T")


class RefusedError(Exception):
    """A request that is not carried out."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Bridge:
    """What endpoints work with. One for a process."""

    def __init__(
        self,
        broker: Broker,
        keys: KeysHolder,
        api_keys: tuple[Secret[str], ...],
        log: structlog.typing.FilteringBoundLogger,
        now_s: Callable[[], float],
    ) -> None:
        self.broker: Final = broker
        self.keys: Final = keys
        self.log: Final = log
        self.now_s: Final = now_s
        self.use_api_keys(api_keys)

    def use_api_keys(self, api_keys: Sequence[Secret[str]]) -> None:
        """Accept these from now on, and no others."""
        self._accepted = tuple(Secret(SCHEME + key.reveal().encode()) for key in api_keys)

    def accepts(self, authorization: str) -> bool:
        """Whether a header carries an accepted key. Every key is compared, whatever the comparison before it said."""
        given = authorization.encode("latin-1", "replace")
        return sum([compare_digest(given, each.reveal()) for each in self._accepted]) > 0

    async def desk(self, request: Asked) -> "Desk":
        """Let a caller in. Raises: RefusedError; what :meth:`KeysHolder.current` raises."""
        if not self.accepts(request.headers.get("authorization", "")):
            message = "the API key is missing or wrong; send the header 'Authorization: vab:1:<API_KEY>'"
            raise RefusedError(401, message)
        requestor = request.headers.get(REQUESTOR_HEADER, "").strip()
        if not requestor:
            raise RefusedError(400, f"say who asks in the header {REQUESTOR_HEADER}: the audit names them")
        keys = await self.keys.current()
        vendor = Vendor(self.broker, keys.vendor, requestor)
        return Desk(vendor, keys, self.keys.author, self.now_s, self.keys.forget)


class Desk(NamedTuple):
    """What one request works with."""

    vendor: Vendor
    keys: VendorKeys
    author: SigningKey
    now_s: Callable[[], float]
    forget_keys: Callable[[], None]


GivenDesk = NamedDependency[Desk]
"""How an endpoint asks for what it works with."""


def instead(refused: BrokerRefusedError, statuses: dict[int, int]) -> RefusedError:
    """Say what the broker says under the status that this API documents for it."""
    return RefusedError(statuses.get(refused.status, _status(refused.status)), refused.message)


async def body_of(request: Asked, kind: type[T], default: T | None = None) -> T:
    """Read the body of a request whose method has none by habit. Raises: RefusedError."""
    body = await request.body()
    if not body.strip() and default is not None:
        return default
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as malformed:
        raise RefusedError(400, f"the body cannot be read: {malformed}") from None


def say_no(request: Asked, refusal: Exception) -> Response[api.Refusal]:
    """Answer with what is wrong, in words. What we did not expect is logged and shown as a number only."""
    known = _known(refusal)
    if known is None:
        number = uuid.uuid4().hex
        bridge: Bridge = request.app.state.bridge
        bridge.log.error(
            "a request failed", error=type(refusal).__name__, request_id=number, path=request.scope["path"]
        )
        known = 500, f"something went wrong in the bridge; its log says more under {number}"
    status, message = known
    return Response(api.Refusal(message, status), status_code=status, media_type="application/json")


def _known(refusal: Exception) -> tuple[int, str] | None:  # noqa: PLR0911 - one line for each kind
    match refusal:
        case RefusedError():
            return refusal.status, refusal.message
        case NotPossibleError():
            return 400, str(refusal)
        case BrokerRefusedError():
            return _status(refusal.status), refusal.message
        case UnreachableError():
            return 503, "the broker cannot be reached, and confirmed no change; try again later"
        case SnapshotRefusedError():
            return 503, f"the vendor's keys are refused, and nothing is signed with them: {refusal}"
        case TimeoutError():
            return 504, "the request took longer than VAB_REQUEST_TIMEOUT; read what there is before you repeat it"
        case RecursionError():
            return 400, "the body is nested too deeply"
        case HTTPException():
            return refusal.status_code, detail_of(refusal)
    return None


def _status(broker: int) -> int:
    """The broker's 401 and 403 are about this bridge, not about whoever asks it."""
    return 503 if broker in (401, 403) or broker >= 500 else broker  # noqa: PLR2004
