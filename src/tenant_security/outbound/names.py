"""Addresses of host names, looked up in threads so that a slow name server holds up nobody but who asked for its names.

A lookup by the operating system cannot be called off: one that hangs keeps its thread until the system gives up, up to
half a minute. So threads are bounded, each name is looked up once for all who wait, the names of one domain get a few
threads at most, and names that have been found before do not queue behind names that never were.
"""

import asyncio
import contextlib
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from tenant_security.outbound.bulkhead import Bulkhead, Room, Verdict

LookUp = Callable[[str], tuple[str, ...]]
"""Finds a name's addresses, in a thread. Raises: OSError, UnicodeError."""


class NameLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of looking up names. Units: seconds where the name ends in ``_s``, else counts."""

    keep_s: float = 30.0
    """How long an answer is used."""
    keep_failure_s: float = 5.0
    """How long a name that was not found is not asked for again."""
    names: int = 20_000
    """Answers kept; the least recently used goes first."""
    threads: int = 64
    """Lookups at a time: half of them for names that were found before, half for others."""
    threads_per_domain: int = 4
    """Lookups at a time of names that end in the same two labels."""
    waiting: int = 4_096
    """Lookups that wait for a thread; more fail at once."""


class NameNotFoundError(OSError):
    """No address was found for a name."""


class _Answer(NamedTuple):
    addresses: tuple[str, ...]
    fresh_until: float


class Names:
    """Looks up names. Owner: the driver; one event loop."""

    def __init__(
        self,
        limits: NameLimits,
        *,
        look_up: LookUp | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._look_up = look_up or system_lookup
        self._clock = clock
        self._answers: OrderedDict[str, _Answer] = OrderedDict()
        self._asking: dict[str, asyncio.Future[tuple[str, ...]]] = {}
        half = max(1, limits.threads // 2)
        room = Room(
            running=half,
            per_owner=min(half, limits.threads_per_domain),
            per_group=half,
            waiting=limits.waiting,
            waiting_per_owner=limits.waiting,
        )
        self._found_before: Bulkhead[str] = Bulkhead(room)
        self._never_found: Bulkhead[str] = Bulkhead(room)

    @property
    def in_flight(self) -> int:
        """Lookups that hold a thread now."""
        return self._found_before.running + self._never_found.running

    async def addresses(self, name: str) -> tuple[str, ...]:
        """Return a name's IP addresses, as the system orders them. The caller bounds the wait.

        Raises: NameNotFoundError.
        """
        name = name.lower().rstrip(".")
        answer = self._answers.get(name)
        if answer is not None and self._clock() < answer.fresh_until:
            self._answers.move_to_end(name)
        else:
            # Shielded: whoever asked first may leave without failing the others.
            answer = _Answer(await asyncio.shield(self._asked(name, answer)), 0)
        if not answer.addresses:
            raise NameNotFoundError(f"no address was found for {name}")
        return answer.addresses

    def _asked(self, name: str, before: _Answer | None) -> "asyncio.Future[tuple[str, ...]]":
        asking = self._asking.get(name)
        if asking is not None:
            return asking
        asking = asyncio.get_running_loop().create_future()
        lanes = self._found_before if before is not None and before.addresses else self._never_found
        match lanes.enter(_domain(name), name):
            case Verdict.GO:
                self._asking[name] = asking
                self._begin(name, lanes)
            case Verdict.WAIT:
                self._asking[name] = asking
            case Verdict.FULL:
                asking.set_result(())
        return asking

    def _begin(self, name: str, lanes: Bulkhead[str]) -> None:
        loop = asyncio.get_running_loop()

        def work() -> None:
            try:
                addresses = self._look_up(name)
            except (OSError, UnicodeError):
                addresses = ()
            # The loop may be gone by the time the system gives up.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._answered, name, lanes, addresses)

        # A daemon: the program's end must not wait for a name server that does not answer.
        threading.Thread(target=work, name="name-lookup", daemon=True).start()

    def _answered(self, name: str, lanes: Bulkhead[str], addresses: tuple[str, ...]) -> None:
        keep_s = self._limits.keep_s if addresses else self._limits.keep_failure_s
        self._answers[name] = _Answer(addresses, self._clock() + keep_s)
        self._answers.move_to_end(name)
        while len(self._answers) > self._limits.names:
            self._answers.popitem(last=False)
        asking = self._asking.pop(name)
        if not asking.done():
            asking.set_result(addresses)
        following = lanes.leave(_domain(name))
        if following is not None:
            self._begin(following, lanes)


def system_lookup(name: str) -> tuple[str, ...]:
    """Ask the operating system. Raises: OSError, UnicodeError."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return tuple(dict.fromkeys(str(each[4][0]) for each in found))


_LABELS: Final = 2


def _domain(name: str) -> str:
    return ".".join(name.rsplit(".", _LABELS)[-_LABELS:])
