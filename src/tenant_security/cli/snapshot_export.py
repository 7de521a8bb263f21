"""``tenant-security snapshot export``: what the broker serves, as a file."""

from pathlib import Path

from tenant_security.authoring.keyfiles import write_whole
from tenant_security.cli.explain import explained
from tenant_security.cli.link import AtOptions, Session, talk
from tenant_security.cli.snapshot import app


@app.command
def export(out: Path, /, *, at: AtOptions, segment: int = 1) -> None:
    """Write what the broker serves of a segment to a file, sealed and signed as it is.

    For a start with the broker down, sites without a network, and drills: a proxy takes it as TSP_SNAPSHOT_FILE, and
    'recover' opens a tenant's documents with it.

    Parameters
    ----------
    out
        The file to write.
    segment
        Which segment.
    """
    part = out.with_name(f".{out.name}.part")

    async def work(session: Session) -> None:
        await session.run(session.admin.download_snapshot(segment, part))

    try:
        talk(at, work)
        with explained():
            write_whole(out, [part.read_bytes()])
    finally:
        part.unlink(missing_ok=True)
    print(f"Wrote {out}. Check it with 'snapshot verify'.")
