import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.outbound.driver import Outbound, OutboundLimits
from tenant_security.outbound.flow import Flow, Lasting, Reason, Request, UnreachableError, forget, send, shared

AMPLE_S = 20.0


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def outbound(clock) -> AsyncIterator[Outbound]:
    async with Outbound(OutboundLimits(shared_values=3, shared_s=AMPLE_S, attempt_s=AMPLE_S), clock=clock) as outbound:
        yield outbound


class Mint:
    """Makes tokens that tell how many were made; each costs one request to the peer, when there is one."""

    def __init__(self, url: str = "", fresh_s: float = 60, usable_s: float = 0) -> None:
        self.usable_s = usable_s
        self.made = 0
        self.url = url
        self.fresh_s = fresh_s
        self.fault: Exception | None = None

    def make(self) -> Flow[Lasting[str]]:
        self.made += 1
        number = self.made
        if self.url:
            yield from send(Request("GET", self.url))
        else:
            yield from ()
        if self.fault is not None:
            raise self.fault
        return Lasting(f"token {number}", self.fresh_s, self.usable_s)


def token(mint: Mint, key: str = "key") -> Flow[str]:
    return (yield from shared(key, mint.make))


async def run(outbound: Outbound, flow: Flow[str]) -> str:
    return await outbound.run(flow, deadline_s=AMPLE_S)


def gate(peer) -> asyncio.Event:
    """Let the peer answer only when the event is set."""
    opened, answer = asyncio.Event(), peer.answer

    async def wait(writer: asyncio.StreamWriter) -> None:
        await opened.wait()
        await answer(writer)

    peer.answer = wait
    return opened


async def test_two_hundred_callers_share_one_making(peer, outbound):
    mint, opened = Mint(peer.url), gate(peer)
    callers = [asyncio.ensure_future(run(outbound, token(mint))) for _ in range(200)]
    await peer.arrived.wait()
    opened.set()

    assert set(await asyncio.gather(*callers)) == {"token 1"}
    assert len(peer.received) == 1


async def test_a_value_is_used_while_it_is_fresh_and_no_longer(outbound, clock):
    mint = Mint(fresh_s=60)

    assert await run(outbound, token(mint)) == "token 1"
    clock.now += 59.9
    assert await run(outbound, token(mint)) == "token 1"
    clock.now += 0.1
    assert await run(outbound, token(mint)) == "token 2"


async def test_a_value_that_is_never_fresh_serves_only_those_who_wait(outbound):
    mint = Mint(fresh_s=0)

    assert await run(outbound, token(mint)) == "token 1"
    assert outbound.shared_values == 0
    assert await run(outbound, token(mint)) == "token 2"


async def test_a_fault_goes_to_all_who_wait_and_is_not_kept(peer, outbound):
    mint, opened = Mint(peer.url), gate(peer)
    mint.fault = LookupError("refused")
    callers = [asyncio.ensure_future(run(outbound, token(mint))) for _ in range(20)]
    await peer.arrived.wait()
    opened.set()

    faults = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(fault) for fault in faults] == [LookupError] * 20
    assert mint.made == 1
    mint.fault = None
    assert await run(outbound, token(mint)) == "token 2"


async def test_a_failure_to_reach_the_maker_is_unreachable_for_the_waiter(outbound):
    with pytest.raises(UnreachableError) as caught:
        await run(outbound, token(Mint("ftp://nowhere/")))

    assert caught.value.reason is Reason.REFUSED


async def test_a_first_caller_who_leaves_does_not_fail_the_others(peer, outbound):
    mint, opened = Mint(peer.url), gate(peer)
    first = asyncio.ensure_future(run(outbound, token(mint)))
    await peer.arrived.wait()
    second = asyncio.ensure_future(run(outbound, token(mint)))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    opened.set()

    assert await second == "token 1"
    assert len(peer.received) == 1


async def test_a_fault_that_nobody_waits_for_any_more_is_not_reported(peer, outbound):
    reports: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
    mint, opened = Mint(peer.url), gate(peer)
    mint.fault = LookupError("refused")
    only = asyncio.ensure_future(run(outbound, token(mint)))
    await peer.arrived.wait()
    only.cancel()
    with pytest.raises(asyncio.CancelledError):
        await only
    opened.set()
    await run(outbound, token(Mint(peer.url), "another key"))
    gc.collect()  # a task reports the fault that nobody looked at when it is collected

    assert mint.made == 1
    assert reports == []


