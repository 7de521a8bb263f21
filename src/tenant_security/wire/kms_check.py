"""What a connection test of a KMS config found: for the command line, for the web app, and between services."""

from typing import Literal

import msgspec

StepName = Literal["configuration", "wrap", "unwrap"]


class CheckStep(msgspec.Struct, frozen=True, rename="camel"):
    """One thing that was tried, in order. ``outcome`` of what came after a failure is ``skipped``."""

    name: StepName
    outcome: Literal["ok", "failed", "skipped"]
    millis: int = 0


class CheckFinding(msgspec.Struct, frozen=True, rename="camel"):
    """What is wrong.

    Shape: ``code`` is of the one table of fault codes, ``problem`` says what happened, ``remedy`` what to do, ``fixer``
    who can do it: ``owner`` of the KMS, the ``operator`` of the service that was asked, or ``nobody`` but time.
    ``provider_code`` and ``request_id`` are the provider's, for its support; they may be empty.
    """

    step: StepName
    code: int
    problem: str
    remedy: str
    fixer: Literal["owner", "operator", "nobody"]
    provider_code: str = ""
    request_id: str = ""


class CheckReport(msgspec.Struct, frozen=True, rename="camel"):
    """A connection test. It holds no credential, no key and nothing that the peer wrote but codes.

    Shape: ``ok`` when a key was wrapped and came back the same. ``needs`` lists, in the provider's words, every
    permission that the config needs. ``notes`` is advice that is no failure.
    """

    provider: str
    ok: bool
    steps: tuple[CheckStep, ...]
    needs: tuple[str, ...] = ()
    finding: CheckFinding | None = None
    notes: tuple[str, ...] = ()
