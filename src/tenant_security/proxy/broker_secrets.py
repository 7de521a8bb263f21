"""Tenant secrets kept at the broker, as the tenants' KMSs wrapped them.

The broker holds at most one Current and one InRotation per tenant, type and path, and answers everybody who makes one
at the same time with the first one's. It is believed only as far as the rules of ``trust.tenant_secrets`` go: where a
secret belongs is signed by the proxy that made it, and an answer that falls behind an earlier one is not taken.

The last good answer for each tenant is remembered, on disk too where there is a cache, for when the broker is down.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, Literal, NamedTuple, cast

from tenant_security.crypto.derive import bound_fingerprint
from tenant_security.directory.reporter import Run
from tenant_security.directory.tenants import TenantDirectory
from tenant_security.errors import Code, TenantSecurityError
from tenant_security.outbound.broker import (
    BrokerAccount,
    BrokerRefusedError,
    create_secret,
    list_secrets,
    reserve_number,
)
from tenant_security.outbound.flow import Flow, UnreachableError
from tenant_security.proxy.kept_secrets import MOST_TENANTS, KeptSecrets
from tenant_security.proxy.secret_store import Rotation, SecretRecord, Vouched
from tenant_security.secret import Secret
from tenant_security.trust.tenant_secrets import (
    Place,
    Standing,
    bind,
    contradiction,
    falls_behind,
    place_of,
    standing_of,
)
from tenant_security.wire import edek as edeks
from tenant_security.wire.service_api import NewSecret, SecretType, StoredSecret

UNBOUND: Final = (
    "nobody that the vendor's manifest names signed where it belongs. If it is from before secrets were bound, or was "
    "imported then, the operator sets TSP_ACCEPT_UNBOUND_SECRETS=true until `tenant-security secrets renew` says that "
    "none is left"
)

_FEW: Final = 20
"""So many signatures are verified at once, in some three milliseconds; more in a thread."""


class SecretNote(NamedTuple):
    """What is counted of the broker's answers, and what is written down: ``counted(what)``, ``warn(tenant, why)``."""

    counted: Callable[[str], None]
    warn: Callable[[str, str], None]


class _Answer(NamedTuple):
    """What the broker keeps of a tenant, each with whose word its place stands on; ``turn`` orders answers."""

    secrets: tuple[tuple[StoredSecret, Standing], ...]
    turn: int


_NOTHING: Final = _Answer((), 0)


