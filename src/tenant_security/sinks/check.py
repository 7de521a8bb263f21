"""Tests a sink config by sending one event that says it is a test, and says in plain words what came of it.

Nothing is retried and nothing is taken from a cache, so give it a driver of its own: one that signs in anew.
"""

import secrets
import time
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

import msgspec

from tenant_security.outbound.flow import Flow
from tenant_security.outbound.reasons import Reason
from tenant_security.sinks.catalog import open_sink
from tenant_security.sinks.needs import NEEDS
from tenant_security.sinks.sending import unix_ms
from tenant_security.sinks.sink import Assurance, Batch, Delivered, Later, Outcome, Refused, Sink, SinkContext
from tenant_security.wire.events import TEST, EventRecord, event_id, native_json
from tenant_security.wire.proxy_api import IclFields
from tenant_security.wire.sink_check import Fixer, SinkCheckFinding, SinkCheckReport, SinkCheckStep, StepName
from tenant_security.wire.sink_configs import SinkConfig, SinkConfigError
from tenant_security.wire.sinks.members import EventFilter

T = TypeVar("T")

TEXT: Final = "This is a test of the connection. Nothing happened to your keys or data."
_STEPS: Final[tuple[StepName, ...]] = ("configuration", "event", "delivery")
_UNKNOWN: Final = "The sink takes what it is sent without a word: look for the event with this id, and nothing else."
_LONGEST_S: Final = 20.0
_LOOK: Final = "Look for the event with this id in your own system, to see that it is where you expect it."
_MEND_CONFIG: Final = "Mend the configuration and test again."
_OPERATOR: Final = (
    f"could not be reached: {Reason.REFUSED.value}",
    "not open to tenants",
)


class Runner(Protocol):
    """What runs flows: :class:`tenant_security.outbound.driver.Outbound`."""

    async def run(self, flow: Flow[T], *, deadline_s: float) -> T:
        """Run a flow to its end."""


async def check_sink(
    config: SinkConfig,
    runner: Runner,
    context: SinkContext,
    *,
    deadline_s: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> SinkCheckReport:
    """Send one event called SINK_TEST to a sink, whatever its filter says.

    Units: ``deadline_s`` bounds the delivery; the sink's own, at most 20 seconds, when absent. Raises nothing for
    whatever the config or its sink does.
    """
    kind = str(config.__struct_config__.tag)
    try:
        sink = open_sink(msgspec.structs.replace(config, filter=EventFilter()), context)
    except SinkConfigError as wrong:
        return report_unreadable(kind, wrong)
    record = _test_event(context)
    encoded = sink.encode([native_json(record)])
    if encoded.refused or len(encoded.batches) != 1:
        why = encoded.refused[0][1].why if encoded.refused else "No batch came of the event."
        return _failed(kind, "event", why, event_id(record))
    began = clock()
    outcome = await _deliver(sink, encoded.batches[0], runner, deadline_s or min(sink.limits.deadline_s, _LONGEST_S))
    millis = round((clock() - began) * 1000)
    if not isinstance(outcome, Delivered):
        return _failed(kind, "delivery", outcome, event_id(record), millis)
    best_effort = sink.limits.assurance is Assurance.BEST_EFFORT
    return SinkCheckReport(
        kind,
        ok=True,
        steps=_steps(None, millis),
        event_id=event_id(record),
        assurance=sink.limits.assurance.value,
        needs=NEEDS[kind],
        notes=(_UNKNOWN if best_effort else _LOOK,),
    )


def report_unreadable(kind: str, wrong: SinkConfigError) -> SinkCheckReport:
    """Report a config that cannot be read or cannot work."""
    return _failed(kind, "configuration", str(wrong), "")


def _test_event(context: SinkContext) -> EventRecord:
    return EventRecord(
        serial=0,
        sequence=1,
        time_ms=unix_ms(context.now()),
        name=TEST,
        tenant_id=context.tenant_id or "test",
        instance=secrets.token_hex(8),
        ray_id=secrets.token_hex(8),
        icl_fields=IclFields(requesting_id="tenant-security sink check"),
        custom_fields={"test": "true", "message": TEXT},
    )


async def _deliver(sink: Sink, batch: Batch, runner: Runner, deadline_s: float) -> Outcome:
    [outcome] = await runner.run(sink.deliver(batch), deadline_s=deadline_s)
    return outcome


def _failed(kind: str, step: StepName, what: str | Later | Refused, test_id: str, millis: int = 0) -> SinkCheckReport:
    problem = what if isinstance(what, str) else what.why
    busy = isinstance(what, Later) and not what.blocked
    fixer: Fixer
    if any(words in problem for words in _OPERATOR):
        remedy, fixer = "Ask the operator of this service to allow it.", "operator"
    elif busy:
        remedy, fixer = "Test again later; when it stays so, check that the address is right and reachable.", "nobody"
    elif step == "configuration":
        remedy, fixer = _MEND_CONFIG, "owner"
    else:
        remedy, fixer = "Mend what the problem names, in the configuration or at the sink, and test again.", "owner"
    finding = SinkCheckFinding(step, problem, remedy, fixer)
    return SinkCheckReport(
        kind, ok=False, steps=_steps(step, millis), event_id=test_id, needs=NEEDS.get(kind, ()), finding=finding
    )


def _steps(failed: StepName | None, millis: int) -> tuple[SinkCheckStep, ...]:
    steps = []
    over = False
    for name in _STEPS:
        taken = millis if name == "delivery" else 0
        steps.append(SinkCheckStep(name, "skipped" if over else "failed" if name == failed else "ok", taken))
        over = over or name == failed
    return tuple(steps)
