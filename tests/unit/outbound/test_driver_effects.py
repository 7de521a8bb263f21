"""What the client's flows ask of the asynchronous driver: pauses, long work, parts side by side, proxies."""

import asyncio
import threading

import pytest

from tenant_security.outbound.driver import Outbound
from tenant_security.outbound.flow import Flow, Reason, Request, UnreachableError, compute, pause, send, together

AMPLE_S = 20.0


async def test_long_work_runs_beside_the_loop():
    proceed = threading.Event()

    async def release() -> None:
        proceed.set()  # could not run if the work held up the loop

    async with Outbound() as outbound, asyncio.TaskGroup() as group:
        working = group.create_task(outbound.run(compute(lambda: proceed.wait(AMPLE_S)), deadline_s=0.01))
        group.create_task(release())
    assert working.result() is True


async def test_what_work_raises_reaches_the_flow():
    def flow() -> Flow[str]:
        try:
            yield from compute(lambda: 1 // 0)
        except ZeroDivisionError:
            return "caught"
        return "missed"

    async with Outbound() as outbound:
        assert await outbound.run(flow(), deadline_s=1.0) == "caught"


async def test_a_pause_ends_at_the_deadline():
    async with Outbound() as outbound:
        await outbound.run(pause(3600.0), deadline_s=0.01)


async def test_flows_run_side_by_side_and_each_has_an_outcome():
    meeting = threading.Barrier(3, timeout=AMPLE_S)

    def meet(number: int) -> Flow[int]:
        yield from compute(meeting.wait)
        if number == 1:
            raise ValueError("one")
        return number

    async with Outbound() as outbound:
        outcomes = await outbound.run(together([meet(each) for each in range(3)], 3), deadline_s=AMPLE_S)
    assert [outcomes[0], outcomes[2]] == [0, 2]
    assert isinstance(outcomes[1], ValueError)


async def test_the_environments_proxy_is_used_when_that_was_asked_for(peer, monkeypatch, tmp_path):
    monkeypatch.setenv("http_proxy", peer.url.replace("//", "//user:pass@"))
    (tmp_path / "netrc").write_text("default login them password theirs\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    request = Request("GET", "http://somewhere.invalid/x", (("Authorization", "cmk ours"),))
    async with Outbound(environment_proxies=True) as outbound:
        assert (await outbound.run(send(request), deadline_s=AMPLE_S)).body == b"ok"
    assert peer.received[0].line == "GET http://somewhere.invalid/x HTTP/1.1"
    assert peer.received[0].headers["authorization"] == "cmk ours"
    assert peer.received[0].headers["proxy-authorization"] == "Basic dXNlcjpwYXNz"
    monkeypatch.setenv("no_proxy", "somewhere.invalid")
    async with Outbound(environment_proxies=True) as outbound:
        with pytest.raises(UnreachableError):
            await outbound.run(send(request), deadline_s=AMPLE_S)
    async with Outbound() as outbound:
        with pytest.raises(UnreachableError) as caught:
            await outbound.run(send(request), deadline_s=AMPLE_S)
    assert caught.value.reason is Reason.NAME
