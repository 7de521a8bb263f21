"""A new admin key takes the old one's place while proxies serve, and the old one can do nothing afterwards."""

import asyncio
import json
import shutil
import sqlite3

import msgspec
import pytest
from tests.unit.cli.test_at_broker import Desk, desk, local, proxy, served

from tenant_security.authoring import admin_key, documents
from tenant_security.authoring.at_broker import AtBroker
from tenant_security.authoring.keyfiles import read_seed
from tenant_security.authoring.vendor import Vendor
from tenant_security.cli import identity, kms_configs, secrets, tenant, vendor
from tenant_security.cli.link import At, talk
from tenant_security.crypto.signing import Kind, SigningKey
from tenant_security.crypto.unseal import new_seed
from tenant_security.proxy.secret_store import Rotation, SecretFile
from tenant_security.wire import broker_api as api
from tenant_security.wire import edek
from tenant_security.wire import snapshot as words
from tenant_security.wire.edek import EncryptedDek

__all__ = ["desk", "proxy"]


@pytest.fixture(autouse=True)
def a_place_for_the_env_file(tmp_path):
    (tmp_path / "proxy").mkdir()


async def inhabit(desk: Desk) -> None:
    """A tenant with a config of its own, and one with the vendor's."""
    await desk.run(tenant.add, "a")
    await desk.run(kms_configs.add, desk.file("a.json", local("a")), tenant="a", primary=True)
    await desk.run(kms_configs.add, desk.file("shared.json", local("shared", bytes(range(32)))), leasing=True)
    await desk.run(tenant.add, "b")
    await desk.run(kms_configs.assign_, 2, "b", primary=True, leasing=True)


def signers(desk: Desk) -> set[str]:
    """Who signed what the broker serves."""

    async def work(session):
        run, admin = session.run, session.admin
        found = {(await run(admin.ask("GET", "/configs/2/sealed", api.SealedConfig))).author}
        for name in ("a", "b"):
            stored = await run(admin.stored(name))
            found |= {stored.record.key} | {each.author for each in stored.configs}
        return found

    return talk(desk.at, work)


def key_of(desk: Desk) -> SigningKey:
    return Vendor.load(desk.at.vendor).admin


async def test_what_the_old_key_signed_is_signed_anew_and_keys_open_as_before(desk, proxy, capsys):
    await inhabit(desk)
    await served(proxy, "a")
    await served(proxy, "b")
    before = key_of(desk)
    edeks = {name: (await proxy.call("document/wrap", name))[1]["edek"] for name in "ab"}
    root = Vendor.load(desk.at.vendor).root_fingerprint
    old_directory = desk.directory / "copy-of-the-old"
    shutil.copytree(desk.at.vendor, old_directory)

    await desk.run(vendor.rotate_admin)
    after = Vendor.load(desk.at.vendor)
    assert after.admin.public != before.public
    assert after.root_fingerprint == root
    assert before.public not in {each.public for each in (*after.root.keys, *after.manifest.authors)}
    assert await asyncio.to_thread(signers, desk) == {after.admin.key_id}
    assert {each.name for each in desk.at.vendor.iterdir() if "admin" in each.name} == {"admin.key"}

    # The proxy takes the new versions, and what was wrapped opens.
    await desk.run(tenant.add, "c")
    await desk.run(kms_configs.add, desk.file("c.json", local("c")), tenant="c", primary=True)
    await served(proxy, "c")
    for name, wrapped in edeks.items():
        assert (await proxy.call("document/unwrap", name, encryptedDocumentKey=wrapped))[0] == 200
    data = json.loads((await proxy.ops("/health"))[1])["checks"][0]["data"]
    assert (data["quarantined"], data["rollbacks"]) == ({}, {})

    # Whoever kept the old key is nobody now.
    capsys.readouterr()
    with pytest.raises(SystemExit):
        await desk.run(tenant.add, "d", at=At(old_directory, desk.broker.url))
    assert "d" not in await asyncio.to_thread(tenants, desk)


def tenants(desk: Desk) -> set[str]:
    async def work(session):
        return {each.id for each in await session.run(session.admin.every("/tenants", api.Tenant))}

    return talk(desk.at, work)


@pytest.mark.parametrize("reached", ["a key", "signed here only", "let in", "half signed"])
async def test_it_goes_on_where_it_was_interrupted(desk, reached):
    await inhabit(desk)
    before = key_of(desk)
    admin_key.begin(desk.at.vendor)
    begun = SigningKey(read_seed(desk.at.vendor / "admin-next.key"))
    if reached == "signed here only":
        admin_key.let_in(Vendor.load(desk.at.vendor))
    elif reached != "a key":

        async def let_in(session):
            await session.publish(admin_key.let_in)

        await asyncio.to_thread(talk, desk.at, let_in)
    if reached == "half signed":
        admin_key.sign_with_it(desk.at.vendor)

        async def one(session):
            change = session.admin.change("a", lambda roster: admin_key._sign(session.vendor, roster, before.key_id))
            await session.run(change)

        await asyncio.to_thread(talk, desk.at, one)
        assert await asyncio.to_thread(signers, desk) == {before.key_id, begun.key_id}
    await desk.run(vendor.rotate_admin)
    assert key_of(desk).public == begun.public
    assert await asyncio.to_thread(signers, desk) == {begun.key_id}


