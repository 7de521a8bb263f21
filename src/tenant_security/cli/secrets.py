"""``tenant-security secrets``: tenant secrets at a broker, wrapped by each tenant's own KMS."""

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import msgspec
from cyclopts import App

from tenant_security.authoring.keyfiles import write_whole
from tenant_security.authoring.vendor import Vendor
from tenant_security.cli.explain import explained
from tenant_security.cli.link import AtOptions, Columns, Json, Session, show, talk, when
from tenant_security.trust.tenant_secrets import Place, bind
from tenant_security.wire import broker_api as api
from tenant_security.wire import edek
from tenant_security.wire.secret_export import ExportedSecret, exported, imported

app = App(
    name="secrets",
    help="Tenant secrets, from which keys for deterministic encryption and search are derived. All are wrapped.",
    help_format="plaintext",
)

_COLUMNS: Columns = {
    "TENANT": "tenant",
    "NUMBER": "number",
    "TYPE": "type",
    "PATH": "path",
    "CONFIG": "config",
    "ROTATION": "rotation",
    "MIGRATION": "migration",
    "BOUND": lambda row: "yes" if row.bound else "no",
    "CREATED": lambda row: when(row.created),
    "ID": "id",
    "TROUBLE": "trouble",
}


@app.command(name="list")
def list_(*, at: AtOptions, tenant: list[str] | None = None, as_json: Json = False) -> None:
    """List tenant secrets.

    Parameters
    ----------
    tenant
        Only this tenant's; may be given several times.
    """

    async def work(session: Session) -> list[api.TenantSecret]:
        return await session.run(session.admin.every("/secrets", api.TenantSecret, tenant=tenant))

    show(talk(at, work), _COLUMNS, as_json=as_json)


@app.command
def rotate(tenant: str, secret: str, /, *, at: AtOptions, commit: bool = False) -> None:
    """Begin a secret's rotation: the next need makes a new one, and this one still decrypts. With --commit, end it.

    Commit when nothing is encrypted under the old secret any more: it is not served afterwards, and kept.

    Parameters
    ----------
    tenant
        Whose.
    secret
        The secret's id, as "secrets list" shows it.
    commit
        End the rotation instead.
    """
    step = "commit" if commit else "begin"

    async def work(session: Session) -> api.TenantSecret:
        path = f"{session.admin.tenant_path(tenant)}/secrets/{secret}/rotation/{step}"
        return await session.run(session.admin.ask("POST", path, api.TenantSecret))

    show([talk(at, work)], _COLUMNS, as_json=False)


@app.command
def renew(*, at: AtOptions, tenant: str | None = None, wait: float = 0.0) -> None:
    """Have proxies wrap secrets anew whose tenant has another primary KMS now, and bind those that are not bound.

    They do so by themselves; this has them try at once what rests because it failed. Exit code 1 while anything waits.

    Parameters
    ----------
    tenant
        Only this tenant's.
    wait
        For how many seconds to look until nothing waits.
    """

    async def work(session: Session) -> api.SecretRenewals:
        found = await session.run(session.admin.ask("POST", "/secret-renewals", api.SecretRenewals, tenant=tenant))
        end = time.monotonic() + wait
        while (found.migrations or found.unbound) and time.monotonic() < end:
            await asyncio.sleep(min(1.0, wait))
            found = await session.run(session.admin.ask("GET", "/secret-renewals", api.SecretRenewals, tenant=tenant))
        return found

    left = talk(at, work)
    print(f"{left.migrations} to be wrapped anew, {left.unbound} to be bound, {left.troubled} that failed lately")
    if left.troubled:
        print("Why they failed: tenant-security secrets list")
    if left.migrations or left.unbound:
        raise SystemExit(1)


@app.command
def export(out: Path, /, *, at: AtOptions, tenant: list[str] | None = None) -> None:
    """Write tenant secrets to a file, wrapped as they are: what 'recover' needs beside the tenant's KMS.

    Shape: a JSON array with one record per secret, as the backups of the original broker have them.

    Parameters
    ----------
    out
        The file to write.
    tenant
        Only this tenant's; may be given several times.
    """

    async def work(session: Session) -> list[api.TenantSecret]:
        return await session.run(session.admin.every("/secrets", api.TenantSecret, tenant=tenant))

    found = talk(at, work)
    with explained():
        records = msgspec.json.encode([exported(each) for each in found])
        write_whole(out, [msgspec.json.format(records, indent=1), b"\n"])
    print(f"Wrote {len(found)} secrets to {out}.")


@app.command(name="import")
def import_(file: Path, /, *, at: AtOptions) -> None:
    """Bring tenant secrets to the broker, numbers and states kept: a proxy's file, an export, the original's backup.

    Their tenants and KMS configs must be there, with their numbers. Stop the proxies that use a proxy's file first.
    What is there already stays, so it can be run again. Your signature says where each belongs, until a proxy has
    opened it and says so itself.

    Parameters
    ----------
    file
        A proxy's TSP_TENANT_SECRETS_FILE (SQLite), or a JSON array such as "secrets export" writes and a backup of the
        original broker has.
    """
    with explained():
        rows = _records(file) if file.exists() and _is_json(file) else _rows(file)

    async def work(session: Session) -> int:
        added = 0
        signed = [_vouched(session.vendor, each) for each in rows]
        for begin in range(0, len(signed), 100):
            answer = await session.run(
                session.admin.ask(
                    "PUT", "/imported-secrets", api.Imported, api.ImportedSecrets(tuple(signed[begin : begin + 100]))
                )
            )
            added += answer.added
        return added

    added = talk(at, work)
    print(f"{added} secrets were brought to the broker; {len(rows) - added} were there already.")


def _is_json(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(64).lstrip().startswith(b"[")


def _records(file: Path) -> list[api.ImportedSecret]:
    """Read an export. Raises: ValueError that says what is wrong with it."""
    try:
        return [imported(each) for each in msgspec.json.decode(file.read_bytes(), type=list[ExportedSecret])]
    except (msgspec.DecodeError, ValueError) as broken:
        raise ValueError(f"{file} is no export of tenant secrets: {broken}") from None


def _vouched(vendor: Vendor, each: api.ImportedSecret) -> api.ImportedSecret:
    """Sign where a secret belongs."""
    place = Place(vendor.id, each.tenant, each.type, each.path, each.number)
    return msgspec.structs.replace(each, binding=bind(vendor.admin, place, wrapped=each.encrypted))


def _rows(file: Path) -> list[api.ImportedSecret]:
    if not file.exists():
        raise ValueError(f"{file} is not there")
    query = "SELECT id, tenant_id, secret_type, secret_path, edek, rotation, created_ms FROM tenant_secret ORDER BY id"
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            return [
                api.ImportedSecret(
                    number, tenant, kind, path, edek.decode_all(wrapped)[0].config_id, wrapped, rotation, created
                )
                for number, tenant, kind, path, wrapped, rotation, created in database.execute(query)
            ]
    except sqlite3.Error as broken:
        raise ValueError(f"{file} is not a file of tenant secrets: {broken}") from None
