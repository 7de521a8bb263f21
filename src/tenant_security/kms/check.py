"""Tests a KMS config by a real wrap and a real unwrap, and says in plain words what is wrong and who must mend it.

Nothing is retried and nothing is taken from a cache, so give it a driver of its own: one that signs in anew.
"""

import asyncio
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Final, Literal, Protocol, TypeVar

import msgspec

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.kms.catalog import open_key
from tenant_security.kms.gcp import private_key
from tenant_security.kms.needs import Needs, needs_of
from tenant_security.kms.own_identity import NO_IDENTITY
from tenant_security.kms.provider import KEY_BYTES, KmsContext, KmsFaultError, KmsKey, unreachable
from tenant_security.kms.remedies import NO_IDENTITY_HERE, WAY_THERE, remedy_of
from tenant_security.outbound.flow import Flow, Reason, UnreachableError
from tenant_security.wire.kms.gcp import GcpKmsConfig
from tenant_security.wire.kms.local import LocalKmsConfig
from tenant_security.wire.kms_check import CheckFinding, CheckReport, CheckStep, StepName
from tenant_security.wire.kms_configs import KmsConfig

T = TypeVar("T")

DEADLINE_S: Final = 10.0
"""How long a wrap or an unwrap may take, signing in included."""

_STEPS: Final[tuple[StepName, ...]] = ("configuration", "wrap", "unwrap")
_UNREADABLE: Final = Needs("the configuration", (), "", "")
_NOTE_LOCAL: Final = "This key lies in its own configuration and is in nobody's custody: use it for development only."


class Runner(Protocol):
    """What runs flows: :class:`tenant_security.outbound.driver.Outbound`."""

    async def run(self, flow: Flow[T], *, deadline_s: float) -> T:
        """Run a flow to its end."""


async def check(
    config: KmsConfig,
    runner: Runner,
    context: KmsContext,
    *,
    deadline_s: float = DEADLINE_S,
    clock: Callable[[], float] = time.monotonic,
) -> CheckReport:
    """Test a config: open it, wrap 32 random bytes with it, unwrap them, compare.

    Units: ``deadline_s`` bounds each of wrap and unwrap. Raises nothing for whatever the config or its KMS does.
    """
    attempt = _Attempt(_provider_of(config), needs_of(config), clock)
    if isinstance(config, LocalKmsConfig):
        attempt.notes.append(_NOTE_LOCAL)
    key = await attempt.make("configuration", lambda: _opened(config, context))
    if key is None:
        return attempt.report()
    dek = secrets.token_bytes(KEY_BYTES)
    blob = await attempt.run("wrap", runner, lambda opened: opened.wrap(dek), key, deadline_s)
    if blob is not None:
        back = await attempt.run("unwrap", runner, lambda opened: opened.unwrap(blob), key, deadline_s)
        if back is not None and not hmac.compare_digest(back, dek):
            attempt.fail(
                KmsFaultError(
                    Code.KMS_UNWRAP_FAILED, "The KMS unwrapped something else than was wrapped.", provider=key.provider
                )
            )
    return attempt.report()


def report_unreadable(fault: TenantSecurityError, provider: str = "") -> CheckReport:
    """Report a config that could not be opened or read at all."""
    attempt = _Attempt(provider, _UNREADABLE, time.monotonic)
    attempt.step = "configuration"
    attempt.fail(fault)
    return attempt.report()


async def _opened(config: KmsConfig, context: KmsContext) -> KmsKey:
    if isinstance(config, GcpKmsConfig) and config.credentials.private_key is not None:
        # Whoever uses the key takes it as it is, because this is slow.
        await asyncio.to_thread(private_key.check, config.credentials.private_key)
    return open_key(config, context)


class _Attempt:
    """What was tried so far."""

    def __init__(self, provider: str, needs: Needs, clock: Callable[[], float]) -> None:
        self._provider = provider
        self._needs = needs
        self._clock = clock
        self._millis: dict[StepName, int] = {}
        self._finding: CheckFinding | None = None
        self.step: StepName = "configuration"
        self.notes: list[str] = []

    async def make(self, step: StepName, work: Callable[[], Awaitable[KmsKey]]) -> KmsKey | None:
        """Do a step that asks nobody."""
        self.step, began = step, self._clock()
        try:
            return await work()
        except TenantSecurityError as fault:
            self.fail(fault)
            return None
        finally:
            self._millis[step] = round((self._clock() - began) * 1000)

    async def run(
        self, step: StepName, runner: Runner, ask: Callable[[KmsKey], Flow[bytes]], key: KmsKey, deadline_s: float
    ) -> bytes | None:
        """Do a step that asks the KMS."""
        self.step, began = step, self._clock()
        try:
            answer = await runner.run(ask(key), deadline_s=deadline_s)
        except UnreachableError as none:
            self.fail(unreachable(key.provider, none), none.reason)
            return None
        except TenantSecurityError as fault:
            self.fail(fault)
            return None
        finally:
            self._millis[step] = round((self._clock() - began) * 1000)
        return answer

    def fail(self, fault: TenantSecurityError, reason: Reason | None = None) -> None:
        """Remember what went wrong in the step under way."""
        remedy, fixer = remedy_of(fault.code, self.step, self._needs) if reason is None else WAY_THERE[reason]
        provider_code, request_id = "", ""
        if isinstance(fault, KmsFaultError) and reason is None:
            provider_code, request_id = fault.provider_code, fault.request_id
            if provider_code in NO_IDENTITY:
                remedy, fixer = NO_IDENTITY_HERE
        self._finding = CheckFinding(
            self.step, int(fault.code), fault.message, remedy, fixer, provider_code, request_id
        )

    def report(self) -> CheckReport:
        """Put it together."""
        failed = None if self._finding is None else _STEPS.index(self._finding.step)

        def outcome(place: int) -> Literal["ok", "failed", "skipped"]:
            if failed is None or place < failed:
                return "ok"
            return "failed" if place == failed else "skipped"

        steps = tuple(CheckStep(name, outcome(place), self._millis.get(name, 0)) for place, name in enumerate(_STEPS))
        return CheckReport(self._provider, failed is None, steps, self._needs.all(), self._finding, tuple(self.notes))


def _provider_of(config: KmsConfig) -> str:
    return str(msgspec.structs.asdict(config).get("type") or type(config).__struct_config__.tag).lower()
