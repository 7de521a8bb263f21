"""The development mode's state directory: a demo vendor's keys, identities, and the key of each demo config.

Shape: ``vendor/`` the vendor's keys; ``service.env`` and ``bridge.env`` the identities of proxy and bridge, with their
API keys; ``demo-kms.json`` the keys; ``broker.db`` and ``broker.key`` what the broker keeps; ``config-cache/`` what the
proxy keeps of it.
"""

import base64
import json
import shutil
from pathlib import Path
from typing import Any, Final

import msgspec

from tenant_security.authoring.keyfiles import write_whole
from tenant_security.authoring.roster import Roster, assign
from tenant_security.authoring.snapshot_writer import write_snapshot
from tenant_security.authoring.vendor import Vendor
from tenant_security.cli.demo_kms import LOCAL_ONLY, DemoKms
from tenant_security.cli.demo_tenants import SECRETS, Use, demo_tenants, provider_of
from tenant_security.crypto.aead import random_bytes
from tenant_security.errors import SettingsError
from tenant_security.kms.local import LocalKmsKey
from tenant_security.outbound.flow import finished
from tenant_security.proxy.secret_store import Rotation, SecretFile
from tenant_security.secret import Secret
from tenant_security.wire import edek
from tenant_security.wire.edek import EncryptedDek
from tenant_security.wire.kms.local import LocalKmsConfig
from tenant_security.wire.kms_configs import decode_kms_config
from tenant_security.wire.service_env import parse_env, render_env

VENDOR: Final = "demo-vendor"
PROXY: Final = "demo-proxy"
BRIDGE: Final = "demo-bridge"
FAKES_DIRECTORY: Final = "fake-kms"
"""Below the state directory, the state of a demo on fakes: they forget their keys when they end, and what they wrapped
is never kept among what can be opened again."""
_KEY_BYTES: Final = 32
_API_KEY_BYTES: Final = 12
_OURS: Final = frozenset(
    {
        "vendor",
        "service.env",
        "bridge.env",
        "logdriver",
        "demo-kms.json",
        "snapshot.jsonl",
        "broker.key",
        "config-cache",
        FAKES_DIRECTORY,
    }
)
_OURS_TOO: Final = ("tenant-secrets.sqlite", "broker.db")
"""What SQLite puts files beside."""


class DevState(msgspec.Struct, frozen=True):
    """What was found or made in the directory. ``proxy`` and ``bridge`` are their settings; both hold secrets."""

    directory: Path
    vendor: Vendor
    proxy: dict[str, str]
    bridge: dict[str, str]
    tenants: dict[str, tuple[Use, ...]]
    configs: dict[int, bytes]
    """The demo's configs by number, as JSON."""


def open_state(directory: Path, seed: str, kms: DemoKms = LOCAL_ONLY) -> DevState:
    """Make what is missing. Raises: KeyFileError; OSError."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    tenants = demo_tenants(seed, kms.configs)
    wanted = [use.config for uses in tenants.values() for use in uses]
    configs = _demo_configs(directory / "demo-kms.json", wanted)
    configs |= {
        use.config: kms.configs[provider]
        for tenant, uses in tenants.items()
        if (provider := provider_of(tenant)) in kms.configs
        for use in uses
    }
    proxy_env, bridge_env = directory / "service.env", directory / "bridge.env"
    if not proxy_env.exists() or not bridge_env.exists():
        for left in (directory / "vendor", proxy_env, bridge_env):  # half made by a start that was interrupted
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
        vendor = Vendor.create(directory / "vendor", VENDOR)
        identities = {bridge_env: vendor.add_bridge(BRIDGE), proxy_env: vendor.add_identity(PROXY)}
        for path, credentials in identities.items():
            write_whole(path, [render_env(credentials, _new_api_key()).encode()])
    vendor = Vendor.load(directory / "vendor")
    proxy, bridge = parse_env(proxy_env.read_text()), parse_env(bridge_env.read_text())
    return DevState(directory, vendor, proxy, bridge, tenants, configs)


def empty(directory: Path) -> None:
    """Remove a state directory, but never a directory that holds something else. Raises: SettingsError."""
    if not directory.exists():
        return
    names = {each.name for each in directory.iterdir()} - _OURS
    if foreign := sorted(each for each in names if not each.startswith(_OURS_TOO)):
        raise SettingsError([f"{directory} holds {foreign[0]!r}, which is not ours; choose another --state-dir"])
    shutil.rmtree(directory)


def prepare_files(directory: Path, seed: str) -> dict[str, str]:
    """Write the demo as a snapshot file; return the settings of a proxy that needs no broker.

    Raises: KeyFileError; OSError.
    """
    state = open_state(directory, seed)
    snapshot, secrets_file = directory / "snapshot.jsonl", directory / "tenant-secrets.sqlite"
    roster = Roster.read(state.vendor, snapshot) if snapshot.exists() else Roster(state.vendor)
    for tenant, uses in state.tenants.items():
        put_demo_tenant(roster, tenant, uses, state.configs)
    write_snapshot(state.vendor, snapshot, roster)
    if seed == "conformance":
        _seed_secrets(secrets_file, state.configs)
    return state.proxy | {
        "TSP_SNAPSHOT_FILE": str(snapshot),
        "TSP_TENANT_SECRETS_FILE": str(secrets_file),
        **DEV_SETTINGS,
    }


DEV_SETTINGS: Final = {"TSP_ALLOW_LOCAL_KMS": "true", "TSP_EGRESS_ALLOW": "127.0.0.0/8,::1"}
"""What a proxy of the development mode may do beyond one in production."""


def put_demo_tenant(roster: Roster, tenant: str, uses: tuple[Use, ...], configs: dict[int, bytes]) -> None:
    """Make one of the demo's tenants what it should be."""
    roster.put_tenant(
        tenant,
        [assign(use.config, active=use.active, primary=use.primary, leasing=use.leasing) for use in uses],
        configs={use.config: configs[use.config] for use in uses},
    )


def new_demo_secret(config: bytes, number: int) -> tuple[bytes, bytes]:
    """Make a tenant secret and wrap it with a config of the demo. Returns it plain, and its EDEK."""
    local = decode_kms_config(config)
    assert isinstance(local, LocalKmsConfig)
    plain = random_bytes(_KEY_BYTES)
    return plain, edek.encode(EncryptedDek(finished(LocalKmsKey(local).wrap(plain)), number))


def _seed_secrets(path: Path, configs: dict[int, bytes]) -> None:
    store = SecretFile(path)
    try:
        for each in SECRETS:
            _, wrapped = new_demo_secret(configs[each.config], each.config)
            store.put(each.tenant, "deterministic", each.path, wrapped, Rotation(each.rotation))
    finally:
        store.close()


def _new_api_key() -> Secret[str]:
    return Secret(base64.b64encode(random_bytes(_API_KEY_BYTES)).decode("ascii"))


def _demo_configs(path: Path, wanted: list[int]) -> dict[int, bytes]:
    keys: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    missing = [each for each in wanted if str(each) not in keys]
    if missing:
        keys |= {str(each): base64.b64encode(random_bytes(_KEY_BYTES)).decode("ascii") for each in missing}
        write_whole(path, [json.dumps(keys, indent=1).encode()])
    return {each: _local_config(each, keys[str(each)]) for each in wanted}


def _local_config(config_id: int, key: str) -> bytes:
    config: dict[str, Any] = {
        "type": "LOCAL",
        "version": 1,
        "credentials": {"keys": {"1": key}},
        "keyPath": {"keyId": f"demo-{config_id}"},
    }
    return json.dumps(config).encode()
