"""Runs flows without an event loop, over urllib3: for the client in threads, scripts and web workers.

Thread-safe: any number of threads run flows at once over one pool of connections. Fork-safe: a child that was forked
opens connections of its own, because two processes on one TLS connection would read each other's answers.
"""

import os
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Self, TypeVar, cast

import msgspec
import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationParseError,
    LocationValueError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    SSLError,
    TimeoutError,  # noqa: A004 - urllib3's own
)
from urllib3.util import Timeout, make_headers, parse_url

from tenant_security.outbound.environment import environment_proxy
from tenant_security.outbound.flow import (
    Compute,
    Effect,
    Flow,
    Pause,
    Reason,
    Request,
    Response,
    Together,
    UnreachableError,
)

T = TypeVar("T")

_USER_AGENT: Final = "tenant-security"
_PIECE_BYTES: Final = 64 * 1024
_HOSTS: Final = 8


class SyncLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much time and how many connections talking to others may take.

    Units: seconds where the name ends in ``_s``, else counts.
    """

    connect_s: float = 5.0
    """One TCP connect with its TLS handshake."""
    attempt_s: float = 10.0
    """One request with its whole answer. What is left of it bounds every single wait for bytes."""
    connections: int = 32
    """Connections kept for use by threads; a thread beyond that opens one for itself and closes it."""
    threads: int = 16
    """How many of a flow's parts run side by side at most."""

    def __post_init__(self) -> None:
        if min(self.connect_s, self.attempt_s) <= 0:
            raise ValueError("timeouts must be positive")
        if min(self.connections, self.threads) < 1:
            raise ValueError("bounds must be positive")


