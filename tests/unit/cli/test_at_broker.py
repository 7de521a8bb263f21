"""The vendor's command line at a broker: what an admin types, and what is there afterwards."""

import asyncio
import base64
import json
from pathlib import Path

import pytest

from tenant_security.authoring.vendor import Vendor
from tenant_security.cli import admin, apply, audit, head, identity, kms_configs, secrets, segment, tenant, vendor
from tenant_security.cli.link import At
from tenant_security.proxy.secret_store import Rotation, SecretFile
from tenant_security.testing.brokers import SETUP_TOKEN, running_broker
from tenant_security.testing.proxies import running_proxy
from tenant_security.wire import edek
from tenant_security.wire.edek import EncryptedDek


def local(name: str, key: bytes = bytes(32)) -> dict[str, object]:
    keys = {"1": base64.b64encode(key).decode()}
    return {"type": "LOCAL", "version": 1, "credentials": {"keys": keys}, "keyPath": {"keyId": name}}


class Desk:
    """An admin's machine. Commands run in a thread, as each has an event loop of its own."""

    def __init__(self, directory: Path, broker) -> None:
        self.directory = directory
        self.broker = broker
        self.at = At(directory / "vendor", broker.url)

    async def run(self, command, *arguments, **options):
        options = {"at": self.at} | options
        return await asyncio.to_thread(command, *arguments, **options)

    async def new(self) -> None:
        await self.run(vendor.init, self.at.vendor, at=None, id="acme", broker=self.broker.url, setup_token=SETUP_TOKEN)

    def file(self, name: str, content: object) -> Path:
        path = self.directory / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path


@pytest.fixture
async def desk(tmp_path):
    async with running_broker(tmp_path / "world", {}) as broker:
        made = Desk(tmp_path, broker)
        await asyncio.to_thread(vendor.init, made.at.vendor, id="acme", broker=broker.url, setup_token=SETUP_TOKEN)
        yield made


@pytest.fixture
async def proxy(desk):
    """A proxy with the env file that ``identity new`` writes."""
    await desk.run(identity.new, "proxy-1", env_file=desk.directory / "proxy" / "service.env")
    async with running_proxy(desk.directory / "proxy", broker_url=desk.broker.url) as made:
        yield made


@pytest.fixture(autouse=True)
def a_place_for_the_env_file(tmp_path):
    (tmp_path / "proxy").mkdir()


async def served(proxy, name):
    async with asyncio.timeout(20):
        while (await proxy.call("document/wrap", name))[0] != 200:
            await asyncio.sleep(0.05)


