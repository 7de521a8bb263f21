"""What is said to the vendor bridge and by it: the JSON of the vendor's automation API.

Names and shapes are those that existing automation already speaks. Members that we do not know are ignored, as there.

Source: docs/bridge-api.md.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

import msgspec

from tenant_security.wire.broker_api import NewTenantId

TenantId = Annotated[str, msgspec.Meta(pattern=r"\A[^\x00-\x1f\x7f]{1,255}\Z")]
Name = Annotated[str, msgspec.Meta(pattern=r"\A[^\x00-\x1f\x7f]{1,120}\Z")]
Email = Annotated[str, msgspec.Meta(pattern=r"\A[^@\s\x00-\x1f\x7f]{1,64}@[^@\s\x00-\x1f\x7f]{1,190}\Z")]
Number = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
Many = Annotated[tuple[TenantId, ...], msgspec.Meta(min_length=1, max_length=1_000)]

SecretType = Literal["Search", "Deterministic", "Vector"]
T = TypeVar("T")


class Said(msgspec.Struct, frozen=True, rename="camel"):
    """What all of these have in common."""


class CreatedBy(Said, frozen=True):
    """Who made something: a proxy (``Tsp``), a person or a person's command line (``Admin``), a bridge (``Va``)."""

    id: str
    name: str
    type: Literal["Tsp", "Admin", "Va"]


class Tag(Said, frozen=True):
    """A tag, which tenants and service accounts share."""

    id: int
    tag_text: str
    default: bool
    created: str


class NewTag(Said, frozen=True):
    """A tag to be made."""

    tag_text: Name


class TagTenants(Said, frozen=True):
    """Tenants to be given a tag, or to lose it."""

    tenant_ids: Many


class TagFailure(Said, frozen=True):
    """A tenant that could not be changed, and why."""

    tenant_id: str
    message: str


class TagOutcome(Said, frozen=True):
    """What became of each tenant."""

    succeeded: tuple[str, ...]
    failed: tuple[TagFailure, ...]


class NewTenant(Said, frozen=True):
    """A tenant to be made. ``tags`` counts in the second version of the call only."""

    id: NewTenantId
    name: Name
    tenant_admin_email: Email | None = None
    tags: tuple[Number, ...] = ()


class TenantUpdate(Said, frozen=True):
    """What may change of a tenant."""

    name: Name | None = None
    key_leasing_required: bool | None = None
    tag_additions: tuple[Number, ...] = ()
    tag_removals: tuple[Number, ...] = ()


class Tenant(Said, frozen=True):
    """A tenant."""

    id: str
    name: str
    archived: bool
    tenant_created_configs: bool
    invited: bool
    key_leasing_required: bool
    primary_kms_config_id: int | None
    tags: tuple[Tag, ...]
    created_by: CreatedBy
    created: str
    updated: str


class CreatedTenant(Said, frozen=True):
    """A tenant that was just made. ``emailSent`` says whether an invitation is on its way."""

    id: str
    name: str
    tenant_created_configs: bool
    email_sent: bool
    key_leasing_required: bool
    archived: bool
    tags: tuple[Tag, ...]
    created_by: CreatedBy
    created: str
    updated: str


class UpdatedTenant(Said, frozen=True):
    """A tenant after a change."""

    id: str
    name: str
    archived: bool
    key_leasing_required: bool
    tags: tuple[Tag, ...]


class RemovedTenant(Said, frozen=True):
    """A tenant that is gone."""

    id: str


class Invite(Said, frozen=True):
    """Whom to invite for a tenant."""

    tenant_admin_email: Email


class Invited(Said, frozen=True):
    """Who was invited."""

    invited_tenant_admin_email: str


class NewConfig(Said, frozen=True):
    """A KMS config to be sealed: see docs/formats.md, "KMS configs"."""

    config: dict[str, Any]
    leasing_allowed: bool = False


class ConfigUpdate(Said, frozen=True):
    """New credentials for a config, or another word about leasing. Type and version must be those that it has."""

    config: dict[str, Any] | None = None
    leasing_allowed: bool | None = None


class UpdatedCredentials(msgspec.Struct, frozen=True):
    """What a config's update may hold."""

    type: str
    version: int
    credentials: msgspec.Raw


class BasicConfig(Said, frozen=True):
    """A config of the vendor, without what is sealed."""

    id: int
    kms_type: str
    version: int
    created_by: CreatedBy
    leasing_allowed: bool
    assignment_count: int
    secret_count: int
    created: str
    updated: str


class StoredConfig(Said, frozen=True):
    """A config of the vendor as it was just sealed. ``encryptedConfig`` is the ciphertext."""

    id: int
    encrypted_config: bytes
    kms_type: str
    version: int
    created_by: CreatedBy
    leasing_allowed: bool
    assignment_count: int
    secret_count: int
    created: str
    updated: str


class OpenConfig(Said, frozen=True):
    """A config of the vendor. ``decryptedConfig`` holds no credentials."""

    id: int
    decrypted_config: msgspec.Raw
    created_by: CreatedBy
    leasing_allowed: bool
    assignment_count: int
    secret_count: int
    created: str
    updated: str


class RemovedConfig(Said, frozen=True):
    """A config that is gone."""

    id: int


class Assignment(Said, frozen=True):
    """A config as a tenant may use it."""

    kms_config_id: int
    tenant_id: str
    active: bool
    primary: bool
    created_by: CreatedBy
    created: str
    updated: str


class AssignmentUpdate(Said, frozen=True):
    """What may change of an assignment."""

    active: bool | None = None
    primary: bool | None = None


class RemovedAssignment(Said, frozen=True):
    """An assignment that is gone."""

    kms_config_id: int
    tenant_id: str


class Secret(Said, frozen=True):
    """A tenant secret, wrapped as it is: ``encryptedSecret`` is an EDEK."""

    id: int
    encrypted_secret: bytes
    secret_fingerprint: str
    secret_path: str
    kms_config_id: int
    migration_status: Literal["Current", "NeedsMigration"]
    rotation_status: Literal["Current", "InRotation", "Archived"]
    secret_type: SecretType
    created: str
    updated: str


class ListedSecret(Secret, frozen=True, kw_only=True):
    """A tenant secret in a list."""

    tenant_id: str
    tenant_tags: tuple[int, ...]


class SecretSelection(Said, frozen=True):
    """Which secrets to list: those with these ids, those of tenants with any of these tags."""

    ids: Annotated[tuple[Number, ...], msgspec.Meta(max_length=1_000)] = ()
    tags: Annotated[tuple[Number, ...], msgspec.Meta(max_length=1_000)] = ()


class SecretChoice(Said, frozen=True):
    """One secret of a tenant: by its id, or by type and path."""

    id: Number | None = None
    secret_type: SecretType | None = None
    secret_path: Annotated[str, msgspec.Meta(max_length=1024)] | None = None


class Page(msgspec.Struct, Generic[T], frozen=True, rename="camel"):
    """One page of a list. ``page`` counts from 1."""

    result: list[T]
    page: int
    total_pages: int


class Refusal(Said, frozen=True):
    """Why something was not done."""

    message: str
    status_code: int


_MS: Final = 1_000


def rfc3339(at_ms: int) -> str:
    """Write a time as this API does. Units: ``at_ms`` Unix milliseconds."""
    at = datetime.fromtimestamp(at_ms // _MS, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_ms % _MS:03}Z"


def milliseconds(text: str) -> int:
    """Read a time as callers write it; without a zone it is UTC. Raises: ValueError."""
    at = datetime.fromisoformat(text)
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * _MS)
