"""Tenant secrets kept at the broker, as the tenants' KMSs wrapped them.

The broker holds at most one Current and one InRotation per tenant, type and path, and answers everybody who makes one
at the same time with the first one's. What it answered is remembered here for when it is down: a secret's EDEK never
changes, so the worst that an old answer can do is to miss a rotation that has begun since.
"""

from collections import OrderedDict
from typing import Final, Literal, cast

from tenant_security.directory.reporter import Run
from tenant_security.outbound.broker import BrokerAccount, BrokerRefusedError, create_secret, list_secrets
from tenant_security.outbound.flow import Flow, UnreachableError
from tenant_security.proxy.secret_store import Rotation, SecretRecord
from tenant_security.wire import edek as edeks
from tenant_security.wire.service_api import NewSecret, SecretType, StoredSecret

_NOT_FOUND: Final = 404
_MOST_TENANTS: Final = 10_000
"""How many tenants' answers are remembered; the least recently used goes first."""

_Answer = tuple[StoredSecret, ...]


class BrokerSecrets:
    """A store of tenant secrets: see :class:`tenant_security.proxy.secret_store.SecretStore`.

    ``run`` runs a flow within the time that a request may take. Owner: the process; it holds no lock.
    """

    def __init__(self, account: BrokerAccount, run: Run) -> None:
        self._account: Final = account
        self._run: Final = run
        self._remembered: Final[OrderedDict[str, _Answer]] = OrderedDict()

    def close(self) -> None:
        """Nothing to close."""

    async def live(self, tenant_id: str, secret_type: str, secret_path: str) -> list[SecretRecord]:
        """See :class:`SecretStore`."""
        try:
            answer = await self._ask(tenant_id, list_secrets(self._account, tenant_id))
        except OSError:
            found = _live(tenant_id, self._remembered.get(tenant_id, ()), secret_type, secret_path)
            if not any(each.rotation is Rotation.CURRENT for each in found):
                raise
            return found
        return _live(tenant_id, answer, secret_type, secret_path)

    async def create(
        self, tenant_id: str, secret_type: str, secret_path: str, edek: bytes, *, fingerprint: bytes
    ) -> SecretRecord:
        """See :class:`SecretStore`."""
        kind = cast("SecretType", secret_type)
        config = edeks.decode_all(edek)[0].config_id
        new = NewSecret(tenant_id, kind, secret_path, fingerprint, config, edek)
        answer = await self._ask(tenant_id, create_secret(self._account, new))
        for each in _live(tenant_id, answer, secret_type, secret_path):
            if each.rotation is Rotation.CURRENT:
                return each
        raise OSError("the broker kept a tenant secret and does not show it")

    async def _ask(self, tenant_id: str, flow: Flow[_Answer]) -> _Answer:
        try:
            answer: _Answer = await self._run(flow)
        except BrokerRefusedError as refused:
            if refused.status == _NOT_FOUND:
                self._remembered.pop(tenant_id, None)
            raise OSError(str(refused)) from refused
        except UnreachableError as failure:
            raise OSError(f"the broker cannot be reached: {failure.reason.value}") from failure
        self._remembered[tenant_id] = answer
        self._remembered.move_to_end(tenant_id)
        if len(self._remembered) > _MOST_TENANTS:
            self._remembered.popitem(last=False)
        return answer


def _live(tenant_id: str, answer: _Answer, secret_type: str, secret_path: str) -> list[SecretRecord]:
    """Pick what is served of a path: Current, then InRotation."""
    order: tuple[Literal["current", "in-rotation"], ...] = ("current", "in-rotation")
    return [
        SecretRecord(each.number, tenant_id, each.type, each.path, each.encrypted, Rotation(each.rotation))
        for rotation in order
        for each in answer
        if (each.type, each.path, each.rotation) == (secret_type, secret_path, rotation)
    ]
