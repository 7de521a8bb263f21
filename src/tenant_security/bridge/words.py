"""From the broker's words to those of the bridge's API."""

import binascii
from collections.abc import Mapping
from typing import Any, Final, Literal

from tenant_security.bridge.broker import Vendor
from tenant_security.wire import bridge_api as api
from tenant_security.wire import broker_api as stored

_MOST: Final = 1_000
_TYPES: Final[Mapping[str, api.SecretType]] = {
    "search": "Search",
    "deterministic": "Deterministic",
    "vector": "Vector",
}
BROKERS_TYPES: Final = {said: kept for kept, said in _TYPES.items()}
_ROTATION: Final[Mapping[str, Literal["Current", "InRotation", "Archived"]]] = {
    "current": "Current",
    "in-rotation": "InRotation",
    "archived": "Archived",
}


def created_by(who: stored.CreatedBy) -> api.CreatedBy:
    """Say who made something. Services that make what this API shows are bridges."""
    return api.CreatedBy(who.id, who.name, "Va" if who.type in ("service", "api-key") else "Admin")


def tag(each: stored.Tag) -> api.Tag:
    """Describe a tag."""
    return api.Tag(each.id, each.text, each.default, api.rfc3339(each.created))


async def tags_of(vendor: Vendor) -> dict[int, api.Tag]:
    """Return the vendor's tags by id."""
    found: dict[int, api.Tag] = {}
    number = 1
    while True:
        page = await vendor.get("/tags", stored.Page[stored.Tag], {"page": number, "pageSize": _MOST})
        found.update({each.id: tag(each) for each in page.result})
        if number >= page.total_pages:
            return found
        number += 1


def chosen(tags: Mapping[int, api.Tag], ids: tuple[int, ...]) -> tuple[api.Tag, ...]:
    """Return the tags with these ids."""
    return tuple(tags[each] for each in ids if each in tags)


def tenant(each: stored.Tenant, tags: Mapping[int, api.Tag]) -> api.Tenant:
    """Describe a tenant. ``invited`` means: invited, and nobody has come yet."""
    return api.Tenant(
        id=each.id,
        name=each.name,
        archived=False,
        tenant_created_configs=each.own_configs > 0,
        invited=each.invited and not each.accepted,
        key_leasing_required=each.leasing_required,
        primary_kms_config_id=each.primary_config,
        tags=chosen(tags, each.tags),
        created_by=created_by(each.created_by),
        created=api.rfc3339(each.created),
        updated=api.rfc3339(each.updated),
    )


def config(each: stored.Config) -> dict[str, Any]:
    """Describe what all forms of a config have in common."""
    return {
        "id": each.id,
        "created_by": created_by(each.created_by),
        "leasing_allowed": each.leasing_allowed,
        "assignment_count": each.assignment_count,
        "secret_count": each.secret_count,
        "created": api.rfc3339(each.created),
        "updated": api.rfc3339(each.updated),
    }


def assignment(each: stored.Assignment) -> api.Assignment:
    """Describe an assignment."""
    return api.Assignment(
        kms_config_id=each.config,
        tenant_id=each.tenant,
        active=each.active,
        primary=each.primary,
        created_by=created_by(each.created_by),
        created=api.rfc3339(each.created),
        updated=api.rfc3339(each.updated),
    )


def secret(each: stored.TenantSecret) -> dict[str, Any]:
    """Describe what all forms of a secret have in common."""
    return {
        "id": each.number,
        "encrypted_secret": each.encrypted,
        "secret_fingerprint": _base64(each.fingerprint),
        "secret_path": each.path,
        "kms_config_id": each.config,
        "migration_status": "Current" if each.migration == "current" else "NeedsMigration",
        "rotation_status": _ROTATION[each.rotation],
        "secret_type": _TYPES[each.type],
        "created": api.rfc3339(each.created),
        "updated": api.rfc3339(each.updated),
    }


def _base64(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).decode()
