"""``tenant-security recover``: decrypt with the tenant's KMS alone, when there is no broker and no proxy."""

import asyncio
import base64
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, TypeVar, cast

import msgspec
from cyclopts import App, Parameter

from tenant_security.cli.explain import explained
from tenant_security.cli.offline_keys import OfflineKeys
from tenant_security.cli.snapshot import load
from tenant_security.client import Metadata
from tenant_security.client.connection import Connection
from tenant_security.client.deterministic import DeterministicFields, EncryptedField
from tenant_security.client.document_keys import DocumentFormat
from tenant_security.client.documents import Documents, EncryptedDocument
from tenant_security.client.keys import Keys
from tenant_security.client.streams import Streams
from tenant_security.crypto.deterministic import FieldForm
from tenant_security.kms.catalog import open_key
from tenant_security.kms.own_identity import OWN_IDENTITIES
from tenant_security.kms.provider import KmsContext, KmsKey
from tenant_security.outbound.driver import Outbound, OutboundLimits
from tenant_security.outbound.egress import read_allowed
from tenant_security.wire.kms_configs import decode_kms_config
from tenant_security.wire.secret_export import ExportedSecret
from tenant_security.wire.service_env import credentials_from_env, parse_env

T = TypeVar("T")

_REQUEST_S: Final = 30.0
_DEADLINE_S: Final = 24 * 3600.0
_SUFFIX: Final = ".edek"

app = App(
    name="recover",
    help="""Decrypt with the tenant's KMS alone: no broker, no proxy, no vendor.

Take the tenant's KMS config as JSON (its key's address, and credentials that may decrypt), or a sealed snapshot with a
service's env file. Deterministic fields need the tenant's exported secrets too. docs/recovery.md walks through a drill.
""",
    help_format="plaintext",
)

ConfigFiles = Annotated[
    list[Path] | None, Parameter(name="--config", help="A KMS config as JSON; may be given several times.")
]
SnapshotFile = Annotated[Path | None, Parameter(help="A sealed snapshot, opened with --env-file, instead of --config.")]
EnvFile = Annotated[Path | None, Parameter(help="The env file of a service that may open the snapshot.")]
Allow = Annotated[
    str,
    Parameter(env_var="TSP_EGRESS_ALLOW", help="What may be reached beyond the public internet, such as 10.0.0.0/8."),
]


@app.command
def file(
    source: Path,
    /,
    *,
    tenant: str,
    out: Path,
    edek: Path | None = None,
    config: ConfigFiles = None,
    snapshot: SnapshotFile = None,
    env_file: EnvFile = None,
    allow: Allow = "",
) -> None:
    """Decrypt a file that 'encrypt' or a client's streams wrote. It is there verified, or not at all.

    Parameters
    ----------
    source
        The encrypted file.
    tenant
        Whose it is.
    out
        Where to put what it holds.
    edek
        The file with its wrapped key; without it, SOURCE.edek where that is there, else the key is inside SOURCE.
    """
    with explained():
        beside = edek or source.with_name(source.name + _SUFFIX)
        stored = beside.read_text().strip() if edek is not None or beside.exists() else None
        keys = _opened(tenant, config, snapshot, env_file)

        async def work(outbound: Outbound) -> None:
            documents = _documents(keys, ())
            flow = Streams(documents[0], documents[1]).decrypt_file(source, out, stored, _who(tenant))
            await outbound.run(flow, deadline_s=_DEADLINE_S)

        _run(work, allow)
        print(out)


