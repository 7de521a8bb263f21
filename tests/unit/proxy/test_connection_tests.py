"""Connection tests that the broker asks for: what is tried, and what comes back."""

from typing import Any

import pytest

from tenant_security.directory import broker_work
from tenant_security.proxy.connection_tests import connection_tests
from tenant_security.service.logs import configure_logs
from tenant_security.testing.tenants import PlainConfig, directory, tenant, use
from tenant_security.wire.kms_check import CheckFinding, CheckReport, CheckStep
from tenant_security.wire.service_api import Work, WorkDone

CONFIG = PlainConfig(7, owner="t")
GOOD = CheckReport(
    "vault",
    ok=True,
    steps=(CheckStep("configuration", "ok"), CheckStep("wrap", "ok", 12), CheckStep("unwrap", "ok", 3)),
)
BAD = CheckReport(
    "vault",
    ok=False,
    steps=(CheckStep("configuration", "ok"), CheckStep("wrap", "failed", 12), CheckStep("unwrap", "skipped")),
    finding=CheckFinding("wrap", 207, "It was refused.", "Grant this: update.", "owner"),
)


class World:
    """A broker's list of work, and what was answered."""

    def __init__(self, report: CheckReport) -> None:
        self.report = report
        self.fault: Exception | None = None
        self.late = 0
        """How many looks at the directory come before it has the tenants."""
        self.work: list[Work] = []
        self.done: list[tuple[str, WorkDone]] = []
        self.tested: list[object] = []

    async def run(self, asked: Any) -> Any:
        if asked is None:
            return self.work.pop(0) if self.work else None
        self.done.append(asked)
        return None

    async def test(self, config: Any) -> CheckReport:
        self.tested.append(config)
        if self.fault is not None:
            raise self.fault
        return self.report


async def outcome(world: World, monkeypatch: pytest.MonkeyPatch, tenant_id: str = "t", config: int = 7) -> WorkDone:
    monkeypatch.setattr(broker_work, "take_work", lambda *_: None)
    monkeypatch.setattr(broker_work, "finish_work", lambda _account, number, done: (number, done))
    world.work = [Work(id="w", tenant=tenant_id, config=config, expires=0)]
    account: Any = None
    known = directory(tenant("t", use(CONFIG)), tenant("q", quarantined="its signature is wrong"))
    seen = [directory()] * world.late + [known]
    tests = connection_tests(
        account,
        world.run,
        segment=1,
        directory=lambda: seen.pop(0) if len(seen) > 1 else known,
        test=world.test,
        instance="i",
        log=configure_logs("proxy", 60),
    )
    await tests.do()
    ((number, done),) = world.done
    assert number == "w"
    return done


async def test_a_config_that_works(monkeypatch):
    done = await outcome(World(GOOD), monkeypatch)

    assert done.ok
    assert [(each.step, each.ok, each.milliseconds) for each in done.checks] == [
        ("configuration", True, 0),
        ("wrap", True, 12),
        ("unwrap", True, 3),
    ]


async def test_a_config_that_does_not_work_is_told_with_what_to_do(monkeypatch):
    done = await outcome(World(BAD), monkeypatch)

    assert not done.ok
    assert [each.step for each in done.checks] == ["configuration", "wrap"]
    assert done.checks[-1].message == "207: It was refused. Grant this: update."


@pytest.mark.parametrize(
    ("tenant_id", "config", "why"), [("no", 7, "does not know"), ("q", 7, "signature"), ("t", 8, "not assigned")]
)
async def test_what_this_proxy_does_not_have_is_not_tried(monkeypatch, tenant_id, config, why):
    monkeypatch.setattr(broker_work, "PATIENCE_S", 0)
    world = World(GOOD)
    done = await outcome(world, monkeypatch, tenant_id, config)

    assert not done.ok
    assert why in done.checks[0].message
    assert world.tested == []


async def test_a_test_that_comes_before_its_config_waits_for_it(monkeypatch):
    world = World(GOOD)
    world.late = 2
    done = await outcome(world, monkeypatch)

    assert done.ok
    assert world.tested == [CONFIG]


async def test_a_fault_of_ours_is_answered_too(monkeypatch):
    world = World(GOOD)
    world.fault = RuntimeError("secret words")
    done = await outcome(world, monkeypatch)

    assert not done.ok
    assert "unexpectedly" in done.checks[0].message
    assert "secret" not in done.checks[0].message
