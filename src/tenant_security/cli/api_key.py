"""``tenant-security api-key``: the file of applications that may ask a proxy."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from cyclopts import App
from rich.console import Console
from rich.table import Table

from tenant_security.authoring.keyfiles import write_whole
from tenant_security.cli.explain import fail
from tenant_security.wire.applications import (
    SLOTS,
    Application,
    ApplicationsFile,
    WrongFileError,
    new_key,
    new_salt,
    read_applications,
)

app = App(
    name="api-key",
    help="""The applications that may ask a proxy, each with its own keys, rights and rate.

    tenant-security api-key new billing --file applications.json --operations document/unwrap --tenants 'eu-*'

Give the file to the proxy as TSP_APPLICATIONS_FILE; it reads it again when it changes. An application has two keys at
most: make the second, move the application, then remove the first.
""",
    help_format="plaintext",
)


@app.command
def new(
    name: str,
    /,
    *,
    file: Path,
    operations: list[str] | None = None,
    tenants: list[str] | None = None,
    rate: float | None = None,
    expires_in_days: int | None = None,
) -> None:
    """Make an application's key, print it once, and write what checks it to the file.

    For an application that the file has already this is its second key; its rights stay as they are.

    Parameters
    ----------
    name
        What to call the application: in metrics, in logs, in refusals.
    file
        The file of applications. It is made if it is not there.
    operations
        What it may do, such as document/unwrap. May be given several times; without it, everything.
    tenants
        For whom: ids, or beginnings of ids that end with "*". May be given several times; without it, for everybody.
    rate
        How many requests it may make each second at one proxy process.
    expires_in_days
        After how many days the key is not good any more. Without it, never.
    """
    known = _read(file) if file.exists() else ApplicationsFile(new_salt())
    old = next((each for each in known.applications if each.name == name), None)
    if old is not None and (operations or tenants or rate):
        fail(f"the file has an application {name!r} already; its rights are changed in the file itself")
    if old is not None and len(old.keys) >= SLOTS:
        fail(f"{name!r} has {SLOTS} keys; remove one with 'tenant-security api-key remove' first")
    expires = datetime.now(UTC) + timedelta(days=expires_in_days) if expires_in_days is not None else None
    text, key = new_key(known.salt, expires)
    application = old or Application(
        name=name,
        operations=tuple(operations) if operations else None,
        tenants=tuple(tenants) if tenants else None,
        requests_per_second=rate,
    )
    changed = msgspec.structs.replace(application, keys=(*application.keys, key))
    _write(file, known, [each for each in known.applications if each.name != name] + [changed])
    print(text.reveal())


@app.command
def remove(key_id: str, /, *, file: Path) -> None:
    """Remove a key by its id, the eight characters after "tsk_". Who still uses it gets 401 within seconds.

    Parameters
    ----------
    key_id
        The key's id; "api-key list" shows it.
    file
        The file of applications.
    """
    known = _read(file)
    kept = [
        msgspec.structs.replace(each, keys=tuple(key for key in each.keys if key.id != key_id))
        for each in known.applications
    ]
    if sum(len(each.keys) for each in kept) == sum(len(each.keys) for each in known.applications):
        fail(f"the file has no key {key_id!r}")
    _write(file, known, kept)


@app.command(name="list")
def list_(*, file: Path, json: bool = False) -> None:
    """List applications, their rights and their keys' ids.

    Parameters
    ----------
    file
        The file of applications.
    json
        Print JSON instead of a table.
    """
    known = _read(file)
    if json:
        print(msgspec.json.encode(known.applications).decode())
        return
    table = Table("Application", "May", "For", "Requests/s", "Keys")
    for each in known.applications:
        keys = [f"{key.id}{f' until {key.expires:%Y-%m-%d}' if key.expires else ''}" for key in each.keys]
        table.add_row(
            each.name,
            "\n".join(each.operations or ("everything",)),
            "\n".join(each.tenants or ("everybody",)),
            "any" if each.requests_per_second is None else f"{each.requests_per_second:g}",
            "\n".join(keys) or "none",
        )
    Console().print(table)


def _read(file: Path) -> ApplicationsFile:
    with _explained(file):
        return read_applications(file.read_bytes())


def _write(file: Path, known: ApplicationsFile, applications: list[Application]) -> None:
    changed = msgspec.structs.replace(known, applications=tuple(applications))
    text = msgspec.json.format(msgspec.json.encode(changed), indent=1) + b"\n"
    with _explained(file):
        read_applications(text)
        write_whole(file, [text])


@contextlib.contextmanager
def _explained(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as refused:
        fail(f"{file}: {refused.strerror}")
    except WrongFileError as wrong:
        fail(f"{file} cannot be used: {wrong}")
