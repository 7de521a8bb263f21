"""What a broker's API key can be made for: one word for each kind of thing that can be asked.

Source: docs/broker-api.md, "Scopes".
"""

from enum import Enum
from typing import Annotated, Final

import msgspec


class Scope(Enum):
    """One kind of thing that an API key may ask. The value is its name in the API."""

    VENDOR_READ = "vendor:read"
    """The vendor's name and its keys; which segments serve a tenant."""
    VENDOR_WRITE = "vendor:write"
    """The vendor's name, and whether new tenants must lease."""
    TENANTS_READ = "tenants:read"
    TENANTS_WRITE = "tenants:write"
    """Make tenants and tags, rename, tag."""
    TENANTS_REMOVE = "tenants:remove"
    """A tenant's secrets go with it."""
    INVITATIONS_WRITE = "invitations:write"
    """Invite the first person of a tenant."""
    CONFIGS_READ = "configs:read"
    """Which configs there are, and who is assigned them; nothing of what they hold."""
    CONFIGS_WRITE = "configs:write"
    """The vendor's own configs: allow leasing, remove."""
    CONFIGS_TEST = "configs:test"
    """Have a config tried, and read what came of it."""
    DOCUMENTS_READ = "documents:read"
    """What was signed and sealed for a tenant, and what waits for a second person."""
    DOCUMENTS_WRITE = "documents:write"
    """Hand in what an author signed: records, configs."""
    APPROVALS_DECIDE = "approvals:decide"
    SECRETS_READ = "secrets:read"
    """Tenant secrets, wrapped as they are."""
    SECRETS_ROTATE = "secrets:rotate"
    SECRETS_IMPORT = "secrets:import"
    AUDIT_READ = "audit:read"
    FLEET_READ = "fleet:read"
    """Services, their reports, and counts of what they did."""
    PEOPLE_READ = "people:read"
    """People, invitations, and how they sign in."""
    KEYS_WRITE = "keys:write"
    """Hand in the vendor's root and manifest, and configs that are wrapped anew."""
    HEADS_WRITE = "heads:write"
    SNAPSHOTS_READ = "snapshots:read"
    """Whole snapshots, as services get them."""


MOST_TENANTS: Final = 100
Scopes = Annotated[tuple[Scope, ...], msgspec.Meta(min_length=1, max_length=len(Scope))]
TenantPatterns = Annotated[
    tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=256)], ...],
    msgspec.Meta(min_length=1, max_length=MOST_TENANTS),
]
"""Tenants' ids, or beginnings of ids that end with ``*``."""
