"""``tenant-security vendor``: a vendor's keys, and the vendor at its broker."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import App, Parameter

from tenant_security.authoring import admin_key
from tenant_security.authoring.admitting import admit_admin
from tenant_security.authoring.keyfiles import write_whole
from tenant_security.authoring.vendor import Vendor
from tenant_security.cli.explain import explained, fail
from tenant_security.cli.link import (
    At,
    AtOptions,
    Json,
    Session,
    change_keys,
    remember_broker,
    remembered_broker,
    show_json,
    talk,
)
from tenant_security.crypto.seal import Suite
from tenant_security.wire.broker_api import NewVendor, TenantSecret, VendorDocuments
from tenant_security.wire.people_api import AuthorLine

app = App(
    name="vendor",
    help="""A vendor: its keys in a directory of yours, and what a broker keeps of it.

    tenant-security vendor init ./vendor --id acme --broker https://broker.example.com --setup-token ...
    tenant-security identity new proxy-1 --vendor ./vendor --env-file proxy-1.env
    tenant-security tenant add tenant-a --vendor ./vendor
    tenant-security kms add tenant-a-kms.json --tenant tenant-a --primary --vendor ./vendor

The broker can read none of the configs. Keep the directory as you keep other keys; move root.key offline.
""",
    help_format="plaintext",
)

_SUITES = {"xwing": Suite.XWING, "p256": Suite.P256}


@app.command
def init(
    directory: Path,
    /,
    *,
    id: str,  # noqa: A002 - what people call it
    name: str = "",
    broker: str = "",
    setup_token: Annotated[str, Parameter(env_var="BROKER_SETUP_TOKEN")] = "",
    ca_file: Annotated[Path | None, Parameter(env_var="CONFIG_BROKER_CA_FILE")] = None,
    default_tag: str = "default",
    suite: Literal["xwing", "p256"] = "xwing",
) -> None:
    """Make a vendor's keys, and have a broker keep the vendor. Prints the root fingerprint that every service pins.

    Run it again when the broker did not answer: keys that are there are used.

    Parameters
    ----------
    directory
        Where to keep the keys; made if it is not there, readable by you only.
    id
        The vendor's name in all documents: letters, digits, "." "_" and "-".
    name
        What people call the vendor; default: the id.
    broker
        The broker's address. Without it only the keys are made.
    setup_token
        The broker's BROKER_SETUP_TOKEN.
    ca_file
        Certificate authorities, in PEM, that alone are trusted for the broker.
    default_tag
        The tag that tenants get when nobody says otherwise.
    suite
        How configs are sealed: "xwing" (ML-KEM-768 with X25519), or "p256" where policy demands NIST curves alone.
    """
    with explained():
        exists = (directory / "vendor.json").exists()
        vendor = Vendor.load(directory) if exists else Vendor.create(directory, id, suite=_SUITES[suite])
        if vendor.id != id:
            raise ValueError(f"{directory} holds the keys of vendor {vendor.id!r}")
        if broker:
            remember_broker(directory, broker)
    if broker:

        async def register(session: Session) -> None:
            await session.run(session.admin.register(name or id, setup_token, default_tag=default_tag))

        talk(At(directory, broker, ca_file), register)
        print(f"Vendor {id} is kept at {broker}.")
    print(f"Root fingerprint: {vendor.root_fingerprint}")


@app.command
def hand_over(directory: Path, out: Path, /, *, name: str = "", default_tag: str = "default") -> None:
    """Write what a broker's operator needs to keep the vendor with 'broker add-vendor'. It holds no private key.

    Parameters
    ----------
    directory
        The vendor's directory.
    out
        The file to write.
    name
        What people call the vendor; default: its id.
    default_tag
        The tag that tenants get when nobody says otherwise.
    """
    with explained():
        vendor = Vendor.load(directory)
        state = vendor.state
        documents = VendorDocuments(state.root, state.manifest, state.segment_wraps)
        write_whole(out, [msgspec.json.encode(NewVendor(name or vendor.id, documents, default_tag)), b"\n"], mode=0o644)
        print(f"Wrote {out}. Tell the operator the root fingerprint by another way: {vendor.root_fingerprint}")


class _Shown(msgspec.Struct, rename="camel"):
    vendor: str
    root_fingerprint: str
    broker: str
    manifest_version: int
    manifest_expires: int
    segments: list[str]
    identities: int
    authors: list[str]
    head_required: bool


@app.command
def show(directory: Path, /, *, as_json: Json = False) -> None:
    """Say what the directory holds.

    Parameters
    ----------
    directory
        The vendor's directory.
    """
    with explained():
        vendor = Vendor.load(directory)
        manifest = vendor.manifest
        said = _Shown(
            vendor.id,
            vendor.root_fingerprint,
            remembered_broker(directory),
            manifest.version,
            manifest.expires,
            [
                f"{each.id} (epoch {each.epoch}{': ' if each.tags else ''}{' '.join(each.tags)})"
                for each in vendor.segments
            ],
            len(manifest.identities),
            [each.name for each in manifest.authors],
            manifest.head_required,
        )
    if as_json:
        show_json(said)
        return
    for member in said.__struct_fields__:
        value = getattr(said, member)
        print(f"{member.replace('_', ' '):<17} {', '.join(value) if isinstance(value, list) else value}")


@app.command
def pull(*, at: AtOptions) -> None:
    """Take over what another admin has changed of the keys at the broker."""

    async def work(session: Session) -> bool:
        return await session.run(session.admin.pull_keys())

    print("Taken over." if talk(at, work) else "There is nothing newer.")


@app.command
def publish(*, at: AtOptions) -> None:
    """Hand in the keys as the directory has them, such as after work on another machine. Renews the manifest."""

    async def work(session: Session) -> None:
        await session.publish(lambda vendor: vendor.renew())

    talk(at, work)
    print("Handed in.")


@app.command
def admit(email: str, /, *, fingerprint: str = "", at: AtOptions) -> None:
    """Let the key of somebody who signed up in the web app sign for this vendor. It needs root.key in the directory.

    Parameters
    ----------
    email
        Whose key. They accepted an invitation and made their keys.
    fingerprint
        What their account page shows. Not needed when their invitation carried a proof.
    """

    async def work(session: Session) -> str:
        found = await session.run(session.admin.ask("GET", "/authors", list[AuthorLine]))
        line = next((each for each in found if each.email == email.lower()), None)
        if line is None:
            raise ValueError(f"{email} has made no keys; let them sign in at the broker first")
        await session.publish(lambda vendor: admit_admin(vendor, line, compared=fingerprint))
        return line.name

    print(f"{talk(at, work)} can sign for this vendor now.")


@app.command
def rotate_admin(*, at: AtOptions, leave_secrets: bool = False) -> None:
    """Put a new admin.key in place of the old one, sign anew what that signed, and take its rights away.

    It needs root.key in the directory. Proxies serve on all the while. Run it again when it was interrupted, or when a
    tenant's second person had to approve first. Invitations that the old key signed must be made again.

    Parameters
    ----------
    leave_secrets
        Do not wait until proxies have bound tenant secrets that were imported: those that only the old key vouched for
        are refused until they are imported again.
    """
    with explained():
        admin_key.begin(at.vendor)
    _, at_broker = change_keys(at, admin_key.let_in)
    with explained():
        admin_key.sign_with_it(at.vendor)
        old = admin_key.old_key(at.vendor).key_id
    if at_broker:
        _sign_anew(at, old, leave_secrets=leave_secrets)
    change_keys(at, admin_key.take_out)
    with explained():
        admin_key.end(at.vendor)
    print("The new admin.key signs alone. Make a copy of it, destroy those of the old one, and move root.key offline.")
    if not at_broker:
        print("Build the snapshot anew with --fresh: proxies will refuse entries that the old key signed.")


def _sign_anew(at: At, old: str, *, leave_secrets: bool) -> None:
    """Sign anew what this key signed at the broker, and end the command where something is left that only it signed."""

    async def work(session: Session) -> tuple[admin_key.Left, int]:
        left = await session.run(admin_key.sign_anew(session.admin, old, lambda tenant: print(f"  {tenant}")))
        secrets = await session.run(session.admin.every("/secrets", TenantSecret))
        return left, sum(not each.bound for each in secrets)

    left, unbound = talk(at, work)
    for name, why in left.refused.items():
        sys.stderr.write(f"warning: {name} is not signed anew, what the broker shows is not good: {why}\n")
    again = "The old key counts until then. Run this command again afterwards"
    if left.waiting:
        fail(f"a second person has to approve first for {', '.join(left.waiting)}. {again}")
    if unbound and not leave_secrets:
        fail(
            f"{unbound} tenant secrets are not bound yet, and the old key may be all that vouches for them: run "
            f"'tenant-security secrets renew --wait 600'. {again}; --leave-secrets does not wait"
        )


@app.command
def require_head(required: bool = True, /, *, at: AtOptions) -> None:
    """Say whether proxies take a snapshot that no head vouches for. Publish heads on a schedule first: 'head publish'.

    Parameters
    ----------
    required
        --no-required takes it back.
    """

    async def work(session: Session) -> None:
        await session.publish(lambda vendor: vendor.require_head(required))

    talk(at, work)
    print("Heads are required." if required else "Heads are not required.")