async def test_a_caller_waits_no_longer_than_its_own_deadline(peer, outbound):
    mint, opened = Mint(peer.url), gate(peer)

    with pytest.raises(UnreachableError) as caught:
        await outbound.run(token(mint), deadline_s=0.05)
    assert caught.value.reason is Reason.TIMEOUT
    opened.set()
    assert await run(outbound, token(mint)) == "token 1"


async def test_making_has_a_deadline_of_its_own(peer):
    peer.answer = peer.hang
    async with Outbound(OutboundLimits(shared_s=0.1, attempt_s=AMPLE_S)) as outbound:
        with pytest.raises(UnreachableError) as caught:
            await run(outbound, token(Mint(peer.url)))

    assert caught.value.reason is Reason.TIMEOUT


async def test_closing_ends_what_is_being_made(peer):
    peer.answer = peer.hang
    async with Outbound(OutboundLimits(attempt_s=AMPLE_S, shared_s=AMPLE_S)) as outbound:
        waiting = asyncio.ensure_future(run(outbound, token(Mint(peer.url))))
        await peer.arrived.wait()

    with pytest.raises(UnreachableError):
        await waiting


async def test_the_least_recently_used_value_goes_first(outbound):
    mints = {name: Mint() for name in "abcd"}
    for name in "abc":
        await run(outbound, token(mints[name], name))
    await run(outbound, token(mints["a"], "a"))
    await run(outbound, token(mints["d"], "d"))

    assert outbound.shared_values == 3
    for name in "acd":
        assert await run(outbound, token(mints[name], name)) == "token 1"
    assert await run(outbound, token(mints["b"], "b")) == "token 2"


async def test_a_forgotten_value_is_made_anew(outbound):
    mint = Mint()

    def refused() -> Flow[str]:
        first = yield from shared("key", mint.make)
        yield from forget("key")
        second = yield from shared("key", mint.make)
        return f"{first}, {second}"

    assert await run(outbound, refused()) == "token 1, token 2"


async def test_forgetting_what_others_replaced_already_drops_nothing(peer, outbound):
    """Two hundred callers learn at once that their token was refused; only one new token is made."""
    mint, opened = Mint(), gate(peer)

    def refused() -> Flow[str]:
        yield from shared("key", mint.make)
        yield from send(Request("GET", peer.url))
        yield from forget("key")
        return (yield from shared("key", mint.make))

    callers = [asyncio.ensure_future(run(outbound, refused())) for _ in range(20)]
    await peer.arrived.wait()
    opened.set()

    assert set(await asyncio.gather(*callers)) == {"token 2"}
    assert mint.made == 2


async def test_a_shared_value_may_need_another(outbound):
    inner = Mint()

    def make_outer() -> Flow[Lasting[str]]:
        return Lasting(f"outer of {(yield from shared('inner', inner.make))}", 60)

    def outer() -> Flow[str]:
        return (yield from shared("outer", make_outer))

    assert await run(outbound, outer()) == "outer of token 1"


async def test_a_value_is_made_anew_ahead_of_its_end_and_nobody_waits_for_it(peer, outbound, clock):
    mint = Mint(peer.url, fresh_s=60, usable_s=100)
    assert await run(outbound, token(mint)) == "token 1"
    opened = gate(peer)
    peer.arrived.clear()
    clock.now += 60

    callers = await asyncio.gather(*(run(outbound, token(mint)) for _ in range(50)))

    assert set(callers) == {"token 1"}
    await peer.arrived.wait()
    opened.set()
    while await run(outbound, token(mint)) == "token 1":
        await asyncio.sleep(0)
    assert mint.made == 2
    assert len(peer.received) == 2


async def test_while_a_new_one_cannot_be_had_the_old_one_serves_to_its_end(outbound, clock):
    mint = Mint(fresh_s=60, usable_s=100)
    assert await run(outbound, token(mint)) == "token 1"
    mint.fault = UnreachableError(Reason.CONNECT)
    for _ in range(39):
        clock.now = max(clock.now, 160) + 1
        assert await run(outbound, token(mint)) == "token 1"
        await asyncio.sleep(0)
    assert mint.made == 1 + 4  # once in ten seconds, and not for everybody who asks
    clock.now += 1
    with pytest.raises(UnreachableError):
        await run(outbound, token(mint))


async def test_when_whoever_makes_it_says_no_the_old_one_is_over(outbound, clock):
    mint = Mint(fresh_s=60, usable_s=100)
    assert await run(outbound, token(mint)) == "token 1"
    mint.fault = TenantSecurityError(Code.KMS_AUTHORIZATION_FAILED, "the secret was taken back")
    clock.now += 60
    await run(outbound, token(mint))
    await asyncio.sleep(0)

    with pytest.raises(TenantSecurityError):
        await run(outbound, token(mint))
