import asyncio
import threading
from collections import Counter
from collections.abc import Callable

import pytest

from tenant_security.outbound.names import NameLimits, NameNotFoundError, Names, system_lookup
from tenant_security.testing.clock import SteppingClock


class NameServer:
    """Answers when a test says so; ``held`` names hang."""

    def __init__(self) -> None:
        self.zone: dict[str, tuple[str, ...]] = {}
        self.asked: Counter[str] = Counter()
        self.held: set[str] = set()
        self.release = threading.Event()
        self.running = threading.Semaphore(0)

    def __call__(self, name: str) -> tuple[str, ...]:
        self.asked[name] += 1
        if name in self.held:
            self.running.release()
            self.release.wait(60)
        if name not in self.zone:
            raise OSError("unknown")
        return self.zone[name]


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def test_a_name_is_asked_once_for_all_and_kept_for_a_while():
    server, clock = NameServer(), SteppingClock()
    server.zone["kms.example"] = ("192.0.2.1", "2001:db8::1")
    names = Names(NameLimits(keep_s=30), look_up=server, clock=clock)

    found = await asyncio.gather(*(names.addresses(each) for each in ("kms.example", "KMS.example", "kms.example.")))

    assert set(found) == {("192.0.2.1", "2001:db8::1")}
    clock.advance(29.9)
    await names.addresses("kms.example")
    assert server.asked["kms.example"] == 1
    clock.advance(0.2)
    server.zone["kms.example"] = ("192.0.2.2",)
    assert await names.addresses("kms.example") == ("192.0.2.2",)


async def test_a_name_that_is_not_found_is_remembered_briefly():
    server, clock = NameServer(), SteppingClock()
    names = Names(NameLimits(keep_failure_s=5), look_up=server, clock=clock)

    for _ in range(2):
        with pytest.raises(NameNotFoundError):
            await names.addresses("nowhere.example")
    assert server.asked["nowhere.example"] == 1
    clock.advance(5.1)
    server.zone["nowhere.example"] = ("192.0.2.1",)
    assert await names.addresses("nowhere.example") == ("192.0.2.1",)


async def test_a_name_server_that_hangs_holds_up_neither_the_loop_nor_other_names():
    server = NameServer()
    server.held = {f"h{number}.evil.example" for number in range(40)} | {"h.bad.example"}
    server.zone = {"kms.example.org": ("192.0.2.1",), "known.example.com": ("192.0.2.2",)}
    names = Names(NameLimits(threads=8, threads_per_domain=2), look_up=server)
    await names.addresses("known.example.com")
    hanging = [asyncio.ensure_future(names.addresses(each)) for each in sorted(server.held)]
    try:
        await until(lambda: names.in_flight == 3)  # two under the one domain, one under the other; the rest wait

        assert await names.addresses("kms.example.org") == ("192.0.2.1",)
        assert names.in_flight == 3
    finally:
        server.release.set()
    assert all(isinstance(each, NameNotFoundError) for each in await asyncio.gather(*hanging, return_exceptions=True))
    assert names.in_flight == 0


async def test_names_that_were_found_before_have_threads_of_their_own():
    server, clock = NameServer(), SteppingClock()
    server.zone = {"known.good.org": ("192.0.2.2",)}
    names = Names(NameLimits(threads=4, threads_per_domain=1), look_up=server, clock=clock)
    await names.addresses("known.good.org")
    clock.advance(60)
    server.held = {f"h.evil{number}.com" for number in range(10)}
    hanging = [asyncio.ensure_future(names.addresses(each)) for each in sorted(server.held)]
    try:
        await until(lambda: names.in_flight == 2)

        assert await names.addresses("known.good.org") == ("192.0.2.2",)
        assert server.asked["known.good.org"] == 2
    finally:
        server.release.set()
    await asyncio.gather(*hanging, return_exceptions=True)


async def test_who_stops_waiting_does_not_fail_the_others():
    server = NameServer()
    server.held, server.zone = {"slow.example"}, {"slow.example": ("192.0.2.1",)}
    names = Names(NameLimits(), look_up=server)
    first, second = (asyncio.ensure_future(names.addresses("slow.example")) for _ in range(2))
    await until(lambda: server.asked["slow.example"] == 1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    server.release.set()

    assert await second == ("192.0.2.1",)
    assert server.asked["slow.example"] == 1


async def test_lookups_beyond_the_queue_fail_at_once():
    server = NameServer()
    server.held = {"a.example", "b.example", "c.example"}
    names = Names(NameLimits(threads=2, threads_per_domain=1, waiting=1), look_up=server)
    waiting = [asyncio.ensure_future(names.addresses(each)) for each in ("a.example", "b.example")]
    await until(lambda: server.asked.total() == 1)
    try:
        with pytest.raises(NameNotFoundError):
            await names.addresses("c.example")
    finally:
        server.release.set()
    await asyncio.gather(*waiting, return_exceptions=True)
    server.zone["c.example"] = ("192.0.2.1",)
    assert await names.addresses("c.example") == ("192.0.2.1",)  # it was not remembered as unknown


async def test_only_so_many_answers_are_kept():
    server = NameServer()
    server.zone = dict.fromkeys("abc", ("192.0.2.1",))
    names = Names(NameLimits(names=2), look_up=server)
    for name in "abca":
        await names.addresses(name)

    assert server.asked == {"a": 2, "b": 1, "c": 1}


def test_the_system_is_asked_for_both_families_once():
    assert "127.0.0.1" in system_lookup("127.0.0.1")
