"""``tenant-security identity``: the keys by which a service is known to its vendor."""

import base64
import secrets
from pathlib import Path
from typing import Literal

import msgspec
from cyclopts import App

from tenant_security.authoring.identities import IdentityRequest, new_identity
from tenant_security.authoring.keyfiles import write_whole
from tenant_security.authoring.vendor import Vendor
from tenant_security.cli.explain import explained, fail
from tenant_security.cli.link import AtOptions, Columns, Json, Session, change_keys, remembered_broker, show, talk
from tenant_security.cli.segment import rotate_segments
from tenant_security.crypto.seal import Suite
from tenant_security.crypto.signing import fingerprint as fingerprint_of
from tenant_security.crypto.signing import parse_fingerprint
from tenant_security.secret import Secret
from tenant_security.wire.service_env import ServiceCredentials, render_env
from tenant_security.wire.snapshot import Status

app = App(
    name="identity",
    help="""The identity of a proxy: two key pairs and an env file.

On one machine:

    tenant-security identity new proxy-1 --vendor ./vendor --env-file proxy-1.env

When the vendor's keys are elsewhere, the private keys need never leave the machine that the proxy runs on:

    tenant-security identity request proxy-1 --config-id 1 --root-fingerprint 7eii-gect-... \\
        --env-file proxy-1.env --request proxy-1.request.json
    tenant-security identity approve proxy-1.request.json --vendor ./vendor --fingerprint ...

Build the snapshot again afterwards: it carries the segment's key, sealed to each identity.
""",
    help_format="plaintext",
)

_API_KEY_BYTES = 24
_SUITES = {"xwing": Suite.XWING, "p256": Suite.P256}


@app.command
def new(
    name: str,
    /,
    *,
    at: AtOptions,
    env_file: Path,
    segment: int = 1,
    tag: list[str] | None = None,
    bridge: bool = False,
) -> None:
    """Make an identity, let it in, and write its env file (mode 0600).

    Example:  tenant-security identity new proxy-1 --vendor ./vendor --env-file proxy-1.env

    Parameters
    ----------
    name
        What to call it; proxies that share an env file are one identity.
    env_file
        The env file to write. It holds the private keys and a new API_KEY, and must not be there yet.
    segment
        The segment it serves.
    tag
        A tag, for segments that are not for everybody. May be given several times.
    bridge
        Make the identity of a vendor bridge: it may sign for all tenants, and opens the vendor's own configs only.
    """
    with explained():
        _refuse_to_overwrite(env_file)

        def add(owner: Vendor) -> ServiceCredentials:
            made = owner.add_bridge(name) if bridge else owner.add_identity(name, segment=segment, tags=tag or ())
            _write_env(env_file, made, at.broker or remembered_broker(at.vendor))
            return made

        _, at_broker = change_keys(at, add)
        if bridge and at_broker:
            talk(at, lambda session: session.run(session.admin.wrap_shared()))
        print(f"Identity {name} is let in; its env file is {env_file}.{_next(at_broker)}")


@app.command
def request(
    name: str,
    /,
    *,
    config_id: int,
    root_fingerprint: str,
    env_file: Path,
    request: Path,
    segment: int = 1,
    suite: Literal["xwing", "p256"] = "xwing",
    tag: list[str] | None = None,
) -> None:
    """Make an identity where it will run: an env file that stays, and a request that goes to the vendor's admin.

    Parameters
    ----------
    name
        What to call it.
    config_id
        Its number, which no other identity of the vendor has.
    root_fingerprint
        The vendor's root fingerprint; take it from the admin, not from where the snapshot comes from.
    env_file
        The env file to write. It holds the private keys and a new API_KEY.
    request
        The request to write. It is not secret.
    segment
        The segment it serves.
    suite
        The suite of its encryption key.
    tag
        A tag, for segments that are not for everybody. May be given several times.
    """
    with explained():
        _refuse_to_overwrite(env_file)
        pinned = parse_fingerprint(root_fingerprint)
        asked, encryption, signing = new_identity(name, config_id, _SUITES[suite], tag or ())
        _write_env(env_file, ServiceCredentials(name, config_id, segment, encryption, signing, pinned))
        write_whole(request, [msgspec.json.format(msgspec.json.encode(asked), indent=1), b"\n"], mode=0o644)
        print(f"Wrote {env_file} (keep it here) and {request} (send it to the admin).")
        print(f"Tell the admin its fingerprint by another way: {asked.fingerprint}")