class SyncOutbound:
    """Runs flows in the calling thread. Use as ``with SyncOutbound() as outbound``, or close it.

    Serves what a client's flows ask for: requests, pauses, computations, parts side by side.

    Trust: follows no redirect, keeps no cookie, reads no proxy from the environment unless ``environment_proxies``.
    Certificates are checked against the system's authorities, or by ``ssl_context``.
    """

    def __init__(
        self,
        limits: SyncLimits | None = None,
        *,
        ssl_context: ssl.SSLContext | None = None,
        environment_proxies: bool = False,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits or SyncLimits()
        self._ssl_context = ssl_context
        self._environment_proxies = environment_proxies
        self._sleep = sleep
        self._clock = clock
        self._lock = threading.Lock()
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._closed = False
        _OPEN.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. Flows that are under way may fail."""
        with self._lock:
            self._closed = True
            pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.clear()

    def run(self, flow: Flow[T], *, deadline_s: float) -> T:
        """Run a flow to its end and return its value.

        Units: ``deadline_s`` bounds everything the flow waits for, but not what it computes.
        Raises: whatever the flow raises.
        """
        deadline = self._clock() + deadline_s
        try:
            effect = flow.send(None)
            while True:
                began = self._clock()
                answer = self._answer(effect, deadline - began)
                if isinstance(effect, Compute):
                    deadline += self._clock() - began
                effect = flow.throw(answer) if isinstance(answer, BaseException) else flow.send(answer)
        except StopIteration as end:
            return cast("T", end.value)
        finally:
            flow.close()

    def _answer(self, effect: Effect, left_s: float) -> object:
        """What to send into the flow; an exception is to be thrown into it."""
        match effect:
            case Request():
                return self.exchange(effect, min(left_s, self._limits.attempt_s))
            case Pause(wait_s):
                self._sleep(max(0.0, min(wait_s, left_s)))
                return None
            case Compute(work):
                try:
                    return work()
                except Exception as fault:  # noqa: BLE001 - it is the flow's own work, and the flow's to catch
                    return fault
            case Together(flows, at_once):
                return self._together(flows, at_once, left_s)
            case _:
                return ValueError(f"this driver does not serve {type(effect).__name__}")

    def _together(self, flows: Sequence[Flow[object]], at_once: int, left_s: float) -> list[object]:
        def outcome(flow: Flow[object]) -> object:
            try:
                return self.run(flow, deadline_s=left_s)
            except Exception as fault:  # noqa: BLE001 - the flow that asked for them decides
                return fault

        threads = min(at_once, len(flows), self._limits.threads)
        if threads <= 1:
            return [outcome(flow) for flow in flows]
        # A pool of its own: one that all shared could be full of flows that wait for a place in it.
        with ThreadPoolExecutor(threads, thread_name_prefix="tenant-security") as pool:
            return list(pool.map(outcome, flows))

    def exchange(self, request: Request, within_s: float) -> Response | UnreachableError:
        """Send one request; what failed is returned."""
        if within_s <= 0:
            return UnreachableError(Reason.TIMEOUT)
        try:
            return self._send(request, self._clock() + within_s)
        except UnreachableError as failure:
            return failure
        except (HTTPError, OSError, UnicodeError, ValueError) as failure:
            # The cause is left behind: it names addresses, and its traceback holds the request.
            return UnreachableError(_reason(failure))

    def _send(self, request: Request, deadline: float) -> Response:
        parts = parse_url(request.url)
        if parts.scheme not in {"http", "https"} or not parts.host:
            raise UnreachableError(Reason.REFUSED)
        left_s = deadline - self._clock()
        response = self._pool(request.url).request(
            request.method,
            request.url,
            body=request.body or None,
            headers={"User-Agent": _USER_AGENT, **dict(request.headers)},
            timeout=Timeout(connect=min(self._limits.connect_s, left_s), read=left_s),
            retries=False,
            redirect=False,
            preload_content=False,
            decode_content=True,
        )
        body = bytearray()
        done = False
        try:
            while piece := response.read1(_PIECE_BYTES):
                body += piece
                if len(body) > request.cap_bytes:
                    raise UnreachableError(Reason.TOO_LARGE)
                if self._clock() > deadline:
                    raise UnreachableError(Reason.TIMEOUT)
            done = True
        finally:
            if done:
                response.release_conn()
            else:
                response.close()
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Response(response.status, headers, bytes(body))

    def _pool(self, url: str) -> urllib3.PoolManager:
        proxy = self._proxy_of(url) or ""
        with self._lock:
            if self._closed:
                raise RuntimeError("the driver is closed")
            pool = self._pools.get(proxy)
            if pool is None:
                size, context = self._limits.connections, self._ssl_context
                if proxy:
                    credentials = make_headers(proxy_basic_auth=parse_url(proxy).auth)
                    pool = urllib3.ProxyManager(
                        proxy, _HOSTS, proxy_headers=credentials, maxsize=size, ssl_context=context
                    )
                else:
                    pool = urllib3.PoolManager(_HOSTS, maxsize=size, ssl_context=context)
                self._pools[proxy] = pool
            return pool

    def _proxy_of(self, url: str) -> str | None:
        """The HTTP proxy that the environment names for this address, where it was asked to."""
        if not self._environment_proxies:
            return None
        parts = parse_url(url)
        return environment_proxy(parts.scheme or "", parts.host or "")

    def forked(self) -> None:
        """Forget, in a child process, the connections and the lock of its parent. The parent's stay open."""
        self._lock = threading.Lock()
        self._pools = {}


_OPEN: Final[weakref.WeakSet[SyncOutbound]] = weakref.WeakSet()


def _forget_in_child() -> None:
    for each in list(_OPEN):
        each.forked()


if hasattr(os, "register_at_fork"):  # where there is no fork there is nothing to forget
    os.register_at_fork(after_in_child=_forget_in_child)


def _reason(failure: Exception) -> Reason:  # noqa: PLR0911 - one line for each kind
    """Say which kind of failure this was. The order matters: the classes overlap."""
    match failure:
        case LocationParseError() | LocationValueError():
            return Reason.REFUSED
        case NameResolutionError() | UnicodeError():
            return Reason.NAME
        case SSLError() | ssl.SSLError():
            return Reason.TLS
        case ConnectTimeoutError() | NewConnectionError() | ProxyError():
            return Reason.CONNECT
        case TimeoutError():
            return Reason.TIMEOUT
        case ValueError():
            return Reason.REFUSED
        case _:
            return Reason.RESET
