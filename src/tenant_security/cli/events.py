"""``tenant-security events``: what sinks refused, sending it again, and what arrives."""

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from tenant_security.errors import SettingsError

app = App(name="events", help="Look at a logdriver's spool: events that sinks refused, and what arrives.")

Spool = Annotated[Path, Parameter(env_var="LOGDRIVER_SPOOL_DIRECTORY")]
_POLL_S = 0.5


@app.command(name="list")
def list_(*, spool: Spool = Path("/logdriver"), tenant: str | None = None, json: bool = False) -> None:
    """List dead letters: events that a sink refused for good, or whose sink was removed, and why.

    Parameters
    ----------
    spool
        The logdriver's spool directory.
    tenant
        Only this tenant's, one event per line; without it a summary of every tenant.
    json
        Print one JSON object per event.
    """
    from tenant_security.logdriver.dead_letters import DeadLetters  # noqa: PLC0415
    from tenant_security.logdriver.spool import tenant_name  # noqa: PLC0415
    from tenant_security.spool.disk import LocalDisk  # noqa: PLC0415

    dead = DeadLetters(_existing(spool), LocalDisk())
    counts: dict[tuple[str, int, str, str], int] = {}
    found = False
    for name in dead.tenants() if tenant is None else [tenant_name(tenant)]:
        for letter in dead.read(name, repair=False):
            found = True
            if json:
                sys.stdout.write(msgspec.json.encode(letter).decode() + "\n")
            elif tenant is not None:
                line = bytes(letter.event).decode()
                sys.stdout.write(f"{letter.at} sink {letter.sink_config_id}: {letter.why} {line}\n")
            else:
                key = (letter.tenant_id, letter.sink_config_id, letter.sink, letter.why)
                counts[key] = counts.get(key, 0) + 1
    for (tenant_id, sink, kind, why), count in sorted(counts.items()):
        sys.stdout.write(f"{count} of tenant {tenant_id!r}, sink {sink} ({kind}): {why}\n")
    if not json and not found:
        sys.stdout.write("There are no dead letters" + ("" if tenant is None else f" of tenant {tenant!r}") + ".\n")


@app.command
def replay(tenant: str, *, sink: int | None = None, spool: Spool = Path("/logdriver")) -> None:
    """Have a tenant's dead letters sent again. The logdriver does it within seconds, or when it is next started.

    What is refused again becomes a dead letter again.

    Parameters
    ----------
    tenant
        Whose.
    sink
        Only those of the sink config with this id.
    spool
        The logdriver's spool directory.
    """
    from tenant_security.logdriver.dead_letters import DeadLetters, ReplayRequest  # noqa: PLC0415
    from tenant_security.logdriver.spool import tenant_name  # noqa: PLC0415
    from tenant_security.spool.disk import LocalDisk  # noqa: PLC0415

    dead = DeadLetters(_existing(spool), LocalDisk())
    letters = [x for x in dead.read(tenant_name(tenant), repair=False) if sink in (None, x.sink_config_id)]
    if not letters:
        sys.stderr.write(f"There are no dead letters of tenant {tenant!r}; 'tenant-security events list' shows all.\n")
        sys.exit(1)
    try:
        dead.ask(ReplayRequest(tenant, sink))
    except PermissionError:
        raise _not_allowed(spool) from None
    events = "1 event" if len(letters) == 1 else f"{len(letters)} events"
    sys.stdout.write(f"The logdriver was asked to send {events} again.\n")


@app.command
def tail(*, tenant: str | None = None, follow: bool = True, spool: Spool = Path("/logdriver")) -> None:
    """Print events as they are put into the spool, one line of JSON each.

    Parameters
    ----------
    tenant
        Only this tenant's.
    follow
        Wait for what comes; with --no-follow, print what the spool's journal holds and leave.
    spool
        The logdriver's spool directory.
    """
    from tenant_security.spool.disk import LocalDisk  # noqa: PLC0415
    from tenant_security.spool.follow import follow_log  # noqa: PLC0415
    from tenant_security.wire.stored_events import from_record  # noqa: PLC0415

    try:
        for record in follow_log(_existing(spool) / "journal", LocalDisk(), from_start=not follow):
            if record is None:
                if not follow:
                    return
                sys.stdout.flush()
                time.sleep(_POLL_S)
                continue
            event = from_record(record.payload)
            if event is not None and tenant in (None, event.tenant_id):
                sys.stdout.write(event.line.decode() + "\n")
    except (KeyboardInterrupt, BrokenPipeError):
        return


def _existing(spool: Path) -> Path:
    """Return a spool that is there and may be read. Raises: SettingsError."""
    journal = spool / "journal"
    try:
        is_spool = journal.is_dir()
    except PermissionError:
        raise _not_allowed(spool) from None
    if not is_spool:
        raise SettingsError([f"{spool} is no logdriver's spool; name it with --spool or LOGDRIVER_SPOOL_DIRECTORY"])
    if not os.access(journal, os.R_OK | os.X_OK):
        raise _not_allowed(spool)
    return spool


def _not_allowed(spool: Path) -> SettingsError:
    return SettingsError([f"{spool} is the logdriver's alone; run this as the user that the logdriver runs as"])
