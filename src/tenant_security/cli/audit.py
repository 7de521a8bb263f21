"""``tenant-security audit``: what was done at a broker, and whether the record of it is whole."""

from typing import Any

from cyclopts import App

from tenant_security.cli.link import AtOptions, Columns, Json, Session, show, show_json, talk, when
from tenant_security.wire import broker_api as api

app = App(name="audit", help="What was done at a broker.", help_format="plaintext")


@app.command(name="list")
def list_(
    *,
    at: AtOptions,
    tenant: str | None = None,
    action: str | None = None,
    before: int | None = None,
    limit: int = 50,
    as_json: Json = False,
) -> None:
    """List what was done, newest first.

    Parameters
    ----------
    tenant
        Only what concerns this tenant.
    action
        Only this action, such as "config.update".
    before
        Only what has a lower number.
    limit
        How many, at most 1000.
    """

    async def work(session: Session) -> list[api.AuditEntry]:
        flow = session.admin.ask(
            "GET", "/audit", list[api.AuditEntry], tenant=tenant, action=action, before=before, limit=limit
        )
        return await session.run(flow)

    columns: Columns = {
        "NUMBER": "seq",
        "AT": lambda row: when(row.at),
        "WHO": lambda row: f"{row.actor.type} {row.actor.name}",
        "ACTION": "action",
        "TENANT": "tenant",
        "TARGET": "target",
        "DETAIL": lambda row: bytes(row.detail).decode(),
    }
    show(talk(at, work), columns, as_json=as_json)


@app.command
def verify(*, at: AtOptions, expect: str | None = None, as_json: Json = False) -> None:
    """Replay the chain of hashes. Note the newest hash elsewhere, and give it here next time. Exit code 1 if broken.

    Parameters
    ----------
    expect
        A hash that was noted before: it must still be in the chain.
    """

    async def work(session: Session) -> dict[str, Any]:
        return await session.run(session.admin.ask("GET", "/audit/verification", dict[str, Any], expect=expect))

    found = talk(at, work)
    if as_json:
        show_json(found)
    elif found["whole"]:
        print(f"The record is whole: {found['rows']} rows. Newest hash: {found['newestHash']}")
    else:
        print(f"The record is broken at row {found['brokenAt']}: {found['why']}")
    if not found["whole"]:
        raise SystemExit(1)
