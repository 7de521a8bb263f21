"""``tenant-security rekey-campaign``: rekeys many EDEKs, and goes on where it was interrupted."""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tenant_security.cli.explain import explained
from tenant_security.cli.proxy_options import HERE, ProxyOptions
from tenant_security.client import TenantSecurityClient
from tenant_security.client.campaign.journal import Campaign, Journal
from tenant_security.client.campaign.rows import Columns, CsvFile, JsonLines, Source
from tenant_security.client.campaign.work import Pacer, Plan, Report, Work, plan

_REPETITIONS = 6
_SHOWN = 20


def rekey_campaign(
    file: Path | None = None,
    /,
    *,
    out: Path | None = None,
    kind: Annotated[Literal["csv", "jsonl"] | None, Parameter(name=["--format"])] = None,
    sql: Annotated[str | None, Parameter(env_var="TENANT_SECURITY_DATABASE")] = None,
    query: str | None = None,
    update: str | None = None,
    edek_column: str = "edek",
    tenant_column: str = "tenant",
    tenant: str | None = None,
    new_tenant: str | None = None,
    journal: Path,
    rate: float | None = None,
    at_once: int = 8,
    verify: bool = True,
    dry_run: bool = False,
    report: Path | None = None,
    options: ProxyOptions = HERE,
) -> None:
    r"""Rekey the EDEKs of a CSV file, of JSON lines or of a database: to each tenant's primary KMS config of today.

    Examples:
        tenant-security rekey-campaign edeks.csv --out new.csv --journal campaign.jsonl --rate 50

        tenant-security rekey-campaign --sql sqlite:///app.db --journal campaign.jsonl \
            --query 'SELECT id, tenant, edek FROM documents' \
            --update 'UPDATE documents SET edek = :edek WHERE id = :id AND edek = :was'

    What the keys have encrypted stays as it is. Killed, or stopped because the proxy was away, it goes on where it was
    when the same command is run again. A row of a database is changed only while it still holds the EDEK that was
    read. Columns may hold EDEKs in base64 or as bytes, or values that carry their own EDEK.

    Exit codes: 0 all is rekeyed; 1 some rows failed, see the report; 2 it was stopped, run it again.

    Parameters
    ----------
    file
        A CSV file with a header line, or JSON lines.
    out
        Where the copy with the new EDEKs is written, when all rows are done.
    kind
        What FILE is; without it, its suffix tells.
    sql
        The database, as SQLAlchemy names it; better in TENANT_SECURITY_DATABASE, when it holds a password.
    query
        Selects id, tenant and edek.
    update
        Changes one row: given :id, :edek and :was.
    edek_column
        The column or member with the EDEK.
    tenant_column
        The column or member with the tenant.
    tenant
        The tenant of all rows, in place of a column.
    new_tenant
        Rekey for this tenant; without it each for its own.
    journal
        What was done so far. Keep it: it holds every old EDEK.
    rate
        At most so many rows a second.
    at_once
        How many are under way together.
    verify
        Unwrap each new EDEK and compare the key before the old one is given up.
    dry_run
        Only look at the rows and say what would be done; asks nobody, writes nothing but the list of a query's rows.
    report
        Where to write the report as JSON.
    """
    with explained():
        where = _Where(file, out, kind, sql, query, update, journal)
        source, name = _source(where, Columns(edek_column, tenant_column, tenant))
        if dry_run:
            with (
                tempfile.TemporaryDirectory() as directory,
                _dry_journal(journal, Campaign(name, new_tenant), directory) as written,
            ):
                _print_plan(plan(source, written))
            return
        total = sum(1 for _ in source.rows())
        progress = Progress(
            TextColumn("Rekeying"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        with Journal(journal, Campaign(name, new_tenant)) as written, progress, _client(options, at_once) as client:
            bar = progress.add_task("", total=total)
            done = Work(
                client,
                source,
                written,
                new_tenant_id=new_tenant,
                at_once=at_once,
                pacer=Pacer(rate),
                verify=verify,
                on_row=lambda: progress.advance(bar),
            ).run()
        _print_report(done)
        if report is not None:
            report.write_bytes(msgspec.json.format(msgspec.json.encode(done), indent=1) + b"\n")
    sys.exit(2 if done.stopped else 1 if done.failed or done.changed else 0)


def _client(options: ProxyOptions, at_once: int) -> TenantSecurityClient:
    return options.client(repetitions=_REPETITIONS, connections=at_once)


class _Where(NamedTuple):
    """Where the rows are, as the command was told."""

    file: Path | None
    out: Path | None
    kind: str | None
    sql: str | None
    query: str | None
    update: str | None
    journal: Path


def _source(where: _Where, columns: Columns) -> tuple[Source, str]:
    """Where the rows come from, and what the journal calls it."""
    if (where.file is None) == (where.query is None):
        raise ValueError("say where the EDEKs are: a FILE, or a database with --sql, --query and --update")
    return _database(where, columns) if where.file is None else _file(where.file, where, columns)


def _database(where: _Where, columns: Columns) -> tuple[Source, str]:
    if where.sql is None or where.query is None or where.update is None:
        raise ValueError("a database needs --sql, --query and --update")
    try:
        from tenant_security.client.campaign.sql import SqlTable  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        raise ValueError("a database needs SQLAlchemy: pip install 'tenant-security[sqlalchemy]'") from None
    kept = where.journal.with_name(where.journal.name + ".rows")
    return SqlTable(where.sql, where.query, where.update, kept, columns.one_tenant), f"sql: {where.query}"


def _file(file: Path, where: _Where, columns: Columns) -> tuple[Source, str]:
    if where.out is None:
        raise ValueError("say with --out where the copy with the new EDEKs goes")
    if where.out.resolve() == file.resolve():
        raise ValueError("--out must be another file: the old EDEKs are kept until you have looked at the new ones")
    known = where.kind or {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}.get(file.suffix)
    if known is None:
        raise ValueError(f"say with --format what {file} is: csv or jsonl")
    made = CsvFile if known == "csv" else JsonLines
    return made(file, where.out, columns), f"{known}: {file.resolve()}"


def _dry_journal(journal: Path, campaign: Campaign, directory: str) -> Journal:
    """A copy of the journal as it is, so that looking changes nothing."""
    copy = Path(directory) / "journal"
    if journal.exists():
        shutil.copyfile(journal, copy)
    return Journal(copy, campaign)


def _print_plan(found: Plan) -> None:
    print(f"Rows: {found.rows}, of which rekeyed already: {found.before}")
    print(f"Wrapped by a leased key: {found.leased}")
    for title, counts in (
        ("Kind", found.kinds),
        ("KMS config", {str(each): count for each, count in found.kms_configs.items()}),
        ("Tenant", found.tenants),
    ):
        for name, count in sorted(counts.items(), key=lambda each: -each[1])[:_SHOWN]:
            print(f"{title} {name}: {count}")
    if found.unreadable:
        print(f"No EDEK in the rows: {', '.join(found.unreadable)}")
    print("Nothing was asked and nothing was changed.")


def _print_report(done: Report) -> None:
    print(f"Rows: {done.rows}. Rekeyed: {done.rekeyed}, before: {done.before}.")
    print(f"Failed: {done.failed}. Changed meanwhile and left alone: {done.changed}.")
    for each in done.failures[:_SHOWN]:
        print(f"row {each.key} ({each.tenant}): {each.message or 'the row was changed or deleted meanwhile'}")
    if done.stopped:
        print(f"error: stopped: {done.stopped}. Run the same command again to go on.", file=sys.stderr)
