"""A KMS that does as it is told: counts its calls, keeps callers waiting, refuses, answers nonsense.

Its keys are real ones of the local KMS, called through the product's own :class:`KmsCaller`, so that what a test sees
is what the proxy does with such an answer.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar, cast

from tenant_security.directory.tenants import ConfigHandle
from tenant_security.errors import Code
from tenant_security.kms.caller import KmsCaller, KmsCallRecord, Operation
from tenant_security.kms.local import LocalKmsKey
from tenant_security.kms.provider import KmsFaultError, KmsKey
from tenant_security.kms.resilience import CallLimits
from tenant_security.outbound.flow import Effect, Flow, Request, Response, send
from tenant_security.proxy.several import WrapWithKms
from tenant_security.wire.kms.local import LocalKmsConfig

T = TypeVar("T")

PROVIDER = "scripted"


class KmsCall(NamedTuple):
    """One call that reached the KMS."""

    operation: Operation
    key: str


class ScriptedKms:
    """All keys of one scripted KMS, and the driver that their flows need.

    ``calls`` are those that reached it, in order; ``most_running`` is how many were under way together at most.
    """

    def __init__(self) -> None:
        self.calls: list[KmsCall] = []
        self.running = 0
        self.most_running = 0
        self._open = asyncio.Event()
        self._open.set()
        self._arrived = asyncio.Condition()
        self._fault: Code | Exception | None = None
        self._only: Operation | None = None
        self._failing: dict[str, Code] = {}
        self.noted: list[str] = []
        """What was noted of tenants with several KMSs, in order."""
        self.answer: bytes | None = None
        """What every call returns instead of the truth, while it is set."""

    def key(self, inner: KmsKey, name: str) -> "ScriptedKey":
        """Put a key of another KMS under the script."""
        return ScriptedKey(self, inner, name)

    def count(self, operation: Operation | None = None) -> int:
        """How many calls came so far, of one kind or of both."""
        return sum(operation in (None, each.operation) for each in self.calls)

    # -- the script ------------------------------------------------------------------------------------------------

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep every call waiting until the block ends."""
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    @contextmanager
    def failing(self, fault: Code | Exception, only: Operation | None = None) -> Iterator[None]:
        """Refuse every call, or those of one kind, while the block lasts."""
        before = self._fault, self._only
        self._fault, self._only = fault, only
        try:
            yield
        finally:
            self._fault, self._only = before

    @contextmanager
    def lost(self, *keys: str, code: Code = Code.KMS_UNREACHABLE) -> Iterator[None]:
        """Refuse every call to these keys alone while the block lasts."""
        before = self._failing
        self._failing = {**before, **dict.fromkeys(keys, code)}
        try:
            yield
        finally:
            self._failing = before

    async def arrived(self, count: int) -> None:
        """Wait until so many calls have come in all."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.calls) >= count)

    # -- how it is called ------------------------------------------------------------------------------------------

    def as_proxy_calls_it(self, limits: CallLimits | None = None) -> WrapWithKms:
        """Return the two functions that leases and secrets reach a KMS by; configs must be of the local KMS."""

        def ignore(_: KmsCallRecord) -> None:
            return

        async def no_pause(_: float) -> None:
            await asyncio.sleep(0)

        caller = KmsCaller(self, limits or CallLimits(), observe=ignore, sleep=no_pause)

        async def wrap(tenant_id: str, config: ConfigHandle, key: bytes) -> bytes:
            return await caller.wrap(tenant_id, self._opened(config), key)

        async def unwrap(tenant_id: str, config: ConfigHandle, blob: bytes) -> bytes:
            return await caller.unwrap(tenant_id, self._opened(config), blob)

        return WrapWithKms(wrap, unwrap, self.noted.append)

    def _opened(self, config: ConfigHandle) -> "ScriptedKey":
        opened = config.open()
        assert isinstance(opened, LocalKmsConfig)
        return self.key(LocalKmsKey(opened), opened.key_path.key_id)

    async def run(self, flow: Flow[T], *, deadline_s: float, asked: Effect | None = None) -> T:
        """Run a flow of one of this KMS's keys, without a network. See :class:`Outbound`."""
        try:
            async with asyncio.timeout(deadline_s):
                effect = flow.send(None) if asked is None else asked
                while True:
                    assert isinstance(effect, Request)
                    answer = await self._answer(effect)
                    effect = flow.throw(answer) if isinstance(answer, Exception) else flow.send(answer)
        except StopIteration as end:
            return cast("T", end.value)
        finally:
            flow.close()

    async def _answer(self, request: Request) -> Response | Exception:
        operation = cast("Operation", request.method)
        self.calls.append(KmsCall(operation, request.url))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            async with self._arrived:
                self._arrived.notify_all()
            await asyncio.sleep(0)
            await self._open.wait()
        finally:
            self.running -= 1
        if request.url in self._failing:
            return KmsFaultError(self._failing[request.url], "This key of the scripted KMS is lost.", provider=PROVIDER)
        if self._fault is not None and self._only in (None, operation):
            if isinstance(self._fault, Exception):
                return self._fault
            return KmsFaultError(self._fault, "The scripted KMS was told to refuse.", provider=PROVIDER)
        return Response(200, {}, b"")


class ScriptedKey:
    """One key of the scripted KMS: asks the script first, then does what the key beneath does."""

    provider = PROVIDER

    def __init__(self, kms: ScriptedKms, inner: KmsKey, name: str) -> None:
        self._kms = kms
        self._inner = inner
        self._name = name

    def wrap(self, key: bytes) -> Flow[bytes]:
        """Wrap 32 bytes."""
        yield from send(Request("wrap", self._name))
        wrapped = yield from self._inner.wrap(key)
        return wrapped if self._kms.answer is None else self._kms.answer

    def unwrap(self, blob: bytes) -> Flow[bytes]:
        """Unwrap a blob."""
        yield from send(Request("unwrap", self._name))
        key = yield from self._inner.unwrap(blob)
        return key if self._kms.answer is None else self._kms.answer
