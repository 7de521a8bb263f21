"""``tenant-security fleet``: the services of a vendor, as they last reported, and what tenants did."""

from cyclopts import App

from tenant_security.cli.link import AtOptions, Columns, Json, Session, show, show_json, talk, when
from tenant_security.wire import broker_api as api

app = App(name="fleet", help="The services of a vendor, as they last reported.", help_format="plaintext")


@app.command(name="list")
def list_(*, at: AtOptions, as_json: Json = False) -> None:
    """List every process that reported within a day."""

    async def work(session: Session) -> api.Fleet:
        return await session.run(session.admin.ask("GET", "/fleet", api.Fleet))

    found = talk(at, work)
    columns: Columns = {
        "SERVICE": "service",
        "INSTANCE": "instance",
        "HEALTH": "health",
        "VERSION": "software",
        "CONFIG AGE": lambda row: f"{row.snapshot_age_s:.0f} s",
        "QUARANTINED": "quarantined_tenants",
        "HEARD OF": lambda row: f"{max(0, found.now - row.seen) / 1000:.0f} s ago",
        "REASON": "reason",
    }
    if as_json:
        show_json(found)
    else:
        show(found.instances, columns, as_json=False)


@app.command
def activity(tenant: str | None = None, /, *, at: AtOptions, as_json: Json = False) -> None:
    """Show what a tenant did within a day, by the hour; or all together.

    Parameters
    ----------
    tenant
        Which one.
    """

    async def work(session: Session) -> api.Activity:
        return await session.run(session.admin.ask("GET", "/activity", api.Activity, tenant=tenant))

    found = talk(at, work)
    columns: Columns = {
        "HOUR": lambda row: when(row.start),
        "OPERATIONS": "operations",
        "ERRORS": lambda row: " ".join(f"{code}:{count}" for code, count in sorted(row.errors.items())) or "-",
        "KMS CALLS": lambda row: sum(row.kms),
        "SLOWER THAN 1 s": lambda row: sum(row.kms[found.kms_bounds_s.index(1.0) + 1 :]),
    }
    if as_json:
        show_json(found)
    else:
        show(found.buckets, columns, as_json=False)
