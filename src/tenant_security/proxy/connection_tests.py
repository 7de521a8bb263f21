"""Tries tenants' configs when the broker asks for it: from here, with this proxy's network and its limits.

A test wraps 32 random bytes with the config and unwraps them again, as every key operation would. It makes no key that
anybody uses and leaves nothing behind but lines in the KMS's own log.
"""

import hmac
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from tenant_security import __version__
from tenant_security.crypto.aead import random_bytes
from tenant_security.directory.tenants import ConfigHandle, TenantDirectory
from tenant_security.errors import TenantSecurityError
from tenant_security.outbound.broker import BrokerAccount, BrokerRefusedError, finish_work, take_work
from tenant_security.outbound.flow import UnreachableError
from tenant_security.proxy.broker_link import Run
from tenant_security.proxy.several import WrapWithKms
from tenant_security.wire.service_api import Check, Work, WorkDone

_KEY_BYTES: Final = 32
_MOST_AT_ONCE: Final = 20
"""How many tests are done before the broker is asked for news again."""
_LETTERS: Final = 500


class ConnectionTests:
    """Does the broker's connection tests, one after the other. Owner: the task that runs :meth:`do`."""

    def __init__(
        self,
        account: BrokerAccount,
        run: Run,
        *,
        segment: int,
        directory: Callable[[], TenantDirectory],
        kms: WrapWithKms,
        instance: str,
        log: structlog.typing.FilteringBoundLogger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._account: Final = account
        self._run: Final = run
        self._segment: Final = segment
        self._directory: Final = directory
        self._kms: Final = kms
        self._instance: Final = instance
        self._log: Final = log
        self._clock: Final = clock
        self._busy = False

    async def do(self) -> None:
        """Take what there is and do it; nothing where it is being done already."""
        if self._busy:
            return
        self._busy = True
        try:
            for _ in range(_MOST_AT_ONCE):
                work = await self._run(take_work(self._account, self._segment))
                if work is None:
                    return
                done = await self._try(work)
                await self._run(finish_work(self._account, work.id, done))
        except (BrokerRefusedError, UnreachableError) as failure:
            self._log.warning("a connection test could not be taken or answered", reason=str(failure))
        finally:
            self._busy = False

    async def _try(self, work: Work) -> WorkDone:
        checks: list[Check] = []
        config = self._config(work, checks)
        if config is not None:
            await self._round_trip(work.tenant, config, checks)
        ok = bool(checks) and all(each.ok for each in checks)
        return WorkDone(ok, tuple(checks), self._instance, __version__)

    def _config(self, work: Work, checks: list[Check]) -> ConfigHandle | None:
        tenant = self._directory().tenant(work.tenant)
        if tenant is None:
            problem = "this proxy does not know the tenant; check the tags of tenant and segment"
        elif tenant.quarantined is not None:
            problem = f"the tenant's configuration was refused: {tenant.quarantined}"
        elif (assignment := tenant.assignment(work.config)) is None:
            problem = f"config {work.config} is not assigned to the tenant in what this proxy has"
        else:
            checks.append(Check("configuration", ok=True))
            return assignment.config
        checks.append(Check("configuration", ok=False, message=problem[:_LETTERS]))
        return None

    async def _round_trip(self, tenant: str, config: ConfigHandle, checks: list[Check]) -> None:
        key = random_bytes(_KEY_BYTES)
        blob = await self._step("wrap", lambda: self._kms.wrap(tenant, config, key), checks)
        if blob is None:
            return
        back = await self._step("unwrap", lambda: self._kms.unwrap(tenant, config, blob), checks)
        if back is not None and not hmac.compare_digest(back, key):
            checks.append(Check("compare", ok=False, message="the KMS unwrapped something else than it had wrapped"))

    async def _step(self, name: str, work: Callable[[], Awaitable[bytes]], checks: list[Check]) -> bytes | None:
        began = self._clock()
        result, message = None, ""
        try:
            result = await work()
        except TenantSecurityError as fault:
            message = f"{int(fault.code)}: {fault.message}"
        took_ms = round(1000 * max(0.0, self._clock() - began), 1)
        checks.append(Check(name, ok=result is not None, message=message[:_LETTERS], milliseconds=took_ms))
        return result
