"""What a test of a sink config found: for the command line, for the web app, and between services."""

from typing import Literal

import msgspec

Fixer = Literal["owner", "operator", "nobody"]
StepName = Literal["configuration", "event", "delivery"]


class SinkCheckStep(msgspec.Struct, frozen=True, rename="camel"):
    """One thing that was tried, in order. ``outcome`` of what came after a failure is ``skipped``."""

    name: StepName
    outcome: Literal["ok", "failed", "skipped"]
    millis: int = 0


class SinkCheckFinding(msgspec.Struct, frozen=True, rename="camel"):
    """What is wrong.

    Shape: ``problem`` says what happened, ``remedy`` what to do, ``fixer`` who can do it: ``owner`` of the sink, the
    ``operator`` of the service that was asked, or ``nobody`` but time.
    """

    step: StepName
    problem: str
    remedy: str
    fixer: Fixer


class SinkCheckReport(msgspec.Struct, frozen=True, rename="camel"):
    """A test of a sink. It holds no credential and nothing that the sink wrote.

    Shape: ``kind`` is the config's type; ``ok`` when a test event was delivered; ``event_id`` is that event's, to look
    for. ``needs`` lists what the config's credentials must be allowed. ``notes`` is advice that is no failure.
    """

    kind: str
    ok: bool
    steps: tuple[SinkCheckStep, ...]
    event_id: str = ""
    assurance: str = ""
    needs: tuple[str, ...] = ()
    finding: SinkCheckFinding | None = None
    notes: tuple[str, ...] = ()
