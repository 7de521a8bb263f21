"""Calls a tenant's KMS: deadline, one retry, bulkhead and a record of every call. The rules are in ``resilience``."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, Literal, NamedTuple, Protocol, TypeVar, cast

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.kms.provider import KEY_BYTES, KmsFaultError, KmsKey, unreachable
from tenant_security.kms.resilience import Bulkhead, CallLimits, Verdict, may_retry
from tenant_security.outbound.flow import Effect, Flow, UnreachableError

T = TypeVar("T")

Operation = Literal["wrap", "unwrap"]

_ASK_AGAIN_S: Final = 1.0


class KmsCallRecord(NamedTuple):
    """One finished call, for metrics and logs.

    Shape: ``outcome`` is ``ok`` or the number of the fault code.
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


class Driver(Protocol):
    """What runs flows: :class:`tenant_security.outbound.driver.Outbound`."""

    async def run(self, flow: Flow[T], *, deadline_s: float, asked: Effect | None = None) -> T:
        """Run a flow, started or not, to its end."""


class KmsCaller:
    """Wraps and unwraps keys at the tenants' KMSs.

    ``observe`` hears of every call that ends, except of one whose own caller left. It must not raise.
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
    ) -> None:
        self._outbound = outbound
        self._limits = limits
        self._observe = observe
        self._sleep = sleep
        self._jitter = jitter
        self._clock = clock
        self.bulkhead: Bulkhead[_Turn] = Bulkhead(limits)

    async def wrap(self, tenant_id: str, key: KmsKey, dek: bytes) -> bytes:
        """Wrap 32 bytes under the tenant's key.

        Raises: TenantSecurityError 204 and 206-210; 100 when our own clock is wrong.
        """
        return await self._call(tenant_id, key.provider, "wrap", lambda: key.wrap(dek))

    async def unwrap(self, tenant_id: str, key: KmsKey, blob: bytes) -> bytes:
        """Return the 32 bytes that were wrapped.

        Raises: TenantSecurityError 205-210; 100 when our own clock is wrong.
        """
        return await self._call(tenant_id, key.provider, "unwrap", lambda: key.unwrap(blob))

    async def _call(self, tenant: str, provider: str, operation: Operation, begin: Callable[[], Flow[bytes]]) -> bytes:
        call = _Call(self._clock())
        outcome, provider_code, request_id = "ok", "", ""
        try:
            return _usable(operation, provider, await self._result(tenant, provider, begin, call))
        except TenantSecurityError as fault:
            outcome = str(int(fault.code))
            if isinstance(fault, KmsFaultError):
                provider_code, request_id = fault.provider_code, fault.request_id
            raise
        except Exception:
            outcome = str(int(Code.UNKNOWN_ERROR))
            raise
        except BaseException:
            outcome = ""
            raise
        finally:
            if outcome:
                seconds = self._clock() - call.began
                self._observe(
                    KmsCallRecord(provider, operation, outcome, provider_code, seconds, call.tried > 1, request_id)
                )

    async def _result(self, tenant: str, provider: str, begin: Callable[[], Flow[bytes]], call: "_Call") -> bytes:
        flow = begin()
        try:
            asked = flow.send(None)
        except StopIteration as end:
            # It asked for nothing, as the local KMS does: there is nobody to wait for.
            return cast("bytes", end.value)
        try:
            await self._enter(tenant, call)
        except BaseException:
            flow.close()
            raise
        try:
            return await self._attempts(flow, asked, provider, begin, call)
        finally:
            self._leave(tenant)

    async def _attempts(
        self,
        flow: Flow[bytes],
        asked: Effect | None,
        provider: str,
        begin: Callable[[], Flow[bytes]],
        call: "_Call",
    ) -> bytes:
        while True:
            call.tried += 1
            try:
                return await self._outbound.run(flow, deadline_s=self._left_s(call), asked=asked)
            except (UnreachableError, KmsFaultError) as fault:
                if not may_retry(fault, tried=call.tried, left_s=self._left_s(call), limits=self._limits):
                    if isinstance(fault, UnreachableError):
                        raise unreachable(provider, fault) from None
                    raise
            await self._sleep(self._jitter(self._limits.retry_pause_min_s, self._limits.retry_pause_max_s))
            flow, asked = begin(), None

    async def _enter(self, tenant: str, call: "_Call") -> None:
        """Take a place, waiting for one until the deadline."""
        turn = _Turn()
        verdict = self.bulkhead.enter(tenant, turn)
        if verdict is Verdict.GO:
            return
        if verdict is Verdict.FULL:
            raise _throttled("too many of its calls are waiting already")
        try:
            async with asyncio.timeout(self._left_s(call)):
                await turn.came.wait()
        except BaseException as gone:
            # The turn may come in the very moment in which we stop waiting for it: then it is ours to pass on.
            if turn.came.is_set():
                self._leave(tenant)
            else:
                self.bulkhead.abandon(tenant, turn)
            if isinstance(gone, TimeoutError):
                raise _throttled("no call before this one ended in time") from None
            raise

    def _leave(self, tenant: str) -> None:
        turn = self.bulkhead.leave(tenant)
        if turn is not None:
            turn.came.set()

    def _left_s(self, call: "_Call") -> float:
        return call.began + self._limits.deadline_s - self._clock()


class _Turn:
    """A place in the queue."""

    __slots__ = ("came",)

    def __init__(self) -> None:
        self.came = asyncio.Event()


class _Call:
    """What one call has used up so far."""

    __slots__ = ("began", "tried")

    def __init__(self, began: float) -> None:
        self.began = began
        self.tried = 0


def _throttled(why: str) -> TenantSecurityError:
    return TenantSecurityError(
        Code.KMS_THROTTLED,
        f"The tenant's KMS answers more slowly than it is called: {why}. Call less often.",
        retry_after_s=_ASK_AGAIN_S,
    )


def _usable(operation: Operation, provider: str, result: bytes) -> bytes:
    if operation == "wrap" and not result:
        raise KmsFaultError(Code.KMS_WRAP_FAILED, "The tenant's KMS returned an empty wrapped key.", provider=provider)
    if operation == "unwrap" and len(result) != KEY_BYTES:
        raise KmsFaultError(
            Code.KMS_UNWRAP_FAILED, f"The tenant's KMS returned a key that is not {KEY_BYTES} bytes.", provider=provider
        )
    return result
