"""Runs flows over one shared HTTP session: the only place that opens HTTP connections to others.

Every tenant's calls share one session and one TLS context, because a session or a vendor's client per tenant costs
hundreds of kilobytes. On uvloop an idle TLS connection is several times smaller than on asyncio's own loop.

Source: docs/decisions/0004-outbound-http-and-aws-signing.md.
"""

import asyncio
import errno
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar, assert_never, cast

import aiohttp
import msgspec
from multidict import CIMultiDict
from yarl import URL

from tenant_security.outbound.flow import (
    Compute,
    Download,
    Effect,
    Flow,
    Forget,
    Lasting,
    Pause,
    ReadFile,
    Reason,
    Request,
    Response,
    Shared,
    Together,
    UnreachableError,
)
from tenant_security.outbound.sharing import Holding, SharedValues

T = TypeVar("T")

# Above this many seconds aiohttp rounds a timeout up to a whole second; our deadlines are meant as they are written.
_NEVER_ROUND_S: Final = 1e9

# We name ourselves and ask for nothing compressed: the answers are small, and a size cap is easier to trust on them.
_AUTOMATIC_HEADERS_LEFT_OUT: Final = ("Accept", "Accept-Encoding", "User-Agent")
_USER_AGENT: Final = "tenant-security"
_OK: Final = 200
_PIECE_BYTES: Final = 256 * 1024


class OutboundLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much time, memory and how many connections talking to others may take.

    Units: seconds where the name ends in ``_s``, else counts.
    """

    connect_s: float = 1.0
    """From the start of the TCP connect to the end of the TLS handshake."""
    attempt_s: float = 2.5
    """One request: waiting for a free connection, name, connect, send and the whole answer."""
    connections: int = 16_384
    """Open connections overall; a request beyond waits for one within its attempt. Each takes a file descriptor."""
    connections_per_host: int = 0
    """Open connections to one host and port; 0: no bound of its own. A cloud's regional host serves all tenants."""
    keepalive_s: float = 10.0
    """How long an unused connection stays open. Short, because tenants with a KMS of their own have a host each, and
    nothing else bounds the number of idle connections."""
    names_s: float = 30.0
    """How long a resolved host name is used."""
    shared_s: float = 5.0
    """Making one shared value, such as an access token: all its requests together."""
    shared_values: int = 10_000
    """Shared values kept; the least recently used goes first and is made again when it is wanted."""

    def __post_init__(self) -> None:
        if min(self.connect_s, self.attempt_s, self.shared_s) <= 0 or min(self.keepalive_s, self.names_s) < 0:
            raise ValueError("timeouts must be positive")
        if min(self.connections, self.shared_values) < 1 or self.connections_per_host < 0:
            raise ValueError("bounds must be positive")


class Traffic:
    """Counts since the start, for metrics. Owner: the driver; everyone else reads."""

    __slots__ = ("failures", "in_flight", "requests")

    def __init__(self) -> None:
        self.requests = 0
        """Requests begun."""
        self.in_flight = 0
        """Requests begun and not yet ended."""
        self.failures: dict[Reason, int] = dict.fromkeys(Reason, 0)
        """Requests that got no response, by reason."""


