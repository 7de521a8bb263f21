"""``tenant-security kms add``, ``list``, ``assign`` and so on: KMS configs and who may use them, at a broker."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import msgspec

from tenant_security.authoring.at_broker import Labels, config_type
from tenant_security.authoring.roster import Roster
from tenant_security.authoring.roster import assign as assignment
from tenant_security.cli.explain import explained
from tenant_security.cli.kms import app
from tenant_security.cli.link import At, AtOptions, Columns, Json, Session, show, show_json, talk, when
from tenant_security.trust.entries import spares_after
from tenant_security.wire import broker_api as api
from tenant_security.wire import snapshot as words

_COLUMNS: Columns = {
    "CONFIG": "id",
    "OWNER": lambda row: row.owner or "(vendor)",
    "TYPE": "type",
    "NAME": "name",
    "LEASING": "leasing_allowed",
    "ASSIGNED": "assignment_count",
    "SECRETS": "secret_count",
    "SEGMENTS": "segments",
    "UPDATED": lambda row: when(row.updated),
}

Uses = tuple[words.RecordAssignment, ...]


@app.command
def add(
    file: Path,
    /,
    *,
    at: AtOptions,
    tenant: str | None = None,
    name: str = "",
    primary: bool = False,
    leasing: bool = False,
) -> None:
    """Seal a KMS config here and hand it in: of one tenant, which is then assigned it, or of the vendor.

    Parameters
    ----------
    file
        The config as JSON. It holds credentials; the broker gets it sealed.
    tenant
        Whose it is; without it, it is the vendor's own, which many tenants may be assigned.
    name
        What people call it.
    primary
        Whether new keys of the tenant are wrapped with it.
    leasing
        Whether keys may be leased with it.
    """
    with explained():
        text = file.read_bytes()
        labels = Labels(config_type(text), name, leasing)

    async def work(session: Session) -> int:
        number = await session.run(session.admin.new_number())
        if tenant is None:
            await session.run(session.admin.put_shared(number, text, name=name, leasing=leasing))
            return number

        def decide(roster: Roster) -> None:
            uses, own = _held(roster, tenant)
            new = assignment(number, primary=primary, leasing=leasing)
            _put(roster, tenant, (*_with_primary(uses, primary), new), own, {number: text})

        await session.run(session.admin.change(tenant, decide, {number: labels}))
        return number

    number = talk(at, work)
    owner = f"tenant {tenant}" if tenant else "the vendor"
    print(f"Config {number} of {owner} is kept, sealed.")


def _put(roster: Roster, tenant: str, uses: Uses, keep: Collection[int], configs: Mapping[int, bytes]) -> None:
    """Change what a tenant is assigned; whether it must lease stays, and its spares as far as they can."""
    entry = roster.tenants.get(tenant)
    spares = spares_after(entry.record.assignments, uses, entry.record.spares) if entry else ()
    must_lease = entry is not None and entry.record.leasing_required
    roster.put_tenant(tenant, uses, configs=configs, keep=keep, leasing_required=must_lease, spares=spares)


def _held(roster: Roster, tenant: str) -> tuple[Uses, frozenset[int]]:
    entry = roster.tenants.get(tenant)
    return (entry.record.assignments, frozenset(entry.configs)) if entry else ((), frozenset())


def _with_primary(uses: Uses, taken: bool) -> Uses:
    """Return these assignments, none of them primary where another takes the place."""
    return tuple(msgspec.structs.replace(each, primary=False) for each in uses) if taken else uses


@app.command(name="list")
def list_(*, at: AtOptions, tenant: str | None = None, as_json: Json = False) -> None:
    """List the vendor's KMS configs, or a tenant's own.

    Parameters
    ----------
    tenant
        Whose.
    """

    async def work(session: Session) -> list[api.Config]:
        path = "/configs" if tenant is None else f"{session.admin.tenant_path(tenant)}/configs"
        return await session.run(session.admin.every(path, api.Config))

    show(talk(at, work), _COLUMNS, as_json=as_json)


@app.command
def update(number: int, file: Path, /, *, at: AtOptions, tenant: str | None = None) -> None:
    """Seal a new version of a config, such as with new credentials. Its key path must stay the same.

    Parameters
    ----------
    number
        Which config.
    file
        The config as JSON.
    tenant
        Whose it is; without it, the vendor's.
    """
    with explained():
        text = file.read_bytes()

    async def work(session: Session) -> bool:
        if tenant is None:
            described = await session.run(session.admin.ask("GET", f"/configs/{number}", api.Config))
            flow = session.admin.put_shared(number, text, name=described.name, leasing=described.leasing_allowed)
            return await session.run(flow)

        def decide(roster: Roster) -> None:
            uses, own = _held(roster, tenant)
            _put(roster, tenant, uses, own - {number}, {number: text})

        return await session.run(session.admin.change(tenant, decide))

    print("A new version is kept." if talk(at, work) else "It is the same as before.")


def _reassign(at: At, tenant: str, change: Callable[[Uses], Uses], *, drop: int | None = None) -> bool:
    """Change what a tenant is assigned, and keep its own configs; ``drop`` is one that goes with its assignment."""

    async def work(session: Session) -> bool:
        def decide(roster: Roster) -> None:
            uses, own = _held(roster, tenant)
            _put(roster, tenant, change(uses), own - {drop}, {})

        return await session.run(session.admin.change(tenant, decide))

    return talk(at, work)


def _changed(uses: Uses, number: int, **members: bool) -> Uses:
    if all(each.config != number for each in uses):
        raise ValueError(f"config {number} is not assigned to this tenant")
    return tuple(msgspec.structs.replace(each, **members) if each.config == number else each for each in uses)


@app.command(name="assign")
def assign_(number: int, tenant: str, /, *, at: AtOptions, primary: bool = False, leasing: bool = False) -> None:
    """Assign a config of the vendor to a tenant.

    Parameters
    ----------
    number
        Which config.
    tenant
        To whom.
    primary
        Whether new keys of the tenant are wrapped with it.
    leasing
        Whether keys may be leased with it.
    """
    new = assignment(number, primary=primary, leasing=leasing)
    _reassign(at, tenant, lambda uses: (*(each for each in _with_primary(uses, primary) if each.config != number), new))
    print(f"Config {number} is assigned to tenant {tenant}.")


@app.command
def unassign(number: int, tenant: str, /, *, at: AtOptions) -> None:
    """Take a config from a tenant. One of the tenant's own is removed: what it wrapped can be read no more.

    Parameters
    ----------
    number
        Which config.
    tenant
        From whom.
    """
    _reassign(at, tenant, lambda uses: tuple(each for each in uses if each.config != number), drop=number)
    print(f"Config {number} is taken from tenant {tenant}.")


@app.command
def primary(number: int, tenant: str, /, *, at: AtOptions) -> None:
    """Wrap a tenant's new keys with this config from now on.

    Parameters
    ----------
    number
        Which config.
    tenant
        Whose.
    """
    _reassign(at, tenant, lambda uses: _changed(_with_primary(uses, taken=True), number, primary=True))
    print(f"Config {number} is the primary of tenant {tenant}.")


@app.command
def enable(number: int, tenant: str, /, *, at: AtOptions, off: bool = False) -> None:
    """Let a tenant's config be used, or, with --off, stop that: what it wrapped answers 202 until it is on again.

    Parameters
    ----------
    number
        Which config.
    tenant
        Whose.
    off
        Switch it off.
    """
    members = {"active": False, "primary": False} if off else {"active": True}
    _reassign(at, tenant, lambda uses: _changed(uses, number, **members))
    print(f"Config {number} of tenant {tenant} is {'off' if off else 'on'}.")


@app.command
def leasing(number: int, tenant: str | None = None, /, *, at: AtOptions, off: bool = False) -> None:
    """Lease a tenant's keys with a config, or stop; without a tenant, allow that for a config of the vendor.

    Parameters
    ----------
    number
        Which config.
    tenant
        Whose.
    off
        Stop.
    """
    if tenant is not None:
        _reassign(at, tenant, lambda uses: _changed(uses, number, leasing=not off))
    else:

        async def work(session: Session) -> None:
            await session.run(session.admin.allow_leasing(number, allowed=not off))

        talk(at, work)
    print(f"Leasing with config {number} is {'off' if off else 'on'}.")


@app.command(name="test")
def try_out(number: int, tenant: str, /, *, at: AtOptions, as_json: Json = False) -> None:
    """Have a proxy try a tenant's config, from where it will be used. Exit code 1 when it does not work.

    Parameters
    ----------
    number
        Which config.
    tenant
        Whose.
    """

    async def work(session: Session) -> api.ConfigTest:
        path = session.admin.tenant_path(tenant)
        begun = await session.run(session.admin.ask("POST", f"{path}/configs/{number}/test", api.ConfigTest))
        while begun.state in ("waiting", "running"):
            begun = await session.run(session.admin.ask("GET", f"{path}/tests/{begun.id}", api.ConfigTest, wait=20))
        return begun

    found = talk(at, work)
    if as_json:
        show_json(found)
    elif found.state == "expired":
        print("No proxy tried it within a minute: is one connected that serves this tenant? See 'fleet list'.")
    else:
        columns = {"STEP": "step", "OK": "ok", "MILLISECONDS": "milliseconds", "MESSAGE": "message"}
        show(found.checks, columns, as_json=False)
    if not found.ok:
        raise SystemExit(1)
