"""Runs flows over one shared HTTP session: the only place that opens connections to others.

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

from tenant_security.outbound.connections import Authorities, CappedConnector, connector
from tenant_security.outbound.egress import EgressPolicy
from tenant_security.outbound.environment import environment_proxy
from tenant_security.outbound.exchange import CannotWriteError, address_of, exchange, hold_to, reason_of
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
    Transmit,
    UnreachableError,
)
from tenant_security.outbound.names import LookUp, NameLimits, Names
from tenant_security.outbound.receivers import Message, Receiver
from tenant_security.outbound.sharing import Holding, SharedValues
from tenant_security.outbound.transports import Transports
from tenant_security.outbound.vetted import Resolver, VettedNames

T = TypeVar("T")

# Above this many seconds aiohttp rounds a timeout up to a whole second; our deadlines are meant as they are written.
_NEVER_ROUND_S: Final = 1e9

# We name ourselves and ask for nothing compressed: the answers are small, and a size cap is easier to trust on them.
_AUTOMATIC_HEADERS_LEFT_OUT: Final = ("Accept", "Accept-Encoding", "User-Agent")
_MOST_ALLOWED: Final = 10_000
_USER_AGENT: Final = "tenant-security"


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
    """How long an unused connection stays open."""
    idle: int = 200
    """Unused connections kept open; those idle for longest are closed first. Tenants with a KMS of their own have a
    host each, so without this bound there would be one for each."""
    names_s: float = 30.0
    """How long a resolved host name is used."""
    shared_s: float = 5.0
    """Making one shared value, such as an access token: all its requests together."""
    shared_values: int = 10_000
    """Shared values kept; the least recently used goes first and is made again when it is wanted."""

    def __post_init__(self) -> None:
        if min(self.connect_s, self.attempt_s, self.shared_s) <= 0 or min(self.keepalive_s, self.names_s) < 0:
            raise ValueError("timeouts must be positive")
        if min(self.connections, self.shared_values) < 1 or min(self.connections_per_host, self.idle) < 0:
            raise ValueError("bounds must be positive")


class Traffic:
    """Counts since the start, for metrics. Owner: the driver; everyone else reads."""

    __slots__ = ("failures", "in_flight", "refused", "requests")

    def __init__(self) -> None:
        self.requests = 0
        """Requests begun."""
        self.in_flight = 0
        """Requests begun and not yet ended."""
        self.failures: dict[Reason, int] = dict.fromkeys(Reason, 0)
        """Requests that got no response, by reason."""
        self.refused = ""
        """Why the policy refused the last one that it did. For the operator: it may name addresses inside."""


class Outbound:
    """Runs flows. Use as ``async with Outbound(limits) as outbound``; closing cancels what is still being made.

    With ``egress`` every request that is not ``of_operator`` is held to that policy, and never shares a connection with
    one that is; without it all addresses count as the operator's own. Whoever serves tenants must give one.

    Trust: follows no redirect, keeps no cookie, reads no proxy or credentials from the environment, and prints no
    header or body. Certificates are checked against the system's authorities, or by ``ssl_context``. With
    ``unix_socket`` every request goes to whoever listens on that path, whatever host its address names. With
    ``environment_proxies`` it goes through the HTTP proxies that the environment names.
    """

    def __init__(
        self,
        limits: OutboundLimits | None = None,
        *,
        ssl_context: ssl.SSLContext | None = None,
        unix_socket: Path | None = None,
        environment_proxies: bool = False,
        egress: EgressPolicy | None = None,
        look_up: LookUp | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits or OutboundLimits()
        self._ssl_context = ssl_context
        self._unix_socket = unix_socket
        self._environment_proxies = environment_proxies
        self._egress = egress
        self._names = Names(NameLimits(keep_s=self._limits.names_s), look_up=look_up, clock=clock)
        self._allowed: set[str] = set()
        self._authorities = Authorities()
        self._session: aiohttp.ClientSession | None = None
        self._of_operator: aiohttp.ClientSession | None = None
        self._shared = SharedValues(self._make, keep=self._limits.shared_values, clock=clock)
        self._transports = Transports(
            connect_s=self._limits.connect_s,
            names=lambda: self.vetted_names,
            tls=ssl_context,
            clock=clock,
        )
        self.traffic = Traffic()

    async def __aenter__(self) -> Self:
        self._session = self._open_session(self._connector())
        # Apart: a tenant's request must never find an open connection to somewhere that only the operator may reach.
        self._of_operator = self._session if self._egress is None else self._open_session(self._tcp(None))
        return self

    def _open_session(self, connections: aiohttp.BaseConnector) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connections,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": _USER_AGENT},
            skip_auto_headers=_AUTOMATIC_HEADERS_LEFT_OUT,
            timeout=aiohttp.ClientTimeout(sock_connect=self._limits.connect_s, ceil_threshold=_NEVER_ROUND_S),
        )

    def _connector(self) -> aiohttp.BaseConnector:
        limits = self._limits
        if self._unix_socket is not None:
            return aiohttp.UnixConnector(
                str(self._unix_socket),
                keepalive_timeout=limits.keepalive_s,
                limit=limits.connections,
                limit_per_host=limits.connections_per_host,
            )
        return self._tcp(None if self._egress is None else Resolver(self._names, self._egress))

    def _tcp(self, guarded_by: Resolver | None) -> CappedConnector:
        limits = self._limits
        return connector(
            self._names,
            guarded_by=guarded_by,
            tls=self._ssl_context,
            idle=limits.idle,
            keepalive_timeout=limits.keepalive_s,
            limit=limits.connections,
            limit_per_host=limits.connections_per_host,
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._shared.close()
        await self._transports.close()
        for session in {self._session, self._of_operator} - {None}:
            assert session is not None
            await session.close()
        self._session = self._of_operator = None

    @property
    def vetted_names(self) -> VettedNames | None:
        """How to find out where a tenant's host leads, for other protocols than HTTP; None without a policy."""
        return None if self._egress is None else VettedNames(self._egress, self._names)

    @property
    def idle_connections(self) -> int:
        """How many connections wait to be used again."""
        sessions = {self._session, self._of_operator} - {None}
        connectors = [session.connector for session in sessions if session is not None]
        return sum(each.idle for each in connectors if isinstance(each, CappedConnector))

    @property
    def lookups_in_flight(self) -> int:
        """How many host names are being looked up."""
        return self._names.in_flight

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
            case Transmit(to, messages):
                return await self._transmit(to, messages, left_s)
            case _:
                assert_never(effect)

    async def _transmit(self, to: Receiver, messages: Sequence[Message], within_s: float) -> object:
        try:
            async with asyncio.timeout(within_s):
                return await self._transports.send(to, messages, within_s)
        except UnreachableError as failure:
            return failure
        except (aiohttp.ClientError, OSError, UnicodeError) as failure:
            return UnreachableError(reason_of(failure))

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
        except CannotWriteError as failure:
            return failure.cause
        except UnreachableError as failure:
            self.traffic.failures[failure.reason] += 1
            return failure
        except (aiohttp.ClientError, OSError, UnicodeError) as failure:
            reason = reason_of(failure)
            if reason is Reason.REFUSED:
                self.traffic.refused = str(getattr(failure, "os_error", failure))
            self.traffic.failures[reason] += 1
            # The cause is left behind: it names addresses, and its traceback holds the request.
            return UnreachableError(reason)
        finally:
            self.traffic.in_flight -= 1

    async def _send(self, request: Request, into: Path | None) -> Response:
        session = self._of_operator if request.of_operator else self._session
        if session is None:
            raise RuntimeError("the driver is not open: use `async with`")
        url = address_of(request.url)
        if self._egress is not None and not request.of_operator and request.url not in self._allowed:
            hold_to(self._egress, url, request.url)
            # The rules about the text of an address never change; those about where it leads are asked each time.
            if len(self._allowed) >= _MOST_ALLOWED:
                self._allowed.clear()
            self._allowed.add(request.url)
        tls = self._authorities.context(request.authorities) if request.authorities else None
        through = environment_proxy(url.scheme, url.host or "") if self._environment_proxies else None
        return await exchange(session, request, url, tls, into, through=through)


async def _computed(work: Callable[[], object]) -> object:
    """What the work returned; an exception is to be thrown into the flow."""
    try:
        return await asyncio.to_thread(work)
    except Exception as fault:  # noqa: BLE001 - it is the flow's own work, and the flow's to catch
        return fault


def _read(path: Path, cap_bytes: int) -> bytes:
    with path.open("rb") as file:
        content = file.read(cap_bytes + 1)
    if len(content) > cap_bytes:
        raise OSError(errno.EFBIG, "the file is longer than it may be", str(path))
    return content
