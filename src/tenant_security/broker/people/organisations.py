"""An organisation: a vendor, or one of its tenants. Both have people, invitations and single sign-on alike."""

from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker.tenants import tenant_row


class Organisation(NamedTuple):
    """Which one. ``tenant`` is a tenant's number, ``tenant_id`` what its vendor calls it; 0 and None for a vendor."""

    vendor: str
    tenant: int = 0
    tenant_id: str | None = None

    @property
    def in_audit(self) -> str:
        """How rows of the audit name its tenant."""
        return self.tenant_id or ""


async def organisation(connection: AsyncConnection, vendor: str, tenant_id: str | None) -> Organisation:
    """Find one.

    Raises: NotFoundError.
    """
    if tenant_id is None:
        return Organisation(vendor)
    row = await tenant_row(connection, vendor, tenant_id)
    return Organisation(vendor, int(row.number), tenant_id)
