"""Who may ask, for what, for whom, how often."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from tenant_security.errors import Code, SettingsError, TenantSecurityError
from tenant_security.proxy.applications import ENVIRONMENT, Bucket, Gate, Rates
from tenant_security.secret import Secret
from tenant_security.service.api_key import ApiKeys
from tenant_security.service.metrics import Metrics
from tenant_security.wire.applications import (
    Application,
    ApplicationsFile,
    WrongFileError,
    new_key,
    read_applications,
)

SALT = bytes(range(32))
NOW = datetime(2027, 1, 1, tzinfo=UTC)


class World:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = NOW
        self.clock_s = 100.0
        self.metrics = Metrics()

    def write(self, *applications: Application) -> None:
        self.path.write_bytes(msgspec.json.encode(ApplicationsFile(SALT, applications)))

    def gate(self, rates: Rates | None = None) -> Gate:
        return Gate(
            ApiKeys([Secret("environment-key")]),
            self.metrics,
            file=self.path,
            tenant_rates=rates,
            clock=lambda: self.clock_s,
            now=lambda: self.now,
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "applications.json")


def application(name: str = "billing", **options: object) -> tuple[bytes, Application]:
    text, key = new_key(SALT, options.pop("expires", None))  # type: ignore[arg-type]
    return b"cmk " + text.reveal().encode(), Application(name=name, keys=(key,), **options)  # type: ignore[arg-type]


def refused(code: Code, status: int) -> "pytest.RaisesContext[TenantSecurityError]":
    def matches(fault: TenantSecurityError) -> bool:
        return (fault.code, fault.http_status) == (code, status)

    return pytest.raises(TenantSecurityError, check=matches)  # type: ignore[call-overload]


def test_a_key_of_the_environment_may_do_everything(world: World) -> None:
    world.write()
    gate = world.gate(None)
    who = gate.who(b"cmk environment-key")
    assert who is ENVIRONMENT
    gate.let_in(who, "document/rekey")
    gate.let_in_for(who, "anybody")


def test_a_key_of_the_file_is_its_applications(world: World) -> None:
    key, billing = application()
    world.write(billing)
    assert world.gate().who(key).name == "billing"


@pytest.mark.parametrize(
    "change", [lambda key: key + b"x", lambda key: key[:-1], lambda key: key[4:], lambda _: b"", lambda _: None]
)
def test_any_other_key_is_401(world: World, change: object) -> None:
    key, billing = application()
    world.write(billing)
    with refused(Code.UNAUTHORIZED_REQUEST, 401) as told:
        world.gate().who(change(key))  # type: ignore[operator]
    assert key[12:] not in str(told.value).encode()


def test_a_secret_under_another_id_is_401(world: World) -> None:
    (one, first), (two, second) = application("a"), application("b")
    world.write(first, second)
    with refused(Code.UNAUTHORIZED_REQUEST, 401):
        world.gate().who(one[: len(b"cmk tsk_12345678")] + two[len(b"cmk tsk_12345678") :])


def test_a_key_ends_when_it_expires(world: World) -> None:
    key, billing = application(expires=NOW + timedelta(days=1))
    world.write(billing)
    gate = world.gate()
    gate.who(key)
    world.now += timedelta(days=1)
    with refused(Code.UNAUTHORIZED_REQUEST, 401):
        gate.who(key)


def test_what_is_not_allowed_is_403(world: World) -> None:
    key, billing = application(operations=("document/unwrap",), tenants=("t-1", "eu-*"))
    world.write(billing)
    gate = world.gate()
    who = gate.who(key)
    gate.let_in(who, "document/unwrap")
    for tenant in ("t-1", "eu-1", "eu-"):
        gate.let_in_for(who, tenant)
    with refused(Code.UNAUTHORIZED_REQUEST, 403):
        gate.let_in(who, "document/wrap")
    for tenant in ("t-10", "t", "us-1", "eu"):
        with refused(Code.UNAUTHORIZED_REQUEST, 403):
            gate.let_in_for(who, tenant)
    counted = world.metrics.render().decode()
    assert 'tsp_application_requests_total{application="billing",outcome="operation"} 1' in counted
    assert 'tsp_application_requests_total{application="billing",outcome="tenant"} 4' in counted


def test_past_its_rate_an_application_is_told_when_to_ask_again(world: World) -> None:
    key, billing = application(requests_per_second=2.0, burst=3)
    world.write(billing)
    gate = world.gate()
    who = gate.who(key)
    for _ in range(3):
        gate.let_in(who, "document/wrap")
    with refused(Code.KMS_THROTTLED, 429) as told:
        gate.let_in(who, "document/wrap")
    assert told.value.retry_after_s == 1.0
    world.clock_s += 0.5
    gate.let_in(who, "document/wrap")


def test_one_tenants_rate_leaves_the_others_alone(world: World) -> None:
    world.write()
    gate = world.gate(Rates(1.0, 1.0, clock=lambda: world.clock_s))
    gate.let_in_for(ENVIRONMENT, "a")
    with refused(Code.KMS_THROTTLED, 429):
        gate.let_in_for(ENVIRONMENT, "a")
    gate.let_in_for(ENVIRONMENT, "b")


@given(st.lists(st.floats(0, 5), max_size=60), st.floats(0.5, 50), st.integers(1, 20))
def test_a_bucket_never_gives_more_than_its_burst_and_its_rate(pauses: list[float], rate: float, burst: int) -> None:
    now, given_out = 0.0, 0
    bucket = Bucket(rate, burst, now)
    for pause in pauses:
        now += pause
        wait_s = bucket.take(now)
        given_out += wait_s == 0
        assert wait_s >= 0
    assert given_out <= burst + rate * now + 1e-6


def test_the_longest_untouched_tenant_is_forgotten_first() -> None:
    rates = Rates(1.0, 1.0, most=2, clock=lambda: 0.0)
    assert rates.take("a") == 0
    assert rates.take("b") == 0
    assert rates.take("a") > 0
    assert rates.take("c") == 0
    assert rates.take("a") > 0
    assert rates.take("b") == 0


async def test_a_changed_file_counts_and_a_broken_one_does_not(world: World) -> None:
    (old, first), (new, second) = application("old"), application("new")
    world.write(first)
    gate = world.gate()
    log = structlog.testing.CapturingLogger()
    world.write(second)
    await gate.renew()
    assert gate.who(new).name == "new"
    with refused(Code.UNAUTHORIZED_REQUEST, 401):
        gate.who(old)
    world.path.write_bytes(b"{")
    with pytest.raises(SettingsError, match="cannot be used"):
        await gate.renew()
    await gate.renew_and_say(log)  # type: ignore[arg-type]
    assert "stay as they were" in str(log.calls)
    assert gate.who(new).name == "new"


async def test_a_change_is_noticed_by_itself(world: World) -> None:
    key, first = application()
    world.write()
    gate = world.gate()
    following = asyncio.create_task(gate.follow(structlog.testing.CapturingLogger(), look_s=0.01))  # type: ignore[arg-type]
    await asyncio.sleep(0.02)
    world.write(first)

    def is_known() -> bool:
        try:
            return gate.who(key).name == "billing"
        except TenantSecurityError:
            return False

    async with asyncio.timeout(20):
        while not is_known():
            await asyncio.sleep(0.01)
    following.cancel()


def test_a_file_that_is_not_there_stops_the_start(world: World) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        world.gate()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{}", "salt"),
        ("[]", "object"),
        ('{"salt": "AAAA"}', "length"),
        ('{"salt": "%s", "more": 1}', "more"),
        ('{"salt": "%s", "applications": [{"name": "a"}, {"name": "a"}]}', "twice"),
        ('{"salt": "%s", "applications": [{"name": "a", "operations": ["fly"]}]}', "no operation"),
        ('{"salt": "%s", "applications": [{"name": "a b"}]}', "name"),
        ('{"salt": "%s", "applications": [{"name": "a", "requestsPerSecond": 0}]}', "requestsPerSecond"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(text: str, complaint: str) -> None:
    salt = "A" * 43 + "="
    with pytest.raises(WrongFileError, match=complaint):
        read_applications((text % salt if "%s" in text else text).encode())
