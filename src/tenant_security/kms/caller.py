"""Calls a tenant's KMS: deadline, one retry, bulkhead, breaker, and a record of every call.

The rules are in ``resilience``, ``health`` and ``outbound.bulkhead``.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol, TypeVar, cast

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.kms.health import KmsHealth, NotAskedError
from tenant_security.kms.provider import KEY_BYTES, KmsFaultError, KmsKey, unreachable
from tenant_security.kms.resilience import CallLimits, may_retry
from tenant_security.outbound.bulkhead import Bulkhead, Verdict
from tenant_security.outbound.flow import Effect, Flow, Reason, UnreachableError

T = TypeVar("T")

Operation = Literal["wrap", "unwrap"]

_ASK_AGAIN_S: Final = 1.0


class KmsCallRecord(NamedTuple):
    """One finished call, for metrics and logs.

    Shape: ``outcome`` is ``ok`` or the number of the fault code. ``not_sent`` says why the KMS was not asked:
    ``breaker``, ``credentials``, ``pause`` (see ``health``), ``queue`` or ``wait``; empty when it was.
    Units: ``seconds`` from the request to the result, waiting included.
    Trust: ``provider_code`` is the peer's word. Log it; as a metric's label it has as many values as the peer likes.
    """

    provider: str
    operation: Operation
    outcome: str
    provider_code: str
    seconds: float
    retried: bool
    request_id: str
    not_sent: str = ""
    listed: bool = True
    """Whether our tables know the provider's code."""


class Driver(Protocol):
    """What runs flows: :class:`tenant_security.outbound.driver.Outbound`."""

    async def run(self, flow: Flow[T], *, deadline_s: float, asked: Effect | None = None) -> T:
        """Run a flow, started or not, to its end."""


