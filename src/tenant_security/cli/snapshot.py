"""``tenant-security snapshot``: make, build, check and look into sealed snapshots."""

import sys
import time
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import App, Parameter

from tenant_security.authoring.description import apply_description, read_description
from tenant_security.authoring.roster import Roster
from tenant_security.authoring.snapshot_writer import write_snapshot
from tenant_security.authoring.vendor import Vendor
from tenant_security.cli.explain import PROBLEM, explained, fail
from tenant_security.cli.snapshot_report import EXAMPLE, describe, print_report, print_unverified
from tenant_security.crypto.seal import Suite
from tenant_security.directory.snapshot_file import SnapshotFile
from tenant_security.directory.tenants import TenantDirectory
from tenant_security.directory.verify import SnapshotVerifier
from tenant_security.trust.refusal import Part, SnapshotRefusedError
from tenant_security.wire import snapshot as words
from tenant_security.wire.service_env import ServiceCredentials, credentials_from_env, parse_env

app = App(
    name="snapshot",
    help="""Tenants and their KMS configs as one sealed, signed file that proxies read.

From nothing to a running proxy:

    tenant-security snapshot init ./vendor --vendor acme
    tenant-security identity new proxy-1 --vendor ./vendor --env-file proxy-1.env
    tenant-security snapshot example > tenants.toml      # then edit it
    tenant-security snapshot build tenants.toml --vendor ./vendor --out tenants.snapshot

The configs in the file can be opened only by the identities that were let in before it was built, and nobody without
the vendor's keys can change it unnoticed. The description (tenants.toml) and ./vendor hold secrets; the snapshot
can be kept with other backups.
""",
    help_format="plaintext",
)

_SUITES = {"xwing": Suite.XWING, "p256": Suite.P256}
_HOUR_S = 3600


@app.command
def init(directory: Path, /, *, vendor: str, suite: Literal["xwing", "p256"] = "xwing") -> None:
    """Make a vendor: its root key, its admin key and the first segment.

    Prints the root fingerprint that every service pins. Move root.key offline afterwards; nothing here needs it.

    Example:  tenant-security snapshot init ./vendor --vendor acme

    Parameters
    ----------
    directory
        Where to keep the keys; made if it is not there, readable by you only.
    vendor
        The vendor's name in all documents: letters, digits, "." "_" and "-".
    suite
        How configs are sealed: "xwing" (with post-quantum protection) or "p256" (FIPS-approved algorithms).
    """
    with explained():
        made = Vendor.create(directory, vendor, suite=_SUITES[suite])
        print(f"Made vendor {made.id} in {directory}.")
        print(f"VENDOR_ROOT_FINGERPRINT={made.root_fingerprint}")


@app.command
def example() -> None:
    """Print a description of tenants to start from, in TOML."""
    print(EXAMPLE, end="")


@app.command
def build(
    description: Path,
    /,
    *,
    vendor: Path,
    out: Path,
    head_hours: float | None = None,
    segment: int = 1,
    fresh: bool = False,
) -> None:
    """Build a snapshot from a description of tenants and configs.

    When the output file exists, what is described as before keeps its version and its signature, and whoever is no
    longer described is left out. Proxies see the old file or the new one, never a part of it. A config with an error
    stops the build, and every error is named.

    Example:  tenant-security snapshot build tenants.toml --vendor ./vendor --out tenants.snapshot

    Parameters
    ----------
    description
        TOML, or JSON when its name ends in .json; "snapshot example" prints one.
    vendor
        The directory that "snapshot init" made.
    out
        The snapshot to write.
    head_hours
        Adds a head: proxies refuse this file once so many hours have passed, so that nobody can keep them on an old
        one. Build again well before.
    segment
        The segment that new configs are sealed to.
    fresh
        Do not take anything over from the output file: seal and sign everything anew.
    """
    with explained():
        owner = Vendor.load(vendor)
        wanted = read_description(description)
        if wanted.vendor not in (None, owner.id):
            fail(f"{description} is for vendor {wanted.vendor!r}, and {vendor} holds {owner.id!r}")
        continued = out.exists() and not fresh
        roster = Roster.read(owner, out, segment=segment) if continued else Roster(owner, segment=segment)
        changes = apply_description(wanted, roster, description.parent)
        head_life_s = None if head_hours is None else int(head_hours * _HOUR_S)
        written = write_snapshot(owner, out, roster, head_life_s=head_life_s)
        print(
            f"Wrote {out}: version {written.version}, {written.tenants} tenants, "
            f"{written.shared_configs} shared configs; {len(changes.changed)} changed, "
            f"{changes.unchanged} as before, {len(changes.removed)} removed."
        )
        if not owner.manifest.identities:
            print("No identity can open it yet: run 'tenant-security identity new', then build again.", file=sys.stderr)


@app.command
def verify(
    file: Path,
    /,
    *,
    root_fingerprint: str | None = None,
    env_file: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> None:
    """Check a snapshot by the rules of the proxy, and say what is in it.

    With --env-file it is checked as that service would read it, and every config is opened too (nothing of them is
    shown). With --root-fingerprint only signatures and rules are checked, which takes no secret.

    Exit code 0 when everything is good; 1 when the file is refused, an entry is quarantined or does not open.

    Examples:
        tenant-security snapshot verify tenants.snapshot --root-fingerprint 7eii-gect-...
        tenant-security snapshot verify tenants.snapshot --env-file proxy-1.env --json

    Parameters
    ----------
    file
        The snapshot.
    root_fingerprint
        The vendor's root fingerprint, as "snapshot init" printed it.
    env_file
        A service's env file.
    as_json
        Print JSON for machines.
    """
    with explained():
        credentials = None if env_file is None else credentials_from_env(parse_env(env_file.read_text("utf-8")))
        pinned = root_fingerprint or (credentials.root_fingerprint if credentials else None)
        if pinned is None:
            fail("say whom to trust: give --root-fingerprint, or --env-file of a service")
        assert pinned is not None
        report = describe(load(file, pinned, credentials), opened=credentials is not None)
        if as_json:
            print(msgspec.json.format(msgspec.json.encode(report)).decode())
        else:
            print_report(report)
        if not report.good:
            sys.exit(PROBLEM)


@app.command
def show(file: Path, /, *, as_json: Annotated[bool, Parameter(name="--json", negative=())] = False) -> None:
    """Show what a snapshot claims to be: vendor, versions, expiry, keys, identities, authors. Believes nothing.

    To know whether it is true, use "snapshot verify".

    Example:  tenant-security snapshot show tenants.snapshot

    Parameters
    ----------
    file
        The snapshot.
    as_json
        Print JSON for machines.
    """
    with explained():
        first = next(iter(next(SnapshotFile(file).portions(), [])), b"")
        header = words.decode(words.SnapshotHeader, first)
        print_unverified(header, as_json=as_json)


def load(file: Path, pinned: str, credentials: ServiceCredentials | None) -> TenantDirectory:
    """Verify a whole file at once.

    Raises: SnapshotRefusedError.
    """
    verifier: SnapshotVerifier | None = None
    for portion in SnapshotFile(file).portions():
        lines = portion
        if verifier is None and lines:
            verifier = SnapshotVerifier(
                lines[0], pinned=pinned, credentials=credentials, now_s=int(time.time()), source=str(file)
            )
            lines = lines[1:]
        if verifier is not None:
            verifier.add(lines)
    if verifier is None:
        raise SnapshotRefusedError(Part.FORMAT, f"{file} is empty")
    return verifier.finish()