class Outbound:
    """Runs flows. Use as ``async with Outbound(limits) as outbound``; closing cancels what is still being made.

    Trust: follows no redirect, keeps no cookie, reads no proxy or credentials from the environment, and prints no
    header or body. Certificates are checked against the system's authorities, or by ``ssl_context``. With
    ``unix_socket`` every request goes to whoever listens on that path, whatever host its address names. With
    ``environment_proxies`` it goes through the HTTP proxies that the environment and ``.netrc`` name.
    """

    def __init__(
        self,
        limits: OutboundLimits | None = None,
        *,
        ssl_context: ssl.SSLContext | None = None,
        unix_socket: Path | None = None,
        environment_proxies: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits or OutboundLimits()
        self._ssl_context = ssl_context
        self._unix_socket = unix_socket
        self._environment_proxies = environment_proxies
        self._session: aiohttp.ClientSession | None = None
        self._shared = SharedValues(self._make, keep=self._limits.shared_values, clock=clock)
        self.traffic = Traffic()

    async def __aenter__(self) -> Self:
        limits = self._limits
        self._session = aiohttp.ClientSession(
            connector=self._connector(),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": _USER_AGENT},
            skip_auto_headers=_AUTOMATIC_HEADERS_LEFT_OUT,
            timeout=aiohttp.ClientTimeout(sock_connect=limits.connect_s, ceil_threshold=_NEVER_ROUND_S),
            trust_env=self._environment_proxies,
        )
        return self

    def _connector(self) -> aiohttp.BaseConnector:
        limits = self._limits
        if self._unix_socket is not None:
            return aiohttp.UnixConnector(
                str(self._unix_socket),
                keepalive_timeout=limits.keepalive_s,
                limit=limits.connections,
                limit_per_host=limits.connections_per_host,
            )
        return aiohttp.TCPConnector(
            ssl=self._ssl_context or True,
            resolver=aiohttp.ThreadedResolver(),  # a slow name server holds up a thread, not the loop
            ttl_dns_cache=max(1, round(limits.names_s)),
            use_dns_cache=limits.names_s > 0,
            keepalive_timeout=limits.keepalive_s,
            limit=limits.connections,
            limit_per_host=limits.connections_per_host,
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._shared.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def shared_values(self) -> int:
        """How many shared values are kept now."""
        return len(self._shared)

    async def run(self, flow: Flow[T], *, deadline_s: float, asked: Effect | None = None) -> T:
        """Run a flow to its end and return its value.

        ``asked`` is what the flow has already asked for, when the caller started it to see whether it asks at all.

        Units: ``deadline_s`` bounds everything the flow waits for; what is left of it bounds each request.
        Raises: whatever the flow raises, such as UnreachableError, which it met at the request that got no response.
        """
        deadline = asyncio.get_running_loop().time() + deadline_s
        holdings: dict[object, Holding] = {}
        try:
            effect = flow.send(None) if asked is None else asked
            while True:
                if isinstance(effect, Compute):
                    began = asyncio.get_running_loop().time()
                    answer = await _computed(effect.work)
                    deadline += asyncio.get_running_loop().time() - began
                else:
                    answer = await self._answer(effect, deadline, holdings)
                effect = flow.throw(answer) if isinstance(answer, BaseException) else flow.send(answer)
        except StopIteration as end:
            return cast("T", end.value)
        finally:
            flow.close()

    async def _answer(self, effect: Effect, deadline: float, holdings: dict[object, Holding]) -> object:  # noqa: C901, PLR0911 - one line for each kind
        """What to send into the flow; an exception is to be thrown into it."""
        left_s = deadline - asyncio.get_running_loop().time()
        match effect:
            case Request():
                return await self._exchange(effect, min(left_s, self._limits.attempt_s))
            case Shared(key, make):
                answer = await self._shared.get(key, make, left_s)
                if isinstance(answer, Holding):
                    holdings[key] = answer
                    return answer.value
                return answer
            case Forget(key):
                self._shared.forget(key, holdings.pop(key, None))
                return None
            case Download(request, into, within_s):
                return await self._exchange(request, min(left_s, within_s), into)
            case ReadFile(path, cap_bytes):
                try:
                    return await asyncio.to_thread(_read, path, cap_bytes)
                except OSError as failure:
                    return failure
            case Pause(wait_s):
                await asyncio.sleep(max(0.0, min(wait_s, left_s)))
                return None
            case Compute(work):
                return await _computed(work)
            case Together(flows, at_once):
                return await self._together(flows, at_once, left_s)
            case _:
                assert_never(effect)

    async def _together(self, flows: Sequence[Flow[object]], at_once: int, left_s: float) -> list[object]:
        outcomes: list[object] = [None] * len(flows)
        waiting = iter(enumerate(flows))

        async def worker(queue: Iterator[tuple[int, Flow[object]]]) -> None:
            for index, flow in queue:
                try:
                    outcomes[index] = await self.run(flow, deadline_s=left_s)
                except Exception as fault:  # noqa: BLE001 - the flow that asked for them decides
                    outcomes[index] = fault

        async with asyncio.TaskGroup() as group:
            for _ in range(min(at_once, len(flows))):
                group.create_task(worker(waiting))
        return outcomes

    async def _make(self, make: Callable[[], Flow[Lasting[object]]]) -> Lasting[object]:
        return await self.run(make(), deadline_s=self._limits.shared_s)

    async def _exchange(
        self, request: Request, within_s: float, into: Path | None = None
    ) -> Response | UnreachableError | OSError:
        self.traffic.requests += 1
        self.traffic.in_flight += 1
        try:
            async with asyncio.timeout(within_s):
                return await self._send(request, into)
        except _CannotWriteError as failure:
            return failure.cause
        except UnreachableError as failure:
            self.traffic.failures[failure.reason] += 1
            return failure
        except (aiohttp.ClientError, OSError, UnicodeError) as failure:
            reason = _reason(failure)
            self.traffic.failures[reason] += 1
            # The cause is left behind: it names addresses, and its traceback holds the request.
            return UnreachableError(reason)
        finally:
            self.traffic.in_flight -= 1

    async def _send(self, request: Request, into: Path | None) -> Response:
        if self._session is None:
            raise RuntimeError("the driver is not open: use `async with`")
        url = _address(request.url)
        async with self._session.request(
            request.method,
            url,
            headers=CIMultiDict(request.headers),
            data=request.body or None,
            allow_redirects=False,
        ) as response:
            body = b""
            if into is None or response.status != _OK:
                body = await _read_body(response, request.cap_bytes)
            else:
                await _write_body(response, request.cap_bytes, into)
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Response(response.status, headers, body)


async def _computed(work: Callable[[], object]) -> object:
    """What the work returned; an exception is to be thrown into the flow."""
    try:
        return await asyncio.to_thread(work)
    except Exception as fault:  # noqa: BLE001 - it is the flow's own work, and the flow's to catch
        return fault


async def _read_body(response: aiohttp.ClientResponse, cap_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > cap_bytes:
            response.close()
            raise UnreachableError(Reason.TOO_LARGE)
    return bytes(body)


async def _write_body(response: aiohttp.ClientResponse, cap_bytes: int, into: Path) -> None:
    """Write the body in pieces, in a thread: a disk must not hold up the loop, nor a body fill the memory."""
    left = cap_bytes
    try:
        with await asyncio.to_thread(into.open, "wb") as file:
            async for chunk in response.content.iter_chunked(_PIECE_BYTES):
                left -= len(chunk)
                if left < 0:
                    response.close()
                    raise UnreachableError(Reason.TOO_LARGE)
                await asyncio.to_thread(file.write, chunk)
    except OSError as failure:
        if isinstance(failure, aiohttp.ClientError | TimeoutError):
            raise
        raise _CannotWriteError(failure) from None


class _CannotWriteError(Exception):
    """Our own disk failed, and not the peer."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _read(path: Path, cap_bytes: int) -> bytes:
    with path.open("rb") as file:
        content = file.read(cap_bytes + 1)
    if len(content) > cap_bytes:
        raise OSError(errno.EFBIG, "the file is longer than it may be", str(path))
    return content


def _address(text: str) -> URL:
    """Read an address as it stands: a signed one must go out as it was signed."""
    try:
        url = URL(text, encoded=True)
        port = url.port
    except ValueError:
        raise UnreachableError(Reason.REFUSED) from None
    if url.scheme not in {"http", "https"} or not url.host or port is None:
        raise UnreachableError(Reason.REFUSED)
    return url


def _reason(failure: Exception) -> Reason:
    """Say which kind of failure this was. The order matters: the classes overlap."""
    match failure:
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return Reason.REFUSED
        case aiohttp.ClientConnectorDNSError() | UnicodeError():
            return Reason.NAME
        case (
            aiohttp.ClientSSLError()
            | aiohttp.ClientConnectorCertificateError()
            | aiohttp.ServerFingerprintMismatch()
            | ssl.SSLError()
        ):
            return Reason.TLS
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            return Reason.CONNECT
        case TimeoutError():
            return Reason.TIMEOUT
        case _:
            return Reason.RESET
