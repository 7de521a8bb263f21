"""What a flow may ask of its driver, and what it gets back."""

from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Final, Generic, NamedTuple, TypeVar, cast

import msgspec

from tenant_security.outbound.reasons import Reason as Reason  # noqa: PLC0414 - whoever reads flows needs it
from tenant_security.outbound.receivers import Message, Receiver, Unsent

T = TypeVar("T")


class Request(msgspec.Struct, frozen=True, gc=False):
    """One HTTP request. Header values may hold credentials: never print one.

    Units: ``cap_bytes`` bounds the response body; a longer one is a failure, never a truncated success.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    cap_bytes: int = 1_048_576
    authorities: bytes = b""
    """The private certificate authorities, in PEM, that alone are trusted for this request; empty: the usual ones."""
    of_operator: bool = False
    """Whether the address comes from this program's operator, and not from a tenant: the egress policy lets it pass."""

    def __repr__(self) -> str:
        return f"<Request {self.method}>"


class Response(msgspec.Struct, frozen=True, gc=False):
    """One HTTP response, read whole. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


class UnreachableError(Exception):
    """Thrown into a flow at the request that got no response."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Shared(NamedTuple):
    """Asks for a value that many flows share, such as an access token.

    The driver answers from its cache while the value is fresh; otherwise it runs the flow that ``make`` returns once,
    however many flows are waiting, and gives all of them its value or its fault.

    Units: ``make``'s flow returns the value and for how many seconds it stays fresh.
    """

    key: Hashable
    make: Callable[[], "Flow[Lasting[object]]"]


ON_ITS_WAY_S: Final = 10.0
"""How long before its end a token is given up for good: it must not end on its way."""


class Lasting(NamedTuple, Generic[T]):
    """A value and how long it may be used.

    Units: after ``fresh_s`` seconds a new one is made; until ``usable_s`` seconds, where that is longer, the old one is
    handed out meanwhile, and goes on being while a new one cannot be had. Give it up :data:`ON_ITS_WAY_S` early.
    """

    value: T
    fresh_s: float
    usable_s: float = 0.0


class Forget(NamedTuple):
    """Tells the driver that a shared value was refused and must not be handed out again."""

    key: Hashable


class ReadFile(NamedTuple):
    """Asks for a file that the operator's settings name, such as a token that Kubernetes renews.

    The answer is its content as bytes. Throws OSError into the flow when it cannot be read or is longer.
    """

    path: Path
    cap_bytes: int = 65_536


class Download(NamedTuple):
    """Asks for a response whose body goes into a file, because it may be larger than memory allows.

    The answer is the Response, with an empty body when it went into the file: that is so for status 200 only. The
    request's ``cap_bytes`` bounds the file too. ``within_s`` bounds the whole of it, in place of the driver's attempt.
    """

    request: Request
    into: Path
    within_s: float


class Pause(NamedTuple):
    """Asks to be left alone for so many seconds, such as before another attempt. They count towards the deadline."""

    wait_s: float


class Compute(NamedTuple):
    """Asks for work that takes long and waits for nobody, such as the encryption of a large document.

    The answer is what it returns; what it raises is thrown into the flow. An asynchronous driver runs it in a thread,
    so it should do its work in pieces: one call into a library may hold the interpreter's lock to its end. The time
    that it takes does not count towards the deadline.
    """

    work: Callable[[], object]


class Together(NamedTuple):
    """Asks for several flows to be run side by side, so many at once.

    The answer is a list with the value or the exception of each, in their order.
    """

    flows: Sequence["Flow[object]"]
    at_once: int


class Transmit(NamedTuple):
    """Asks for messages to be sent over something else than HTTP, in their order.

    The answer is a list with None for each message that arrived, and :class:`Unsent` for each that did not.
    """

    to: Receiver
    messages: Sequence[Message]


Effect = Request | Shared | Forget | ReadFile | Download | Pause | Compute | Together | Transmit
Flow = Generator[Effect, object, T]


def send(request: Request) -> Flow[Response]:
    """Send one request. Raises UnreachableError when no response came."""
    return cast("Response", (yield request))


def shared(key: Hashable, make: Callable[[], Flow[Lasting[T]]]) -> Flow[T]:
    """Get a shared value, made by one flow for all."""
    return cast("T", (yield Shared(key, cast("Callable[[], Flow[Lasting[object]]]", make))))


def forget(key: Hashable) -> Flow[None]:
    """Drop a shared value that turned out to be refused."""
    yield Forget(key)


def download(request: Request, into: Path, within_s: float) -> Flow[Response]:
    """Send one request and write what comes into a file. Raises UnreachableError, OSError."""
    return cast("Response", (yield Download(request, into, within_s)))


def read_file(path: Path, cap_bytes: int = 65_536) -> Flow[bytes]:
    """Read a file of the operator's. Raises OSError."""
    return cast("bytes", (yield ReadFile(path, cap_bytes)))


def pause(wait_s: float) -> Flow[None]:
    """Wait."""
    yield Pause(wait_s)


def compute(work: Callable[[], T]) -> Flow[T]:
    """Do long work without holding up others. Raises what the work raises."""
    return cast("T", (yield Compute(work)))


def together(flows: Sequence[Flow[T]], at_once: int) -> Flow[list[T | Exception]]:
    """Run flows side by side and return the outcome of each."""
    return cast("list[T | Exception]", (yield Together(cast("Sequence[Flow[object]]", flows), at_once)))


def transmit(to: Receiver, messages: Sequence[Message]) -> Flow[list[Unsent | None]]:
    """Send messages and return what became of each. Raises UnreachableError when nobody could be reached at all."""
    return cast("list[Unsent | None]", (yield Transmit(to, messages)))


def finished(flow: Flow[T]) -> T:
    """Run a flow that asks for nothing, such as one of the local KMS."""
    try:
        effect = flow.send(None)
    except StopIteration as stop:
        return cast("T", stop.value)
    raise ValueError(f"the flow asked for {type(effect).__name__}; it needs a driver")
