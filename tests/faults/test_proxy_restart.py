"""Stopping, restarting and dying: what is in flight is finished, what was promised is kept."""

import asyncio
import signal
import socket
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

import pytest

from .proxy_process import (
    API_KEY,
    LEASED,
    PLAIN,
    Got,
    Hammer,
    HeldKms,
    Later,
    ProxyProcess,
    World,
    a_world,
    ask,
    aws_config,
    derivation,
    fields,
    soon,
    until,
)

RESTARTS = 20


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as made:
        yield made


@pytest.fixture
def held() -> Iterator[HeldKms]:
    kms = HeldKms()
    yield kms
    kms.close()


@pytest.mark.slow
async def test_twenty_restarts_behind_an_inherited_socket_fail_no_request(world: World) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    port, fd = listener.getsockname()[1], listener.fileno()

    def start() -> ProxyProcess:
        return world.start(TSP_HTTP_FD=str(fd), pass_fds=[fd], TSP_DRAIN_SECONDS="0.2")

    with listener:
        old = start()
        await soon(old.is_ready, "ready")
        hammer = Hammer(port)
        for _ in range(RESTARTS):
            new = start()
            await soon(new.is_ready, "ready")
            old.signal(signal.SIGTERM)
            stopping, old = old, new
            await soon(lambda stopping=stopping: stopping.process.poll() is not None, "stopped")  # type: ignore[misc]
            assert stopping.wait() == 0, stopping.output
            stopping.assert_quiet()
        await hammer.stop()
        old.stop()
    assert hammer.failures == []
    assert hammer.closed >= RESTARTS, "clients were told to go"
    assert hammer.served > 32 * RESTARTS


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_in_flight_is_finished_before_the_proxy_stops(
    world: World, held: HeldKms, number: signal.Signals
) -> None:
    world.write_snapshot(slow=aws_config(held.url))
    proxy = world.start(TSP_KMS_DEADLINE_SECONDS="20", TSP_KMS_ATTEMPT_SECONDS="20").ready()
    later = Later(proxy, "slow")
    until(lambda: held.arrived == 1, "the KMS call")
    proxy.signal(number)
    until(lambda: bool(proxy.lines("proxy draining")), "draining")
    until(lambda: ask(proxy.ops, "/ready").status == 503, "not ready")
    assert proxy.process.poll() is None, "it waits for the request"
    held.release.set()
    answer = later.answer()
    assert isinstance(answer, Got), answer
    assert answer.json()["code"] == 204
    assert answer.status == 422
    assert proxy.wait() == 0
    assert proxy.lines("proxy stopped")[0]["requests_cut"] == 0
    proxy.assert_quiet()


def test_a_second_signal_stops_at_once(world: World, held: HeldKms) -> None:
    world.write_snapshot(slow=aws_config(held.url))
    proxy = world.start(TSP_KMS_DEADLINE_SECONDS="100", TSP_KMS_ATTEMPT_SECONDS="100", TSP_STOP_SECONDS="100").ready()
    later = Later(proxy, "slow")
    until(lambda: held.arrived == 1, "the KMS call")
    proxy.signal(signal.SIGTERM)
    until(lambda: bool(proxy.lines("proxy draining")), "draining")
    proxy.signal(signal.SIGTERM)
    assert proxy.wait() == 0
    assert isinstance(later.answer(), Exception), "nobody waited for it"
    assert proxy.lines("proxy stopped")[0]["requests_cut"] == 1
    assert "Traceback" not in proxy.output


def test_a_second_signal_ends_the_drain_too(world: World) -> None:
    proxy = world.start(TSP_DRAIN_SECONDS="100").ready()
    proxy.signal(signal.SIGINT)
    until(lambda: bool(proxy.lines("proxy draining")), "draining")
    proxy.signal(signal.SIGINT)
    assert proxy.wait() == 0
    proxy.assert_quiet()


