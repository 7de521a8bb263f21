"""``tenant-security admin``: people of a vendor and of its tenants, invited and listed."""

from typing import Annotated, Literal

from cyclopts import App, Parameter

from tenant_security.cli.link import AtOptions, Columns, Json, Session, show, show_json, talk, when
from tenant_security.wire import people_api as api

app = App(name="admin", help="People of a vendor and of its tenants.", help_format="plaintext")

Role = Literal["owner", "admin", "auditor"]


def _below(session: Session, tenant: str | None) -> str:
    return "" if tenant is None else session.admin.tenant_path(tenant)


@app.command
def invite(
    email: str,
    /,
    *,
    at: AtOptions,
    tenant: str | None = None,
    role: Role = "owner",
    link: Annotated[bool, Parameter(negative=())] = False,
    as_json: Json = False,
) -> None:
    """Invite somebody: the first owner of a tenant or of the vendor. Owners invite the others on the web.

    Parameters
    ----------
    email
        Their address.
    tenant
        To this tenant; without it, to the vendor.
    role
        What they will be; whoever is first must be an owner.
    link
        Print the link, for you to bring to them, instead of having the broker mail it.
    """

    async def work(session: Session) -> tuple[api.InvitationMade, str]:
        new = api.NewInvitation(email, role, "link" if link else "mail")
        path = f"{_below(session, tenant)}/invitations"
        made = await session.run(session.admin.ask("POST", path, api.InvitationMade, new))
        base, root = session.admin.account.base, session.vendor.root_fingerprint
        return made, "" if made.token is None else f"{base}/invitation#t={made.token}&r={root}"

    made, address = talk(at, work)
    if as_json:
        show_json({"invitation": made, "link": address or None})
    elif address:
        print(f"{address}\nGood once, until {when(made.expires)}.")
    else:
        print(f"{email} is invited{' by mail' if made.mailed else '; the mail could not be sent: use --link'}.")


@app.command(name="list")
def list_(*, at: AtOptions, tenant: str | None = None, as_json: Json = False) -> None:
    """List invitations and what became of them.

    Parameters
    ----------
    tenant
        Those of this tenant; without it, of the vendor.
    """

    async def work(session: Session) -> list[api.InvitationLine]:
        path = f"{_below(session, tenant)}/invitations"
        return await session.run(session.admin.ask("GET", path, list[api.InvitationLine]))

    columns: Columns = {
        "ADDRESS": "email",
        "ROLE": "role",
        "STATUS": "status",
        "MAILED": "mailed",
        "INVITED": lambda row: when(row.created),
        "GOOD UNTIL": lambda row: when(row.expires),
        "BY": lambda row: row.created_by.name,
    }
    show(talk(at, work), columns, as_json=as_json)
