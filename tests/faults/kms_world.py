"""A tenant with a key at a fake, the real driver over TLS, a caller: what the fault tests of all providers share."""

import json
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import ClassVar, TypeVar

import pytest

from tenant_security.errors import TenantSecurityError
from tenant_security.kms.caller import KmsCaller, KmsCallRecord
from tenant_security.kms.catalog import open_key
from tenant_security.kms.own_identity import OWN_IDENTITIES
from tenant_security.kms.provider import KmsContext, KmsKey
from tenant_security.kms.resilience import CallLimits
from tenant_security.outbound.driver import OutboundLimits
from tenant_security.testing.fakes.dialling import DiallingOutbound
from tenant_security.testing.fakes.server import FakeServer
from tenant_security.wire.kms_configs import decode_kms_config

DEK = bytes(range(32))


class KmsWorld(ABC):
    """What a test of a provider stands in. A subclass sets the scene and makes configs."""

    TELLTALES: ClassVar[tuple[str, ...]] = ("their words",)
    """What no fault may show to our callers."""

    def __init__(self, fake: FakeServer) -> None:
        self.server = fake
        self.outbound = DiallingOutbound([fake], OutboundLimits(attempt_s=10), clock=self._driver_clock)
        self.records: list[KmsCallRecord] = []
        limits = CallLimits(deadline_s=20, retry_pause_min_s=0, retry_pause_max_s=0)
        self.caller = KmsCaller(self.outbound, limits, observe=self.records.append)
        self.our_clock_off_s = 0.0
        """How wrong our wall clock is."""
        self.later_s = 0.0
        """How much later it is for everything that the driver keeps, such as tokens."""

    @abstractmethod
    def key(self) -> KmsKey:
        """The tenant's key."""

    def open(
        self, config: dict[str, object], *, vendor_owned: bool = False, environ: dict[str, str] | None = None
    ) -> KmsKey:
        context = KmsContext(
            now=self.now,
            vendor_owned=vendor_owned,
            identities=OWN_IDENTITIES if vendor_owned else frozenset(),
            environ=environ or {},
        )
        return open_key(decode_kms_config(json.dumps(config).encode()), context)

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.our_clock_off_s)

    async def wrap(self, key: KmsKey | None = None, tenant: str = "tenant") -> bytes:
        return await self.caller.wrap(tenant, key or self.key(), DEK)

    async def unwrap(self, blob: bytes, key: KmsKey | None = None) -> bytes:
        return await self.caller.unwrap("tenant", key or self.key(), blob)

    async def wrap_refused(self, key: KmsKey | None = None) -> TenantSecurityError:
        with pytest.raises(TenantSecurityError) as caught:
            await self.wrap(key)
        return self._discreet(caught.value)

    async def unwrap_refused(self, blob: bytes, key: KmsKey | None = None) -> TenantSecurityError:
        with pytest.raises(TenantSecurityError) as caught:
            await self.unwrap(blob, key)
        return self._discreet(caught.value)

    def _discreet(self, fault: TenantSecurityError) -> TenantSecurityError:
        for word in self.TELLTALES:
            assert word not in fault.message
        assert len(self.caller.bulkhead) == 0
        return fault

    def _driver_clock(self) -> float:
        return time.monotonic() + self.later_s


World = TypeVar("World", bound=KmsWorld)


@asynccontextmanager
async def standing_in(make_fake: Callable[[], FakeServer], make: Callable[..., World]) -> AsyncIterator[World]:
    """Run a fake and a driver while a test stands in its world."""
    async with make_fake() as fake:
        world = make(fake)
        async with world.outbound:
            yield world