async def test_without_the_root_key_nothing_happens(desk, capsys):
    await inhabit(desk)
    before = key_of(desk)
    (desk.at.vendor / "root.key").rename(desk.directory / "root.key")
    with pytest.raises(SystemExit):
        await desk.run(vendor.rotate_admin)
    assert "root.key" in capsys.readouterr().err
    assert not (desk.at.vendor / "admin-next.key").exists()
    assert key_of(desk).public == before.public
    assert await asyncio.to_thread(signers, desk) == {before.key_id}
    (desk.directory / "root.key").rename(desk.at.vendor / "root.key")
    await desk.run(vendor.rotate_admin)
    assert await asyncio.to_thread(signers, desk) == {key_of(desk).key_id} != {before.key_id}


async def test_a_tenants_own_authors_are_named_anew(desk):
    await inhabit(desk)
    old = Vendor.load(desk.at.vendor)
    person = SigningKey(new_seed())
    named = words.TenantAuthors(
        old.id, "a", 1, (words.TenantAuthor(person.public, "ann", (words.May.RECORD, words.May.CONFIG)),)
    )
    signed = documents.sign(Kind.AUTHORS, named, old.admin)

    async def name(session):
        def decide(roster):
            admin_key._sign(session.vendor, roster, "nobody")
            roster.tenants["a"] = msgspec.structs.replace(roster.tenants["a"], authors=signed)

        await session.run(session.admin.change("a", decide))
        return (await session.run(session.admin.stored("a"))).authors

    assert (await asyncio.to_thread(talk, desk.at, name)).key == old.admin.key_id
    await desk.run(vendor.rotate_admin)

    async def read(session):
        return (await session.run(session.admin.stored("a"))).authors

    again = await asyncio.to_thread(talk, desk.at, read)
    assert again.key == key_of(desk).key_id
    assert words.decode(words.TenantAuthors, again.body).authors == named.authors


async def test_what_the_broker_made_up_is_not_signed(desk, capsys):
    """A broker can seal to a segment, whose key is public, and claim who signed it."""
    await inhabit(desk)
    old = Vendor.load(desk.at.vendor)
    forger = Vendor.create(desk.directory / "forger", "acme")
    header = words.ConfigHeader(vendor="acme", tenant="a", config=1, kind="kms", version=2**40, created=1)
    evil = json.dumps(local("evil", b"e" * 32)).encode()
    forged = documents.seal_config(header, evil, old.segment(1), forger.admin)
    database = sqlite3.connect(desk.directory / "world" / "broker.db")
    changed = database.execute(
        'UPDATE configs SET header = ?, payload = ?, "commit" = ?, author = ?, sig = ? WHERE number = 1',
        (forged.header, forged.payload, forged.commit, old.admin.key_id, forged.sig),
    )
    assert changed.rowcount == 1
    database.commit()
    await desk.run(vendor.rotate_admin)
    assert "a is not signed anew, what the broker shows is not good" in capsys.readouterr().err
    assert await asyncio.to_thread(signers, desk) == {old.admin.key_id, key_of(desk).key_id}


async def test_a_tenant_whose_second_person_has_not_approved_is_named_and_the_old_key_stays(desk, capsys, monkeypatch):
    await inhabit(desk)
    before, change = key_of(desk), AtBroker.change

    def held(self, tenant, decide, kinds=None):
        """The broker answers that the change of this tenant waits, and keeps what there was."""
        if tenant == "a":
            return (yield from self.ask("GET", "/tenants/a", api.Tenant)) is not None
        return (yield from change(self, tenant, decide, kinds))

    monkeypatch.setattr(AtBroker, "change", held)
    with pytest.raises(SystemExit):
        await desk.run(vendor.rotate_admin)
    assert "has to approve first for a." in capsys.readouterr().err
    assert await asyncio.to_thread(signers, desk) == {before.key_id, key_of(desk).key_id}
    assert before.public in {each.public for each in Vendor.load(desk.at.vendor).manifest.authors}
    monkeypatch.undo()
    await desk.run(vendor.rotate_admin)
    assert await asyncio.to_thread(signers, desk) == {key_of(desk).key_id}


async def test_secrets_that_only_the_old_key_vouches_for_are_bound_first(desk, capsys):
    await inhabit(desk)
    store = SecretFile(desk.directory / "secrets.sqlite")
    store.put("a", "deterministic", "p", edek.encode(EncryptedDek(b"wrapped", 1)), Rotation.CURRENT)
    store.close()
    await desk.run(secrets.import_, desk.directory / "secrets.sqlite")
    before = key_of(desk)
    with pytest.raises(SystemExit):
        await desk.run(vendor.rotate_admin)
    assert "secrets renew" in capsys.readouterr().err
    authors = {each.public for each in Vendor.load(desk.at.vendor).manifest.authors}
    assert before.public in authors, "what it vouched for is still believed"
    await desk.run(vendor.rotate_admin, leave_secrets=True)
    assert before.public not in {each.public for each in Vendor.load(desk.at.vendor).manifest.authors}


def test_without_a_broker_the_next_snapshot_is_to_be_made_fresh(tmp_path, capsys):
    made = Vendor.create(tmp_path / "vendor", "acme")
    vendor.rotate_admin(at=At(tmp_path / "vendor", ""))
    assert "--fresh" in capsys.readouterr().out
    after = Vendor.load(tmp_path / "vendor")
    assert [each.public for each in after.root.keys] == [after.admin.public] != [made.admin.public]
    assert [each.public for each in after.manifest.authors] == [after.admin.public]
    with pytest.raises(ValueError, match="cannot take itself out"):
        after.take_out(after.admin.public)


async def test_a_bridge_and_its_configs_stay(desk):
    await inhabit(desk)
    await desk.run(identity.new, "bridge-1", env_file=desk.directory / "bridge.env", bridge=True)
    await desk.run(vendor.rotate_admin)
    names = {each.name for each in Vendor.load(desk.at.vendor).manifest.authors}
    assert names == {"admin", "bridge-1"}