async def test_an_admin_brings_a_tenant_to_a_proxy(desk, proxy, capsys):
    kms = desk.file("kms.json", local("a"))
    await desk.run(tenant.add, "a", name="Tenant A")
    await desk.run(kms_configs.add, kms, tenant="a", primary=True, name="mine")
    await served(proxy, "a")
    await desk.run(kms_configs.add, kms, name="shared", leasing=True)
    await desk.run(kms_configs.assign_, 2, "a", leasing=True)
    await desk.run(kms_configs.primary, 2, "a")
    await desk.run(kms_configs.leasing, 2, "a", off=True)
    await desk.run(kms_configs.enable, 1, "a", off=True)
    capsys.readouterr()
    await desk.run(tenant.show_, "a", as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert shown["tenant"]["primaryConfig"] == 2
    uses = {each["config"]: (each["active"], each["primary"], each["leasing"]) for each in shown["assignments"]}
    assert uses == {1: (False, False, False), 2: (True, True, False)}
    await desk.run(kms_configs.try_out, 2, "a")
    assert "wrap" in capsys.readouterr().out
    await desk.run(kms_configs.unassign, 2, "a")
    await desk.run(kms_configs.unassign, 1, "a")
    await desk.run(tenant.remove, "a")
    await desk.run(audit.verify)
    assert "The record is whole" in capsys.readouterr().out


async def test_a_segment_is_rotated_while_a_proxy_serves(desk, proxy):
    kms = desk.file("kms.json", local("a"))
    await desk.run(tenant.add, "a")
    await desk.run(kms_configs.add, kms, tenant="a", primary=True)
    await desk.run(kms_configs.add, kms)
    await served(proxy, "a")
    status, wrapped = await proxy.call("document/wrap", "a")
    await desk.run(segment.rotate, 1)
    assert (await proxy.call("document/unwrap", "a", encryptedDocumentKey=wrapped["edek"]))[0] == 200
    await desk.run(tenant.add, "b")
    await desk.run(kms_configs.assign_, 2, "b", primary=True)
    await served(proxy, "b")
    body = json.loads((await proxy.ops("/health"))[1])
    assert body["checks"][0]["data"]["quarantined"] == {}
    assert status == 200


async def test_a_revoked_identity_costs_the_others_nothing(desk, proxy):
    await desk.run(tenant.add, "a")
    await desk.run(kms_configs.add, desk.file("kms.json", local("a")), tenant="a", primary=True)
    await desk.run(identity.new, "proxy-2", env_file=desk.directory / "two.env")
    await desk.run(identity.revoke, "proxy-2")
    await served(proxy, "a")
    await desk.run(identity.revoke, "proxy-1")
    async with asyncio.timeout(20):
        while (await proxy.call("document/wrap", "a"))[0] != 503:
            await asyncio.sleep(0.05)


async def test_keys_that_were_changed_here_and_not_handed_in_are_handed_in_next_time(desk, capsys):
    """As after a command that was interrupted between the two."""
    Vendor.load(desk.at.vendor).add_identity("begun")
    await desk.run(identity.new, "proxy-2", env_file=desk.directory / "two.env")
    capsys.readouterr()
    await desk.run(identity.list_, as_json=True)
    assert {"begun", "proxy-2"} <= {each["id"] for each in json.loads(capsys.readouterr().out)}


async def test_heads_vouch_and_refuse_what_is_older(desk, proxy):
    await desk.run(tenant.add, "a")
    await desk.run(kms_configs.add, desk.file("kms.json", local("a")), tenant="a", primary=True)
    await desk.run(head.publish, life=600)
    async with asyncio.timeout(20):
        while b'"freshness":"head"' not in (await proxy.ops("/health"))[1]:
            await asyncio.sleep(0.05)


async def test_a_file_of_secrets_is_brought_with_its_numbers(desk, capsys):
    await desk.run(tenant.add, "a")
    await desk.run(kms_configs.add, desk.file("kms.json", local("a")), tenant="a", primary=True)
    store = SecretFile(desk.directory / "secrets.sqlite")
    for rotation in (Rotation.ARCHIVED, Rotation.IN_ROTATION, Rotation.CURRENT):
        store.put("a", "deterministic", "p", edek.encode(EncryptedDek(rotation.value.encode(), 1)), rotation)
    store.close()
    for _ in range(2):
        await desk.run(secrets.import_, desk.directory / "secrets.sqlite")
    assert "3 secrets were brought" in (said := capsys.readouterr().out)
    assert "0 secrets were brought to the broker; 3 were there already" in said
    await desk.run(secrets.list_, as_json=True)
    found = {each["number"]: each["rotation"] for each in json.loads(capsys.readouterr().out)}
    assert found == {1: "archived", 2: "in-rotation", 3: "current"}
    with pytest.raises(SystemExit) as waits:
        await desk.run(secrets.renew, tenant="a", wait=0.1)
    assert waits.value.code == 1
    assert "0 to be wrapped anew, 2 to be bound, 0 that failed lately" in capsys.readouterr().out
    await desk.run(tenant.add, "b")
    await desk.run(secrets.renew, tenant="b")
    assert "0 to be wrapped anew, 0 to be bound" in capsys.readouterr().out


async def test_an_export_or_a_backup_of_the_original_is_brought_with_its_numbers(desk, capsys):
    await desk.run(tenant.add, "a")
    await desk.run(kms_configs.add, desk.file("kms.json", local("a")), tenant="a", primary=True)
    record = {
        "tenantProvidedId": "a",
        "numericId": 4711,
        "tenantSecretId": 4711,
        "id": "6d0b4c1e-8f0f-4a55-9f57-0f3f4e6b9a01",
        "secretFingerprint": base64.b64encode(bytes(32)).decode(),
        "secretPath": "customers",
        "kmsConfigId": 1,
        "migrationStatus": 1,
        "encryptedSecret": base64.b64encode(edek.encode(EncryptedDek(b"wrapped", 1))).decode(),
        "rotationStatus": 1,
        "secretType": 2,
        "created": 1_700_000_000_000,
        "updated": 1_700_000_000_000,
    }
    backup = desk.directory / "backup.json"
    backup.write_text(json.dumps([record, {**record, "tenantSecretId": 12, "secretPath": "x", "rotationStatus": 3}]))
    await desk.run(secrets.import_, backup)
    assert "2 secrets were brought" in capsys.readouterr().out
    await desk.run(secrets.export, desk.directory / "again.json")
    again = {each["tenantSecretId"]: each for each in json.loads((desk.directory / "again.json").read_text())}
    kept = ("tenantProvidedId", "tenantSecretId", "secretPath", "kmsConfigId", "encryptedSecret", "created")
    assert {name: again[4711][name] for name in kept} == {name: record[name] for name in kept}
    assert again[12]["rotationStatus"] == 3
    await desk.run(secrets.import_, desk.directory / "again.json")
    assert "0 secrets were brought" in capsys.readouterr().out

    backup.write_text(json.dumps([{**record, "rotationStatus": 9}]))
    with pytest.raises(SystemExit):
        await desk.run(secrets.import_, backup)
    assert "which are not known here" in capsys.readouterr().err


YAML = """
vendor: acme
configs:
  - {id: 1, name: Shared, leasing: true, configFile: shared.json}
tenants:
  - id: a
    name: Tenant A
    tags: [default, gold]
    configs:
      - {id: 1, primary: true, leasing: true}
      - {id: 7, configFile: own.json}
  - id: b
    configs:
      - {id: 1, primary: true}
"""


async def test_apply_makes_it_so_once_and_a_second_run_changes_nothing(desk, capsys):
    desk.file("shared.json", local("shared"))
    desk.file("own.json", local("own"))
    path = desk.file("vendor.yaml", YAML)
    await desk.run(apply.apply, file=path, dry_run=True)
    assert "nothing was done" in capsys.readouterr().out
    await desk.run(tenant.list_, as_json=True)
    assert json.loads(capsys.readouterr().out) == []

    await desk.run(apply.apply, file=path)
    assert "+ tenant a" in capsys.readouterr().out
    for dry in (True, False):
        await desk.run(apply.apply, file=path, dry_run=dry)
        assert capsys.readouterr().out == "Nothing to change.\n"

    desk.file("own.json", local("own", bytes([1] * 32)))
    changed = YAML.replace("name: Tenant A", "name: A").replace("[default, gold]", "[default]")
    desk.file("vendor.yaml", changed[: changed.index("  - id: b")])
    await desk.run(apply.apply, file=path, prune=True)
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "~ tenant a: name 'A', tag -gold",
        "~ tenant a: config 7; assigned 1 primary leasing, 7",
        "- tenant b",
    ]
    await desk.run(apply.apply, file=path, prune=True)
    assert capsys.readouterr().out == "Nothing to change.\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tenants: [", "is not YAML"),
        ("tenants:\n  - {id: a, colour: red}\n", "colour"),
        ("tenants:\n  - {id: a}\n  - {id: a}\n", "twice"),
        ("vendor: other\n", "describes vendor 'other'"),
        ("tenants:\n  - {id: a, configs: [{id: 9, primary: true}]}\n", "config 9, which is nowhere described"),
    ],
)
async def test_what_cannot_be_applied_is_said(desk, capsys, text, problem):
    path = desk.file("vendor.yaml", text)
    with pytest.raises(SystemExit) as stopped:
        await desk.run(apply.apply, file=path)
    assert stopped.value.code == 1
    assert problem in capsys.readouterr().err


async def test_a_tenants_first_owner_is_invited(desk, capsys):
    await desk.run(tenant.add, "a")
    await desk.run(admin.invite, "ann@example.com", tenant="a", link=True)
    assert "/invitation#t=" in capsys.readouterr().out
    await desk.run(admin.list_, tenant="a", as_json=True)
    assert json.loads(capsys.readouterr().out)[0]["status"] == "open"


async def test_a_broker_that_is_not_there_is_said(desk, capsys):
    with pytest.raises(SystemExit):
        await desk.run(tenant.list_, at=At(desk.at.vendor, "http://127.0.0.1:9"))
    assert "cannot be reached" in capsys.readouterr().err