@app.command
def document(
    source: Path,
    /,
    *,
    tenant: str,
    out: Path,
    config: ConfigFiles = None,
    snapshot: SnapshotFile = None,
    env_file: EnvFile = None,
    allow: Allow = "",
) -> None:
    """Decrypt a document in its JSON form: {"encryptedFields": {"name": base64}, "edek": base64}.

    Writes {"name": base64 of the plain bytes} with mode 0600.

    Parameters
    ----------
    source
        The JSON file.
    tenant
        Whose it is.
    out
        Where to put the plain fields.
    """
    with explained():
        encrypted = EncryptedDocument.from_json(source.read_bytes())
        keys = _opened(tenant, config, snapshot, env_file)

        async def work(outbound: Outbound) -> dict[str, bytes]:
            flow = _documents(keys, ())[1].decrypt(encrypted, _who(tenant))
            return await outbound.run(flow, deadline_s=_DEADLINE_S)

        fields = _run(work, allow)
        with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as plain:
            plain.write(msgspec.json.encode(fields) + b"\n")
        print(f"{out}: {len(fields)} fields")


@app.command
def field(
    ciphertext: str,
    /,
    *,
    tenant: str,
    secrets: Path,
    secret_path: str,
    derivation_path: str,
    config: ConfigFiles = None,
    snapshot: SnapshotFile = None,
    env_file: EnvFile = None,
    allow: Allow = "",
) -> None:
    """Decrypt one deterministic field, and write its plain bytes to standard output.

    Parameters
    ----------
    ciphertext
        The field in base64.
    tenant
        Whose it is.
    secrets
        The file that 'secrets export' wrote, or the original broker's backup in that shape.
    secret_path
        The field's secret path.
    derivation_path
        The field's derivation path.
    """
    with explained():
        exported = msgspec.json.decode(secrets.read_bytes(), type=list[ExportedSecret])
        encrypted = EncryptedField(base64.b64decode(ciphertext, validate=True), secret_path, derivation_path)
        keys = _opened(tenant, config, snapshot, env_file)

        async def work(outbound: Outbound) -> bytes:
            fields = DeterministicFields(_documents(keys, exported)[0], FieldForm.TSC)
            return (await outbound.run(fields.decrypt(encrypted, _who(tenant)), deadline_s=_DEADLINE_S)).value

        sys.stdout.buffer.write(_run(work, allow))


def _who(tenant: str) -> Metadata:
    return Metadata(tenant, requesting_id="recovery")


def _documents(
    keys: list[tuple[int | None, KmsKey]], secrets: "list[ExportedSecret] | tuple[()]"
) -> tuple[Keys, Documents]:
    offline = Keys(cast("Connection", OfflineKeys(keys, secrets)))
    return offline, Documents(offline, DocumentFormat.V3)


def _opened(
    tenant: str, configs: list[Path] | None, snapshot: Path | None, env_file: Path | None
) -> list[tuple[int | None, KmsKey]]:
    """Open the KMS keys that were named. Raises: ValueError; TenantSecurityError; SnapshotRefusedError."""
    context = KmsContext(
        now=lambda: datetime.now(UTC), vendor_owned=True, identities=OWN_IDENTITIES, environ=os.environ
    )
    keys: list[tuple[int | None, KmsKey]] = [
        (None, open_key(decode_kms_config(each.read_bytes()), context)) for each in configs or ()
    ]
    if snapshot is not None:
        if env_file is None:
            raise ValueError("a sealed snapshot is opened with --env-file")
        credentials = credentials_from_env(parse_env(env_file.read_text("utf-8")))
        found = load(snapshot, credentials.root_fingerprint, credentials).tenant(tenant)
        if found is None or found.quarantined is not None:
            raise ValueError(f"tenant {tenant!r} is not in the snapshot, or its entry is refused")
        keys += [(each.config.id, open_key(each.config.open(), context)) for each in found.assignments]
    if not keys:
        raise ValueError("with which KMS? Give --config FILE, or --snapshot FILE with --env-file")
    return keys


def _run(work: Callable[[Outbound], Awaitable[T]], allow: str) -> T:
    limits = OutboundLimits(connect_s=5.0, attempt_s=_REQUEST_S, shared_s=_REQUEST_S)

    async def main() -> T:
        async with Outbound(limits, egress=read_allowed(allow)) as outbound:
            return await work(outbound)

    return asyncio.run(main())
