"""``tenant-security broker``: the daemon, and what its operator does with its database."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from tenant_security.cli.explain import explained

app = App(
    name="broker",
    help="""Run the Configuration Broker, which keeps what vendors and tenants sign and seal, and can read none of it.

All settings are environment variables: 'tenant-security broker --settings' lists them. Tables are made and brought up
to date at start. docs/broker-operate.md says how to run, back up, restore and move one.

Signals: SIGTERM and Ctrl-C drain and stop, a second one stops at once.
Exit codes: 0 stopped as asked; 78 the settings are wrong (every problem is printed).
""",
    help_format="plaintext",
)

_Url = Annotated[str, Parameter(env_var="BROKER_DATABASE_URL")]


@app.default
def serve(*, check: bool = False, settings: bool = False) -> None:
    """Run the broker.

    Parameters
    ----------
    check
        Read the settings and say what is wrong with them, without starting.
    settings
        Print every setting with its default and meaning, without starting.
    """
    from tenant_security.cli import run_broker  # noqa: PLC0415 - the server's libraries load only for the server

    run_broker.run(check_only=check, print_only=settings)


@app.command
def add_vendor(file: Path, /) -> None:
    """Keep a vendor without HTTP and without a setup token, from the file that 'vendor hand-over' wrote.

    Parameters
    ----------
    file
        The file. It holds no private key.
    """
    from tenant_security.cli import run_broker  # noqa: PLC0415

    with explained():
        print(f"Vendor {run_broker.add_vendor(file)} is kept.")


@app.command
def invite(
    email: str, /, *, vendor: str, tenant: str | None = None, role: Literal["owner", "admin", "auditor"] = "owner"
) -> None:
    """Print a link with which somebody joins a vendor or one of its tenants. It needs the database, not the daemon.

    Parameters
    ----------
    email
        Whose account it will be. An invitation that is open for it becomes void.
    vendor
        The vendor's id.
    tenant
        The tenant's id; without it the vendor itself.
    role
        What they will be.
    """
    from tenant_security.cli import broker_people  # noqa: PLC0415

    with explained():
        print(broker_people.invite(vendor, tenant, email, role))


@app.command
def forget_person(email: str, /) -> None:
    """Delete somebody's account everywhere: for whoever lost every way to sign in, before they are invited anew.

    Parameters
    ----------
    email
        Whose account.
    """
    from tenant_security.cli import broker_people  # noqa: PLC0415

    with explained():
        print(broker_people.forget(email))


@app.command
def backup(out: Path, /, *, database: _Url = "sqlite:///broker.db") -> None:
    """Copy a SQLite database while the broker runs. For PostgreSQL use pg_dump.

    Parameters
    ----------
    out
        The file to write; it must not be there yet.
    database
        The database's URL.
    """
    from tenant_security.cli import broker_copies  # noqa: PLC0415

    with explained():
        rows = broker_copies.backup(database, out)
        print(f"Wrote {out}: {rows} rows of audit, checked.")


@app.command
def migrate(*, from_: Annotated[str, Parameter(name="--from")], to: str) -> None:
    """Copy everything from one database to another, such as from SQLite to PostgreSQL. Stop the broker first.

    Both databases are brought up to date; the new one must be empty. Counts are compared and the audit's chain is
    replayed. It is also how a backup is restored: proxies are then sent whole snapshots, numbered above all that they
    have seen.

    Parameters
    ----------
    from_
        Where it is now: sqlite:///path or postgresql://user:password@host/name.
    to
        Where it is to be.
    """
    from tenant_security.cli import broker_copies  # noqa: PLC0415

    with explained():
        for table, count in broker_copies.migrate(from_, to).items():
            print(f"{count:>9} {table}")
