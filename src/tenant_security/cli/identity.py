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
from tenant_security.crypto.seal import Suite
from tenant_security.crypto.signing import parse_fingerprint
from tenant_security.secret import Secret
from tenant_security.wire.service_env import ServiceCredentials, render_env

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
    vendor: Path,
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
    vendor
        The directory that "snapshot init" made.
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
        owner = Vendor.load(vendor)
        credentials = owner.add_bridge(name) if bridge else owner.add_identity(name, segment=segment, tags=tag or ())
        _write_env(env_file, credentials)
        print(f"Identity {name} is let in; its env file is {env_file}. Now build the snapshot again.")


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
def approve(request: Path, /, *, vendor: Path, fingerprint: str) -> None:
    """Let in an identity that was made elsewhere.

    Parameters
    ----------
    request
        The request file.
    vendor
        The directory that "snapshot init" made.
    fingerprint
        What the request's maker told you, so that nobody else's keys are let in.
    """
    with explained():
        asked = msgspec.json.decode(request.read_bytes(), type=IdentityRequest)
        if parse_fingerprint(fingerprint) != asked.fingerprint:
            fail(f"{request} has another fingerprint: {asked.fingerprint}; ask its maker again")
        Vendor.load(vendor).approve_identity(asked)
        print(f"Identity {asked.id} is let in. Now build the snapshot again.")


@app.command
def revoke(name: str, /, *, vendor: Path) -> None:
    """Stop trusting an identity and begin a new epoch in its segments.

    Build the snapshot again at once, and then rotate the KMS credentials in it: the identity could read them.

    Parameters
    ----------
    name
        Which one.
    vendor
        The directory that "snapshot init" made.
    """
    with explained():
        Vendor.load(vendor).revoke_identity(name)
        print(f"Identity {name} is revoked. Build the snapshot again, then rotate the KMS credentials it could read.")


@app.command(name="list")
def list_(*, vendor: Path) -> None:
    """List the identities of a vendor.

    Parameters
    ----------
    vendor
        The directory that "snapshot init" made.
    """
    with explained():
        for identity in Vendor.load(vendor).manifest.identities:
            print(f"{identity.config:>6}  {identity.status.value:<8} {identity.id}  {' '.join(identity.tags)}")


def _refuse_to_overwrite(env_file: Path) -> None:
    if env_file.exists():
        fail(f"{env_file} exists; move it away first, because the keys in it cannot be made again")


def _write_env(env_file: Path, credentials: ServiceCredentials) -> None:
    api_key = Secret(base64.b64encode(secrets.token_bytes(_API_KEY_BYTES)).decode("ascii"))
    write_whole(env_file, [render_env(credentials, api_key).encode("utf-8")])