class KmsCaller:
    """Wraps and unwraps keys at the tenants' KMSs.

    ``observe`` hears of every call that ends, except of one whose own caller left. It must not raise.

    A call names its config by its fingerprint; one without a name has no health and shares its room with the others.
    """

    def __init__(
        self,
        outbound: Driver,
        limits: CallLimits,
        *,
        observe: Callable[[KmsCallRecord], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[float, float], float] = random.uniform,
        clock: Callable[[], float] = time.monotonic,
        health: KmsHealth | None = None,
    ) -> None:
        self._outbound = outbound
        self._limits = limits
        self._observe = observe
        self._sleep = sleep
        self._jitter = jitter
        self._clock = clock
        self.health = health or KmsHealth(clock=clock, jitter=jitter)
        self.bulkhead: Bulkhead[_Turn] = Bulkhead(limits.room())

    async def wrap(self, tenant_id: str, key: KmsKey, dek: bytes, *, config: bytes = b"") -> bytes:
        """Wrap 32 bytes under the tenant's key.

        Raises: TenantSecurityError 204 and 206-210; 100 when our own clock is wrong.
        """
        return await self._call(tenant_id, config, key.provider, "wrap", lambda: key.wrap(dek))

    async def unwrap(self, tenant_id: str, key: KmsKey, blob: bytes, *, config: bytes = b"") -> bytes:
        """Return the 32 bytes that were wrapped.

        Raises: TenantSecurityError 205-210; 100 when our own clock is wrong.
        """
        return await self._call(tenant_id, config, key.provider, "unwrap", lambda: key.unwrap(blob))

    async def _call(
        self, tenant: str, config: bytes, provider: str, operation: Operation, begin: Callable[[], Flow[bytes]]
    ) -> bytes:
        call = _Call(
            tenant=tenant,
            config=config,
            provider=provider,
            operation=operation,
            begin=begin,
            began=self._clock(),
        )
        outcome, provider_code, request_id, listed = "ok", "", "", True
        try:
            return _usable(call, await self._result(call))
        except TenantSecurityError as fault:
            outcome = str(int(fault.code))
            if isinstance(fault, KmsFaultError):
                provider_code, request_id, listed = fault.provider_code, fault.request_id, fault.listed
            if isinstance(fault, NotAskedError):
                call.not_sent = fault.why.value
            raise
        except Exception:
            outcome = str(int(Code.UNKNOWN_ERROR))
            raise
        except BaseException:
            outcome = ""
            raise
        finally:
            if outcome:
                self._observe(
                    KmsCallRecord(
                        call.provider,
                        call.operation,
                        outcome,
                        provider_code,
                        self._clock() - call.began,
                        call.tried > 1,
                        request_id,
                        call.not_sent,
                        listed,
                    )
                )

    async def _result(self, call: "_Call") -> bytes:
        flow = call.begin()
        try:
            asked = flow.send(None)
        except StopIteration as end:
            # It asked for nothing, as the local KMS does: there is nobody to wait for.
            return cast("bytes", end.value)
        try:
            self._refuse(call)
            await self._enter(call)
        except BaseException:
            flow.close()
            raise
        try:
            return await self._watched(flow, asked, call)
        finally:
            self._leave(call)

    def _refuse(self, call: "_Call") -> None:
        """Answer at once where the KMS would not be asked anyway. Raises: NotAskedError."""
        refusal = self.health.refusal(call.config, call.provider) if call.config else None
        if refusal is not None:
            raise refusal

    async def _watched(self, flow: Flow[bytes], asked: Effect, call: "_Call") -> bytes:
        """Call, and remember how it ended."""
        config, probe = call.config, False
        if not config:
            return await self._attempts(flow, asked, call, probe=False)
        try:
            # Once more: much may have been learnt while this call waited for its turn.
            probe = self.health.begin(config, call.provider)
        except NotAskedError:
            flow.close()
            raise
        try:
            result = await self._attempts(flow, asked, call, probe=probe)
        except TenantSecurityError as fault:
            if fault.code is not Code.KMS_UNREACHABLE:
                self.health.answered(config, fault)
            elif isinstance(fault, KmsFaultError) and fault.provider_code == Reason.REFUSED.name:
                self.health.abandoned(config, probe=probe)
            else:
                self.health.failed(config, probe=probe)
            raise
        except BaseException:
            self.health.abandoned(config, probe=probe)
            raise
        self.health.answered(config)
        return result

    async def _attempts(self, flow: Flow[bytes], first: Effect, call: "_Call", *, probe: bool) -> bytes:
        asked: Effect | None = first
        while True:
            call.tried += 1
            try:
                return await self._outbound.run(flow, deadline_s=self._left_s(call), asked=asked)
            except (UnreachableError, KmsFaultError) as fault:
                again = may_retry(fault, tried=call.tried, left_s=self._left_s(call), limits=self._limits)
                if not again or (call.config and not self.health.take_retry(call.config, probe=probe)):
                    if isinstance(fault, UnreachableError):
                        raise unreachable(call.provider, fault) from None
                    raise
            await self._sleep(self._jitter(self._limits.retry_pause_min_s, self._limits.retry_pause_max_s))
            flow, asked = call.begin(), None

    async def _enter(self, call: "_Call") -> None:
        """Take a place, waiting for one until the deadline."""
        turn = _Turn()
        verdict = self.bulkhead.enter(call.tenant, turn, call.group)
        if verdict is Verdict.GO:
            return
        if verdict is Verdict.FULL:
            call.not_sent = "queue"
            raise _throttled("too many of its calls are waiting already")
        try:
            async with asyncio.timeout(self._left_s(call)):
                await turn.came.wait()
        except BaseException as gone:
            # The turn may come in the very moment in which we stop waiting for it: then it is ours to pass on.
            if turn.came.is_set():
                self._leave(call)
            else:
                self.bulkhead.abandon(call.tenant, turn, call.group)
            if isinstance(gone, TimeoutError):
                call.not_sent = "wait"
                raise _throttled("no call before this one ended in time") from None
            raise

    def _leave(self, call: "_Call") -> None:
        turn = self.bulkhead.leave(call.tenant, call.group)
        if turn is not None:
            turn.came.set()

    def _left_s(self, call: "_Call") -> float:
        return call.began + self._limits.deadline_s - self._clock()


class _Turn:
    """A place in the queue."""

    __slots__ = ("came",)

    def __init__(self) -> None:
        self.came = asyncio.Event()


@dataclass(slots=True, eq=False, kw_only=True)
class _Call:
    """One call: what it is, and what it has used up so far."""

    tenant: str
    config: bytes
    provider: str
    operation: Operation
    begin: Callable[[], Flow[bytes]]
    began: float
    tried: int = 0
    not_sent: str = ""

    @property
    def group(self) -> bytes:
        """What its room is shared with: the calls that use the same config."""
        return self.config or self.tenant.encode()


def _throttled(why: str) -> TenantSecurityError:
    return TenantSecurityError(
        Code.KMS_THROTTLED,
        f"The tenant's KMS answers more slowly than it is called: {why}. Call less often.",
        retry_after_s=_ASK_AGAIN_S,
    )


def _usable(call: _Call, result: bytes) -> bytes:
    if call.operation == "wrap" and not result:
        raise KmsFaultError(
            Code.KMS_WRAP_FAILED, "The tenant's KMS returned an empty wrapped key.", provider=call.provider
        )
    if call.operation == "unwrap" and len(result) != KEY_BYTES:
        raise KmsFaultError(
            Code.KMS_UNWRAP_FAILED,
            f"The tenant's KMS returned a key that is not {KEY_BYTES} bytes.",
            provider=call.provider,
        )
    return result
