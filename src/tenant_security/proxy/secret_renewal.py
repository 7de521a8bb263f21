"""Renews tenant secrets in the background: wraps them by their tenant's primary, and binds them to their place.

The broker lends each secret to one proxy at a time and takes what comes back only in the place of the EDEK that it was
made from, so that proxies need not know of each other. A new EDEK is opened once before it is handed in: a secret whose
new wrapping cannot be read back stays as it is.

Source: docs/operate.md, "Tenant secrets after a change of KMS".
"""

import asyncio
import hashlib
import hmac
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, NamedTuple

from tenant_security.crypto.derive import bound_fingerprint
from tenant_security.directory.reporter import Run
from tenant_security.directory.tenants import Assignment, Tenant, TenantDirectory
from tenant_security.errors import TenantSecurityError
from tenant_security.outbound.broker import (
    BrokerAccount,
    BrokerRefusedError,
    borrow_renewals,
    renew_secret,
    renewal_trouble,
)
from tenant_security.outbound.flow import UnreachableError
from tenant_security.proxy.secret_store import SecretRecord
from tenant_security.proxy.several import WrapWithKms, unwrap_dek, wrap_dek
from tenant_security.proxy.tenant_secrets import open_secret
from tenant_security.trust.tenant_secrets import Standing, bind, place_of
from tenant_security.wire import edek
from tenant_security.wire.service_api import (
    MOST_RENEWALS,
    Renewal,
    RenewalTrouble,
    RenewedSecret,
    StoredSecret,
)

PERIOD_S: Final = 60.0
"""How often a proxy asks whether anything waits, when nothing tells it. Units: seconds."""
_SOON_S: Final = 2.0
"""A fleet that hears of a change together does not ask together. Units: seconds, at most."""
_CONFLICT: Final = 409
_WHY_CHARS: Final = 300

RENEWED: Final = "renewed"
OVERTAKEN: Final = "overtaken"
"""Somebody else renewed it first, or there is no need of it as far as is known here."""
FAILED: Final = "failed"


class _TroubleError(Exception):
    """Why a secret stays as it is, in words for whoever runs the broker."""


class Renewing(NamedTuple):
    """What renewing works with. ``record_of`` says whether a secret may be opened, ``counted`` hears outcomes."""

    account: BrokerAccount
    run: Run
    segment: int
    directory: Callable[[], TenantDirectory]
    kms: WrapWithKms
    record_of: Callable[[str, StoredSecret], SecretRecord]
    counted: Callable[[str], None]


class NoRenewal:
    """Stands where no broker keeps the secrets: the file of a proxy is its own."""

    def changed(self) -> None:
        """Nothing to hear."""

    async def run(self) -> None:
        """Nothing to do."""


class SecretRenewal:
    """Renews what waits. One per process; secrets one after the other, so that a tenant's KMS hears little of it."""

    def __init__(
        self,
        renewing: Renewing,
        *,
        period_s: float = PERIOD_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._with: Final = renewing
        self._period_s: Final = period_s
        self._sleep: Final = sleep
        self._chance: Final = chance
        self._news: Final = asyncio.Event()

    def changed(self) -> None:
        """Hear that tenants changed: a primary may be another one now."""
        self._news.set()

    async def run(self) -> None:
        """Renew now and then, and soon after a change, until cancelled. Nothing is done before tenants are known."""
        await self._news.wait()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._period_s * (0.5 + self._chance())):
                    await self._news.wait()
                    await self._sleep(_SOON_S * self._chance())
            self._news.clear()
            await self.renew_all()

    async def renew_all(self) -> None:
        """Renew what waits now. A broker that is away is asked again later."""
        with suppress(BrokerRefusedError, UnreachableError):
            while True:
                lent: tuple[Renewal, ...] = await self._with.run(
                    borrow_renewals(self._with.account, self._with.segment)
                )
                outcomes = [await self._renew(each) for each in lent]
                if len(lent) < MOST_RENEWALS or RENEWED not in outcomes:
                    return

    async def _renew(self, lent: Renewal) -> str:
        outcome = await self._outcome(lent)
        self._with.counted(outcome)
        return outcome

    async def _outcome(self, lent: Renewal) -> str:
        base = hashlib.sha256(lent.secret.encrypted).digest()
        try:
            made = await self._made(lent, base)
        except (_TroubleError, TenantSecurityError) as why:
            said = why.message if isinstance(why, TenantSecurityError) else str(why)
            await self._hand_back(lent, base, said[:_WHY_CHARS])
            return FAILED
        if made is None:
            # The broker knows of a change that is on its way to us; hearing of it, we ask again.
            await self._hand_back(lent, base, "")
            return OVERTAKEN
        try:
            await self._with.run(renew_secret(self._with.account, lent.secret.id, made))
        except BrokerRefusedError as refused:
            return OVERTAKEN if refused.status == _CONFLICT else FAILED
        return RENEWED

    async def _hand_back(self, lent: Renewal, base: bytes, why: str) -> None:
        trouble = RenewalTrouble(lent.tenant, base, why)
        with suppress(BrokerRefusedError):
            await self._with.run(renewal_trouble(self._with.account, lent.secret.id, trouble))

    async def _made(self, lent: Renewal, base: bytes) -> RenewedSecret | None:
        """Make the secret's new EDEK and binding; None where it has both, as the tenants are known here.

        Raises: _TroubleError; TenantSecurityError from opening or wrapping it.
        """
        directory, stored = self._with.directory(), lent.secret
        tenant = directory.tenant(lent.tenant)
        if tenant is None or tenant.quarantined is not None:
            raise _TroubleError("this proxy does not know the tenant, or refuses its configuration")
        primary = tenant.primary
        if primary is None:
            raise _TroubleError("the tenant has no active primary KMS configuration to wrap it with")
        record = self._with.record_of(lent.tenant, stored)
        config, wrapped = stored.config, stored.encrypted
        bound = record.vouched is not None and record.vouched.standing is Standing.BOUND
        if bound and config == primary.config.id:
            return None
        secret, _ = await open_secret(self._with.kms, tenant, record)
        plain = secret.reveal()
        if config != primary.config.id:
            config, wrapped = primary.config.id, await self._wrapped(tenant, primary, plain)
        place = place_of(directory.vendor, lent.tenant, stored)
        fingerprint = bound_fingerprint(plain, place.encoded())
        return RenewedSecret(
            tenant=lent.tenant,
            base=base,
            fingerprint=fingerprint,
            config=config,
            encrypted=wrapped,
            binding=bind(self._with.account.key, place, fingerprint=fingerprint),
        )

    async def _wrapped(self, tenant: Tenant, primary: Assignment, plain: bytes) -> bytes:
        """Wrap by the primary, and by the spares where there are, and see that the primary reads it back."""
        made = await wrap_dek(self._with.kms, tenant, plain)
        if made.by[0] is not primary:
            raise _TroubleError(f"the primary KMS configuration {primary.config.id} did not wrap it; its spares did")
        back, by = await unwrap_dek(self._with.kms, tenant, edek.decode_all(made.wrapped))
        if by is not primary or not hmac.compare_digest(back, plain):
            raise _TroubleError(
                f"what the primary KMS configuration {primary.config.id} wrapped, it did not unwrap again; the secret "
                "stays as it was"
            )
        return made.wrapped