class BrokerSecrets:
    """A store of tenant secrets: see :class:`tenant_security.proxy.secret_store.SecretStore`.

    ``run`` runs a flow within the time that a request may take, ``start`` something in the background. Owner: the
    process; it holds no lock.
    """

    def __init__(
        self,
        account: BrokerAccount,
        run: Run,
        directory: Callable[[], TenantDirectory],
        note: SecretNote,
        start: Callable[[Coroutine[Any, Any, None]], object],
        *,
        kept: KeptSecrets | None = None,
        accept_unbound: bool = False,
    ) -> None:
        self._account: Final = account
        self._run: Final = run
        self._directory: Final = directory
        self._note: Final = note
        self._start: Final = start
        self._kept: Final = kept
        self._accept_unbound: Final = accept_unbound
        self._remembered: Final[OrderedDict[str, _Answer]] = OrderedDict()
        self._disk: Final = asyncio.Lock()
        self._turn = 0
        self._swept = False

    def close(self) -> None:
        """Nothing to close."""

    async def live(self, tenant_id: str, secret_type: str, secret_path: str) -> list[SecretRecord]:
        """See :class:`SecretStore`."""
        try:
            answer = await self._ask(tenant_id, list_secrets(self._account, tenant_id))
        except OSError:
            found = self._live(tenant_id, await self._recall(tenant_id), secret_type, secret_path)
            if not any(each.rotation is Rotation.CURRENT for each in found):
                raise
            return found
        return self._live(tenant_id, answer, secret_type, secret_path)

    async def create(
        self, tenant_id: str, secret_type: str, secret_path: str, edek: bytes, *, secret: Secret[bytes]
    ) -> SecretRecord:
        """See :class:`SecretStore`."""
        kind = cast("SecretType", secret_type)
        number = await self._told(reserve_number(self._account))
        place = Place(self._directory().vendor, tenant_id, kind, secret_path, number)
        fingerprint = bound_fingerprint(secret.reveal(), place.encoded())
        new = NewSecret(
            tenant=tenant_id,
            number=number,
            type=kind,
            path=secret_path,
            fingerprint=fingerprint,
            config=edeks.decode_all(edek)[0].config_id,
            encrypted=edek,
            binding=bind(self._account.key, place, fingerprint=fingerprint),
        )
        answer = await self._ask(tenant_id, create_secret(self._account, new))
        for each in self._live(tenant_id, answer, secret_type, secret_path):
            if each.rotation is Rotation.CURRENT:
                return each
        raise OSError("the broker kept a tenant secret and does not show it")

    def record_of(self, tenant_id: str, stored: StoredSecret, standing: Standing | None = None) -> SecretRecord:
        """Return a secret that may be opened, with what must be checked when it is.

        Raises: TenantSecurityError 401 when nobody we believe says where it belongs.
        """
        world = self._directory()
        place = place_of(world.vendor, tenant_id, stored)
        standing = standing or standing_of(stored, place, world.standing.makers)
        if standing is Standing.UNBOUND and not self._accept_unbound:
            self._note.counted("refused")
            raise TenantSecurityError(
                Code.SECRET_CREATION_FAILED,
                f"The broker shows tenant secret {stored.number} for this path, and {UNBOUND}",
            )
        return SecretRecord(
            stored.number,
            tenant_id,
            stored.type,
            stored.path,
            stored.encrypted,
            Rotation(stored.rotation),
            Vouched(stored, place, standing),
        )

    def retain(self, directory: TenantDirectory) -> None:
        """Forget whoever is no tenant any more; everybody, when the vendor has revoked this service."""
        gone = [each for each in self._remembered if directory.tenant(each) is None]
        for each in gone:
            del self._remembered[each]
        if self._kept is not None and (directory.withdrawn or gone or not self._swept):
            self._swept = True
            self._start(self._forget(self._kept, directory, gone))

    async def _forget(self, kept: KeptSecrets, directory: TenantDirectory, gone: list[str]) -> None:
        async with self._disk:
            if directory.withdrawn:
                await asyncio.to_thread(kept.clear)
            elif gone:
                for each in gone:
                    await asyncio.to_thread(kept.forget, each)
            else:
                await asyncio.to_thread(kept.keep_only, list(directory.tenants))

    async def _told(self, flow: Flow[Any]) -> Any:
        """Run a flow. Raises: OSError."""
        try:
            return await self._run(flow)
        except BrokerRefusedError as refused:
            raise OSError(str(refused)) from refused
        except UnreachableError as failure:
            raise OSError(f"the broker cannot be reached: {failure.reason.value}") from failure

    async def _ask(self, tenant_id: str, flow: Flow[tuple[StoredSecret, ...]]) -> _Answer:
        """Ask the broker, and take what it says unless it falls behind what it said before. Raises: OSError."""
        began = self._turn
        before = await self._recall(tenant_id)
        secrets = await self._told(flow)
        answer = await self._judged(tenant_id, secrets, before)
        before = self._remembered.get(tenant_id, before)
        bound = [each for each, standing in answer.secrets if standing is not Standing.UNBOUND]
        why = contradiction(bound) or falls_behind(
            [each for each, _ in answer.secrets], [each for each in before.secrets if each[1] is not Standing.UNBOUND]
        )
        if why:
            # An answer that was overtaken by a newer one is old, and nobody's fault.
            if before.turn <= began:
                self._note.counted("stale")
                self._note.warn(tenant_id, why)
            raise OSError(f"the broker's answer about the tenant's secrets is not taken: {why}")
        self._remember(tenant_id, answer)
        if [each for each, _ in answer.secrets] != [each for each, _ in before.secrets]:
            await self._keep(tenant_id)
        return answer

    async def _judged(self, tenant_id: str, secrets: tuple[StoredSecret, ...], before: _Answer) -> _Answer:
        """Judge whose word each place stands on; what was judged before is known."""
        self._turn += 1
        turn, world = self._turn, self._directory()
        known = {each.number: (each, standing) for each, standing in before.secrets}

        def judge() -> tuple[tuple[StoredSecret, Standing], ...]:
            judged: list[tuple[StoredSecret, Standing]] = []
            for each in secrets:
                same = known.get(each.number)
                if same is not None and same[0] == each and same[1] is not Standing.UNBOUND:
                    judged.append(same)
                else:
                    place = place_of(world.vendor, tenant_id, each)
                    judged.append((each, standing_of(each, place, world.standing.makers)))
            return tuple(judged)

        few = sum(each.number not in known or known[each.number][0] != each for each in secrets) <= _FEW
        return _Answer(judge() if few else await asyncio.to_thread(judge), turn)

    async def _recall(self, tenant_id: str) -> _Answer:
        """Return what is remembered of a tenant: in memory, else on disk, judged as if it came now."""
        answer = self._remembered.get(tenant_id)
        if answer is not None or self._kept is None:
            return answer or _NOTHING
        async with self._disk:
            secrets = await asyncio.to_thread(self._kept.recall, tenant_id)
        if not secrets:
            return _NOTHING
        judged = await self._judged(tenant_id, secrets, _NOTHING)
        if tenant_id not in self._remembered:
            self._remember(tenant_id, judged._replace(turn=0))
        return self._remembered[tenant_id]

    def _remember(self, tenant_id: str, answer: _Answer) -> None:
        self._remembered[tenant_id] = answer
        self._remembered.move_to_end(tenant_id)
        if len(self._remembered) > MOST_TENANTS:
            self._remembered.popitem(last=False)

    async def _keep(self, tenant_id: str) -> None:
        """Keep what is remembered on disk too, before it is used, for a restart. A full disk costs only that."""
        if self._kept is None:
            return
        async with self._disk:
            answer = self._remembered.get(tenant_id)
            if answer is not None:  # else it was forgotten while this waited
                with suppress(OSError):
                    await asyncio.to_thread(self._kept.keep, tenant_id, tuple(each for each, _ in answer.secrets))

    def _live(self, tenant_id: str, answer: _Answer, secret_type: str, secret_path: str) -> list[SecretRecord]:
        """Pick what is served of a path: Current, then InRotation."""
        order: tuple[Literal["current", "in-rotation"], ...] = ("current", "in-rotation")
        return [
            self.record_of(tenant_id, each, standing)
            for rotation in order
            for each, standing in answer.secrets
            if (each.type, each.path, each.rotation) == (secret_type, secret_path, rotation)
        ]