@app.command
def approve(request: Path, /, *, at: AtOptions, fingerprint: str) -> None:
    """Let in an identity that was made elsewhere.

    Parameters
    ----------
    request
        The request file.
    fingerprint
        What the request's maker told you, so that nobody else's keys are let in.
    """
    with explained():
        asked = msgspec.json.decode(request.read_bytes(), type=IdentityRequest)
        if parse_fingerprint(fingerprint) != asked.fingerprint:
            fail(f"{request} has another fingerprint: {asked.fingerprint}; ask its maker again")
        _, at_broker = change_keys(at, lambda owner: owner.approve_identity(asked))
        print(f"Identity {asked.id} is let in.{_next(at_broker)}")


@app.command
def revoke(name: str, /, *, at: AtOptions) -> None:
    """Stop trusting an identity and begin a new epoch in its segments.

    At a broker every config is wrapped anew at once. Without one, build the snapshot again at once. Then rotate the KMS
    credentials in it: the identity could read them.

    Parameters
    ----------
    name
        Which one.
    """
    if at.broker or remembered_broker(at.vendor):
        talk(at, lambda session: _revoke_at_broker(session, name))
        print(f"Identity {name} is revoked, and every config is wrapped anew.")
    else:
        with explained():
            Vendor.load(at.vendor).revoke_identity(name)
            print(f"Identity {name} is revoked. Now build the snapshot again.")
    print("Rotate the KMS credentials it could read.")


async def _revoke_at_broker(session: Session, name: str) -> int:
    await session.run(session.admin.pull_keys())
    opened = [each.id for each in session.vendor.segments if name in session.vendor.services_of(each)]
    revoked = any(each.id == name and each.status is Status.REVOKED for each in session.vendor.manifest.identities)
    if revoked:  # a run that was interrupted is taken up
        opened = [each.id for each in session.vendor.segments if session.vendor.rotates(each.id)]
        return await rotate_segments(session, opened, lambda _: None)
    return await rotate_segments(session, opened, lambda vendor: vendor.revoke_identity(name, keep_epochs=True))


@app.command(name="list")
def list_(*, at: AtOptions, as_json: Json = False) -> None:
    """List the identities of a vendor."""
    with explained():
        if at.broker or remembered_broker(at.vendor):
            talk(at, lambda session: session.run(session.admin.pull_keys()))
        identities = Vendor.load(at.vendor).manifest.identities
    columns: Columns = {
        "NUMBER": "config",
        "STATUS": lambda row: row.status.value,
        "IDENTITY": "id",
        "TAGS": "tags",
        "FINGERPRINT": lambda row: fingerprint_of(row.encryption + row.signing),
    }
    show(identities, columns, as_json=as_json)


def _next(at_broker: bool) -> str:
    return "" if at_broker else " Now build the snapshot again."


def _refuse_to_overwrite(env_file: Path) -> None:
    if env_file.exists():
        fail(f"{env_file} exists; move it away first, because the keys in it cannot be made again")


def _write_env(env_file: Path, credentials: ServiceCredentials, broker: str = "") -> None:
    api_key = Secret(base64.b64encode(secrets.token_bytes(_API_KEY_BYTES)).decode("ascii"))
    lines = render_env(credentials, api_key) + (f"CONFIG_BROKER_URL={broker}\n" if broker else "")
    write_whole(env_file, [lines.encode("utf-8")])
