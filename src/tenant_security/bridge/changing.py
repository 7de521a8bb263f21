"""Changes a tenant's record: reads the newest, decides, signs, hands it in; once more where somebody was faster."""

from collections.abc import Callable
from typing import Final

from tenant_security.bridge import records
from tenant_security.bridge.broker import segment
from tenant_security.bridge.edge import Desk
from tenant_security.outbound.broker import BrokerRefusedError
from tenant_security.wire import broker_api as stored

_TRIES: Final = 4
_CONFLICT: Final = 409

Decide = Callable[[records.Assignments, bool], tuple[records.Assignments, bool]]
"""From what a tenant is assigned, and whether it must lease, to the same afterwards."""


async def change_record(desk: Desk, tenant: str, decide: Decide, *, only_if_recorded: bool = False) -> None:
    """Change what a tenant is assigned. With ``only_if_recorded`` a tenant without a record is left without one.

    Raises: NotPossibleError; BrokerRefusedError.
    """
    path = f"/tenants/{segment(tenant)}"
    for left in reversed(range(_TRIES)):
        kept = await desk.vendor.get(f"{path}/documents", stored.TenantDocuments)
        if kept.record is None and only_if_recorded:
            return
        described = await desk.vendor.get(path, stored.Tenant)
        current = records.assignments_of(kept)
        must_lease = records.must_lease(kept, otherwise=described.leasing_required)
        wanted, required = decide(current, must_lease)
        if kept.record is not None and (wanted, required) == (current, must_lease):
            return
        change = records.next_record(
            desk.vendor.id, kept, wanted.values(), desk.author, must_lease=required, now_s=int(desk.now_s())
        )
        try:
            await desk.vendor.change("PUT", f"{path}/documents", type(None), change)
        except BrokerRefusedError as refused:
            if refused.status != _CONFLICT or not left:
                raise
        else:
            return
