"""``tenant-security tenant``: tenants and their tags, at a broker."""

from cyclopts import App

from tenant_security.cli.link import AtOptions, Columns, Json, Session, show, show_json, talk, when
from tenant_security.wire import broker_api as api

app = App(name="tenant", help="Tenants and their tags, at a broker.", help_format="plaintext")

_TAG_NAMES: dict[int, str] = {}
"""The tags' texts by their ids, as they were last read: lists of tenants name tags by id."""
_COLUMNS: Columns = {
    "TENANT": "id",
    "NAME": "name",
    "PRIMARY": "primary_config",
    "LEASING REQUIRED": "leasing_required",
    "OWN CONFIGS": "own_configs",
    "ACCEPTED": "accepted",
    "TAGS": lambda row: " ".join(_TAG_NAMES.get(each, str(each)) for each in row.tags) or "-",
    "UPDATED": lambda row: when(row.updated),
}


async def _tags(session: Session) -> dict[int, str]:
    for each in await session.run(session.admin.every("/tags", api.Tag)):
        _TAG_NAMES[each.id] = each.text
    return _TAG_NAMES


async def tag_ids(session: Session, texts: list[str], *, make: bool) -> tuple[int, ...]:
    """Return the ids of these tags, making those that are missing. Raises: ValueError for one that is not there."""
    known = {text: number for number, text in (await _tags(session)).items()}
    for text in texts:
        if text not in known:
            if not make:
                raise ValueError(f"there is no tag {text!r}")
            made = await session.run(session.admin.ask("POST", "/tags", api.Tag, api.NewTag(text)))
            known[text] = made.id
            _TAG_NAMES[made.id] = text
    return tuple(known[text] for text in texts)


@app.command
def add(
    tenant: str,
    /,
    *,
    at: AtOptions,
    name: str = "",
    tag: list[str] | None = None,
    leasing_required: bool | None = None,
    as_json: Json = False,
) -> None:
    """Make a tenant.

    Parameters
    ----------
    tenant
        Your own id of it; applications send it with every call.
    name
        What people call it; default: the id.
    tag
        A tag, instead of the vendor's default one. May be given several times; a new one is made.
    leasing_required
        Whether its keys must be leased; default: as the vendor has it.
    """

    async def work(session: Session) -> api.Tenant:
        await _tags(session)
        tags = None if tag is None else await tag_ids(session, tag, make=True)
        new = api.NewTenant(tenant, name or tenant, tags, leasing_required)
        return await session.run(session.admin.ask("POST", "/tenants", api.Tenant, new))

    show([talk(at, work)], _COLUMNS, as_json=as_json)


@app.command(name="list")
def list_(*, at: AtOptions, query: str | None = None, as_json: Json = False) -> None:
    """List tenants.

    Parameters
    ----------
    query
        Only those whose id or name contains this.
    """

    async def work(session: Session) -> list[api.Tenant]:
        await _tags(session)
        return await session.run(session.admin.every("/tenants", api.Tenant, query=query))

    show(talk(at, work), _COLUMNS, as_json=as_json)


@app.command(name="show")
def show_(tenant: str, /, *, at: AtOptions, as_json: Json = False) -> None:
    """Show a tenant and what it is assigned.

    Parameters
    ----------
    tenant
        Which one.
    """

    async def work(session: Session) -> tuple[api.Tenant, list[api.Assignment]]:
        await _tags(session)
        path = session.admin.tenant_path(tenant)
        found = await session.run(session.admin.ask("GET", path, api.Tenant))
        return found, await session.run(session.admin.every(f"{path}/assignments", api.Assignment))

    found, assigned = talk(at, work)
    if as_json:
        show_json({"tenant": found, "assignments": assigned})
        return
    show([found], _COLUMNS, as_json=False)
    print()
    show(
        assigned,
        {"CONFIG": "config", "ACTIVE": "active", "PRIMARY": "primary", "LEASING": "leasing"},
        as_json=False,
    )


@app.command
def rename(tenant: str, name: str, /, *, at: AtOptions) -> None:
    """Change what people call a tenant.

    Parameters
    ----------
    tenant
        Which one.
    name
        Its new name.
    """

    async def work(session: Session) -> None:
        path = session.admin.tenant_path(tenant)
        await session.run(session.admin.ask("PATCH", path, api.Tenant, api.TenantUpdate(name=name)))

    talk(at, work)
    print(f"Tenant {tenant} is called {name}.")


@app.command
def tag(tenant: str, /, *tags: str, at: AtOptions, remove: bool = False) -> None:
    """Give a tenant tags, or take them from it. A segment serves the tenants that have all of its tags.

    Parameters
    ----------
    tenant
        Which one.
    tags
        The tags' texts; new ones are made.
    remove
        Take them from it instead.
    """

    async def work(session: Session) -> api.Tenant:
        ids = await tag_ids(session, list(tags), make=not remove)
        update = api.TenantUpdate(tag_removals=ids) if remove else api.TenantUpdate(tag_additions=ids)
        path = session.admin.tenant_path(tenant)
        updated = await session.run(session.admin.ask("PATCH", path, api.Tenant, update))
        await session.run(session.admin.wrap_for_tags(tenant))
        return updated

    show([talk(at, work)], _COLUMNS, as_json=False)


@app.command
def tags(*, at: AtOptions, as_json: Json = False) -> None:
    """List the vendor's tags."""

    async def work(session: Session) -> list[api.Tag]:
        return await session.run(session.admin.every("/tags", api.Tag))

    show(talk(at, work), {"TAG": "text", "DEFAULT": "default", "TENANTS": "tenants"}, as_json=as_json)


@app.command
def remove(tenant: str, /, *, at: AtOptions) -> None:
    """Sever a tenant from the vendor: it is served no more. Its configs must be unassigned first ('kms unassign').

    Parameters
    ----------
    tenant
        Which one.
    """

    async def work(session: Session) -> None:
        await session.run(session.admin.ask("DELETE", session.admin.tenant_path(tenant), type(None)))

    talk(at, work)
    print(f"Tenant {tenant} is removed.")