def test_while_draining_requests_are_served_and_connections_ended(world: World) -> None:
    proxy = world.start(TSP_DRAIN_SECONDS="100").ready()
    api, ops = proxy.api, proxy.ops
    assert "connection" not in proxy.call("document/wrap", fields(LEASED)).headers
    proxy.signal(signal.SIGTERM)
    until(lambda: ask(ops, "/ready").status == 503, "not ready")
    assert ask(ops, "/ready").body == b"stopping\n"
    assert ask(ops, "/live").status == 200
    assert ask(ops, "/health").status == 500
    for tenant in (LEASED, PLAIN):
        answer = proxy.call("document/wrap", fields(tenant), port=api)
        assert answer.status == 200
        assert answer.headers["connection"] == "close"
    proxy.signal(signal.SIGTERM)
    assert proxy.wait() == 0


def test_a_proxy_that_never_became_ready_stops_at_once(world: World, tmp_path: Path) -> None:
    proxy = world.start(TSP_SNAPSHOT_FILE=str(tmp_path / "missing"), TSP_DRAIN_SECONDS="100")
    until(lambda: bool(proxy.lines("the tenants could not be loaded; trying again")), "its first try")
    proxy.signal(signal.SIGTERM)
    assert proxy.wait() == 0
    assert "Traceback" not in proxy.output


def test_after_kill_9_nothing_that_was_promised_is_lost(world: World) -> None:
    proxy = world.start().ready()
    derived = proxy.call("key/derive-with-secret-path", derivation(PLAIN, "a", "b"))
    wrapped = [proxy.call("document/wrap", fields(tenant)).json() for tenant in (PLAIN, LEASED)]
    assert derived.status == 200
    for round_number in range(3):
        proxy.signal(signal.SIGKILL)
        assert proxy.wait() == -signal.SIGKILL
        proxy = world.start().ready()
        assert proxy.call("key/derive-with-secret-path", derivation(PLAIN, "a", "b")).json() == derived.json()
        for tenant, made in zip((PLAIN, LEASED), wrapped, strict=True):
            got = proxy.call("document/unwrap", fields(tenant, encryptedDocumentKey=made["edek"]))
            assert got.json() == {"dek": made["dek"]}
        fresh = proxy.call("key/derive-with-secret-path", derivation(PLAIN, f"new-{round_number}"))
        assert fresh.status == 200
    proxy.stop()


async def test_kill_9_amid_secret_creation_leaves_a_whole_file(world: World) -> None:
    """Whatever was answered before the kill is answered the same after it."""
    promised: dict[str, object] = {}
    for kill in range(3):
        proxy = world.start()
        await soon(proxy.is_ready, "ready")
        port = proxy.api

        def derive(first: int, proxy: ProxyProcess = proxy, port: int = port) -> None:
            for number in range(first, first + 10_000):
                path = f"path-{number}"
                try:
                    got = proxy.call("key/derive-with-secret-path", derivation(PLAIN, path), port=port)
                except (OSError, HTTPException):
                    return
                promised[path] = got.json()["derivedKeys"][path]

        before = len(promised)
        deriving = [asyncio.create_task(asyncio.to_thread(derive, kill * 100_000 + 20_000 * each)) for each in range(4)]
        await soon(lambda before=before: len(promised) > before + 40, "secrets")  # type: ignore[misc]
        proxy.signal(signal.SIGKILL)
        await asyncio.gather(*deriving)
        await soon(lambda proxy=proxy: proxy.process.poll() is not None, "dead")  # type: ignore[misc]
    proxy = world.start()
    await soon(proxy.is_ready, "ready")
    got = proxy.call("key/derive-with-secret-path", derivation(PLAIN, *promised))
    assert got.json()["derivedKeys"] == promised
    ids = {keys["d"][0]["tenantSecretId"] for keys in got.json()["derivedKeys"].values()}
    assert len(ids) == len(promised) > 100, "no number was given twice"
    proxy.stop()


def test_api_keys_come_from_the_environment_and_either_of_two_is_accepted(world: World) -> None:
    proxy = world.start(API_KEY_2="c2Vjb25kIGtleSBmb3Ig").ready()
    for key, status in ((API_KEY, 200), ("c2Vjb25kIGtleSBmb3Ig", 200), ("other", 401), ("", 401)):
        assert proxy.call("document/wrap", fields(PLAIN), key=key).status == status
    proxy.stop()
