"""Tenant secrets as they are exported: records of the shape that the original broker's backups have.

``migrationStatus`` is 1 for current and 2 for needs-migration; ``rotationStatus`` is 1 for current, 2 for in-rotation,
3 for archived; ``secretType`` is 1 for search, 2 for deterministic, 3 for vector.

Source: docs/recovery.md, "The export".
"""

from typing import Final

import msgspec

from tenant_security.wire.broker_api import ImportedSecret, TenantSecret

_MIGRATION: Final = {"current": 1, "needs-migration": 2}
_ROTATION: Final = {"current": 1, "in-rotation": 2, "archived": 3}
_TYPE: Final = {"search": 1, "deterministic": 2, "vector": 3}


class ExportedSecret(msgspec.Struct, frozen=True, rename="camel"):
    """One secret, wrapped. Units: ``created`` and ``updated`` Unix milliseconds."""

    tenant_provided_id: str
    numeric_id: int
    tenant_secret_id: int
    id: str
    secret_fingerprint: bytes
    secret_path: str
    kms_config_id: int
    migration_status: int
    encrypted_secret: bytes
    rotation_status: int
    secret_type: int
    created: int
    updated: int

    @property
    def kind(self) -> str:
        """The type in words."""
        return next((name for name, number in _TYPE.items() if number == self.secret_type), "unknown")


def exported(secret: TenantSecret) -> ExportedSecret:
    """Return a secret as it is exported."""
    return ExportedSecret(
        tenant_provided_id=secret.tenant,
        numeric_id=secret.number,
        tenant_secret_id=secret.number,
        id=secret.id,
        secret_fingerprint=secret.fingerprint,
        secret_path=secret.path,
        kms_config_id=secret.config,
        migration_status=_MIGRATION[secret.migration],
        encrypted_secret=secret.encrypted,
        rotation_status=_ROTATION[secret.rotation],
        secret_type=_TYPE[secret.type],
        created=secret.created,
        updated=secret.updated,
    )


def imported(record: ExportedSecret) -> ImportedSecret:
    """Return what a broker keeps of an exported secret.

    Raises: ValueError for a record with a number that nothing stands for, or that no broker takes.
    """
    kinds, rotations = ({number: name for name, number in each.items()} for each in (_TYPE, _ROTATION))
    kind, rotation = kinds.get(record.secret_type), rotations.get(record.rotation_status)
    if kind is None or rotation is None:
        raise ValueError(
            f"secret {record.tenant_secret_id} has type {record.secret_type} and rotation status "
            f"{record.rotation_status}, which are not known here"
        )
    return msgspec.convert(
        {
            "number": record.tenant_secret_id,
            "tenant": record.tenant_provided_id,
            "type": kind,
            "path": record.secret_path,
            "config": record.kms_config_id,
            "encrypted": record.encrypted_secret,
            "rotation": rotation,
            "created": record.created,
        },
        ImportedSecret,
    )
