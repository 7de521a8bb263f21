"""CPU of one KMS call by provider, ours and a bare aiohttp client's, by turns.

Run as ``python -m bench.kms_calls PROVIDER ROUNDS CALLS AT_ONCE``; prints a line with two numbers for each round: CPU
microseconds of a wrap through everything that a proxy puts around it, and of a bare client's request of the same size
to the same fake. The fake runs in a thread of its own, whose CPU is not counted.
"""

import asyncio
import json
import os
import resource
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from urllib.parse import urlsplit

import aiohttp
import uvloop

from tenant_security.cli.demo_kms import demo_kms
from tenant_security.kms.caller import KmsCaller
from tenant_security.kms.catalog import open_key
from tenant_security.kms.provider import KmsContext
from tenant_security.kms.resilience import CallLimits
from tenant_security.outbound.driver import OutboundLimits
from tenant_security.outbound.egress import EgressPolicy, read_allowed
from tenant_security.testing.fakes.dialling import Dialled, DiallingOutbound
from tenant_security.testing.fakes.server import FakeServer
from tenant_security.wire.kms_configs import decode_kms_config

_SIZE = 500
"""Bytes of a bare request's body: about what a wrap sends."""


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_THREAD)
    return used.ru_utime + used.ru_stime


async def _timed(call: Callable[[], Awaitable[object]], count: int, at_once: int) -> float:
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            await call()

    before = _cpu_s()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    return (_cpu_s() - before) / count * 1e6


async def _measure(fake: FakeServer, config: bytes, rounds: int, count: int, at_once: int) -> None:
    policy: EgressPolicy = read_allowed("127.0.0.0/8")
    key = open_key(decode_kms_config(config), KmsContext(now=lambda: datetime.now(UTC)))
    bare = aiohttp.TCPConnector(ssl=fake.trusting(), resolver=Dialled([fake]), limit=0)
    host = next(host for host in fake.hosts if "*" not in host)
    async with (
        DiallingOutbound([fake], OutboundLimits(attempt_s=60), egress=policy) as outbound,
        aiohttp.ClientSession(connector=bare) as session,
    ):
        caller = KmsCaller(outbound, CallLimits(deadline_s=60), observe=lambda _call: None)
        body = json.dumps({"value": "x" * _SIZE}).encode()

        async def ours() -> None:
            await caller.wrap("t", key, os.urandom(32), config=b"fingerprint")

        async def theirs() -> None:
            async with session.post(f"https://{host}/no/such/thing", data=body) as answer:
                json.loads(await answer.read())

        for call in (ours, theirs):
            await _timed(call, at_once * 4, at_once)
        for _ in range(rounds):
            print(f"{await _timed(ours, count, at_once):.1f} {await _timed(theirs, count, at_once):.1f}", flush=True)


def main() -> None:
    """Measure and print."""
    provider, rounds, count, at_once = sys.argv[1:]
    with demo_kms([provider]) as kms:
        (fake,) = kms.fakes
        assert urlsplit(f"https://{fake.hosts[0]}").hostname
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_measure(fake, kms.configs[provider], int(rounds), int(count), int(at_once)))


if __name__ == "__main__":
    main()
