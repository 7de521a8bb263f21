"""What services get, over HTTP, and what strangers do not."""

import asyncio
import hashlib

import msgspec
import pytest
from tests.tenant_secrets import ANYBODY, new_secret
from tests.unit.broker.served import served
from tests.unit.broker.test_snapshots import CONFIG

from tenant_security.authoring import documents
from tenant_security.authoring.roster import assign
from tenant_security.broker import config_tests, schema
from tenant_security.broker.tenant_documents import put_tenant
from tenant_security.broker.vendors import put_head
from tenant_security.crypto.signing import Kind, SigningKey
from tenant_security.crypto.unseal import new_seed
from tenant_security.directory.tenants import EMPTY_DIRECTORY
from tenant_security.directory.verify import SnapshotVerifier
from tenant_security.outbound.broker import (
    BrokerRefusedError,
    Downloaded,
    Unchanged,
    borrow_renewals,
    create_secret,
    fetch_snapshot,
    list_secrets,
    renew_secret,
    renewal_trouble,
    reserve_number,
    send_status,
    signed_request,
)
from tenant_security.trust import digests
from tenant_security.trust.refusal import RevokedError
from tenant_security.trust.tenant_secrets import Place
from tenant_security.wire import service_api as api
from tenant_security.wire import snapshot as words
from tenant_security.wire.broker_api import TenantChange


@pytest.fixture
async def proxy(world):
    """A service identity, known to the broker."""
    credentials = world.vendor.add_identity("proxy-1")
    await world.publish()
    return credentials


@pytest.fixture
async def broker(world, proxy):  # noqa: ARG001 - it must be known first
    async with served(world) as made:
        yield made


def key_of(credentials):
    return SigningKey(credentials.signing_seed)


async def fetch(broker, proxy, path, *, since=None, tag="", wait=0, segment=1):
    account = broker.account(key_of(proxy))
    flow = fetch_snapshot(account, segment, path, since=since, tag=tag, wait_s=wait, within_s=30)
    return await broker.run(flow)


def verified(world, proxy, path, previous=EMPTY_DIRECTORY):
    lines = path.read_bytes().splitlines()
    verifier = SnapshotVerifier(
        lines[0], pinned=world.vendor.root_fingerprint, credentials=proxy, now_s=world.now_s, previous=previous
    )
    verifier.add(lines[1:])
    return verifier.finish()


async def test_a_service_gets_the_whole_then_nothing_then_the_changes(world, proxy, broker, tmp_path):
    await world.tenant("a")
    await world.with_config("a", text=CONFIG)
    path = tmp_path / "snapshot"
    first = await fetch(broker, proxy, path)
    directory = verified(world, proxy, path)
    assert set(directory.tenants) == {"a"}

    assert await fetch(broker, proxy, path, since=directory.version, tag=first.tag) == Unchanged()

    await world.tenant("b")
    await world.with_config("b", text=CONFIG)
    second = await fetch(broker, proxy, path, since=directory.version, tag=first.tag)
    assert isinstance(second, Downloaded)
    assert len(path.read_bytes().splitlines()) == 2
    assert set(verified(world, proxy, path, directory).tenants) == {"a", "b"}


async def test_news_wakes_who_waits(world, proxy, broker, tmp_path):
    path = tmp_path / "snapshot"
    first = await fetch(broker, proxy, path)
    version = verified(world, proxy, path).version
    waiting = asyncio.create_task(fetch(broker, proxy, path, since=version, tag=first.tag, wait=25))
    while not broker.broker.published._news:
        await asyncio.sleep(0.01)
    assert not waiting.done()
    body = {"id": "a", "name": "A"}
    made = await broker.ask(world.vendor.admin, "POST", "/api/1/vendors/acme/tenants", body)
    assert made.status == 201, made.body
    async with asyncio.timeout(5):
        assert isinstance(await waiting, Downloaded)


def head(world, version, segment=1, entries=()):
    manifest = world.vendor.state.manifest
    document = words.Head(
        "acme",
        segment,
        world.now_s,
        world.now_s + 600,
        world.vendor.manifest.version,
        words.sha256(manifest.body),
        version,
        digests.snapshot_hash(entries),
    )
    return documents.sign(Kind.HEAD, document, world.vendor.admin)


async def test_a_change_waits_for_its_head_where_there_are_heads(world, proxy, broker, tmp_path):
    path = tmp_path / "snapshot"
    await fetch(broker, proxy, path)
    version = verified(world, proxy, path).version
    async with world.change() as change:
        await put_head(change, head(world, version))
    headed = await fetch(broker, proxy, path)
    directory = verified(world, proxy, path)
    assert directory.freshness.value == "head"

    await world.tenant("a")
    assert await fetch(broker, proxy, path, since=version, tag=headed.tag) == Unchanged()
    now = (await broker.broker.published.offer("acme", 1)).version
    assert now == version

    revision = await _revision(world)
    async with world.change() as change:
        await put_head(change, head(world, revision))
    await fetch(broker, proxy, path, since=version, tag=headed.tag)
    assert verified(world, proxy, path, directory).version == revision


async def test_a_head_that_is_renewed_is_news(world, proxy, broker, tmp_path):
    path = tmp_path / "snapshot"
    await fetch(broker, proxy, path)
    directory = verified(world, proxy, path)
    tags = []
    for _ in range(2):
        world.now_s += 1
        async with world.change() as change:
            await put_head(change, head(world, directory.version))
        tags.append((await fetch(broker, proxy, path, since=directory.version)).tag)
    assert tags[0] != tags[1]
    assert verified(world, proxy, path, directory).expires_at_s == world.now_s + 600


async def _revision(world):
    from tenant_security.broker.snapshots import current_revision

    async with world.database.read() as connection:
        return await current_revision(connection, "acme")


async def test_a_revoked_service_learns_that_it_is_revoked_and_nothing_else(world, proxy, broker, tmp_path):
    await world.tenant("a")
    await world.with_config("a", text=CONFIG)
    world.vendor.revoke_identity("proxy-1")
    await world.publish()
    path = tmp_path / "snapshot"
    await fetch(broker, proxy, path)
    lines = path.read_bytes().splitlines()
    assert len(lines) == 1
    assert words.decode(words.SnapshotHeader, lines[0]).segment_wraps == ()
    with pytest.raises(RevokedError):
        verified(world, proxy, path)
    for method, target in (("GET", "/service/1/secrets?tenant=a"), ("POST", "/service/1/work?segment=1")):
        assert (await broker.ask(key_of(proxy), method, target)).status == 403


async def test_no_service_is_given_the_test_of_a_config_that_was_removed(world, proxy, broker):
    await world.tenant("a")
    kms, gone, stays = await world.with_config("a"), await world.number(), await world.number()
    same = assign(kms, primary=True)
    sinks = tuple(world.config(number, "a", kind="sink") for number in (gone, stays))

    async def put(**what):
        async with world.change() as change:
            version = await world.version("a", change)
            await put_tenant(change, "a", TenantChange(world.record("a", same, version=version + 1), version, **what))

    await put(configs=sinks)
    async with world.change() as change:
        await config_tests.begin(change, "a", gone)
    world.now_s += 1
    async with world.change() as change:
        await config_tests.begin(change, "a", stays)
    await put(removed=(gone,))
    target = "/service/1/work?segment=1&kind=sink"
    given = [(await broker.ask(key_of(proxy), "POST", target)).body for _ in range(2)]
    works = [msgspec.json.decode(each)["work"] for each in given]
    assert [work and work["config"] for work in works] == [stays, None]


async def test_a_service_gets_its_own_segments_only(world, proxy, broker, tmp_path):
    world.vendor.add_segment(tags=("eu",))
    await world.publish()
    with pytest.raises(BrokerRefusedError, match=r"403.*not entitled"):
        await fetch(broker, proxy, tmp_path / "snapshot", segment=2)


@pytest.mark.parametrize("target", ["/api/1/vendors/acme/tenants", "/api/1/vendors/acme/documents"])
async def test_a_proxy_may_not_ask_what_admins_may(proxy, broker, target):
    assert (await broker.ask(key_of(proxy), "GET", target)).status == 403


async def test_a_stranger_gets_nothing(proxy, broker):
    stranger = SigningKey(new_seed())
    for target in ("/service/1/snapshot?segment=1", "/api/1/vendors/acme/tenants", "/api/1/vendors/other/tenants"):
        assert (await broker.ask(stranger, "GET", target)).status == 401
    request = signed_request(broker.account(key_of(proxy)), "GET", "/service/1/snapshot?segment=1")
    unsigned = msgspec.structs.replace(request, headers=())
    assert (await broker.send(unsigned)).status == 401


async def test_a_request_is_good_once(proxy, broker):
    request = signed_request(broker.account(key_of(proxy)), "GET", "/service/1/snapshot?segment=1")
    assert (await broker.send(request)).status == 200
    again = await broker.send(request)
    assert (again.status, b"used before" in again.body) == (401, True)


async def test_a_request_that_was_altered_is_refused(proxy, broker):
    request = signed_request(broker.account(key_of(proxy)), "GET", "/service/1/snapshot?segment=1")
    for changed in (
        msgspec.structs.replace(request, url=request.url + "&wait=1"),
        msgspec.structs.replace(request, method="POST", body=b"{}"),
    ):
        assert (await broker.send(changed)).status in (401, 405)


async def test_of_many_that_make_a_secret_one_wins_and_all_get_it(world, proxy, broker):
    await world.tenant("a")
    number = await world.with_config("a")
    account = broker.account(key_of(proxy))

    async def make(byte):
        reserved = await broker.run(reserve_number(account))
        place = Place("acme", "a", "deterministic", "", reserved)
        new = new_secret(place, secret=bytes([byte]) * 32, config=number, encrypted=bytes([byte]), key=key_of(proxy))
        return await broker.run(create_secret(account, new))

    results = await asyncio.gather(*(make(byte) for byte in range(8)))
    assert len(set(results)) == 1
    assert len(results[0]) == 1
    assert await broker.run(list_secrets(account, "a")) == results[0]


async def test_a_secret_names_a_tenant_and_config_that_are_there(world, proxy, broker):
    account = broker.account(key_of(proxy))
    new = new_secret(Place("acme", "a", "deterministic", "", 1), key=key_of(proxy))
    with pytest.raises(BrokerRefusedError, match=r"404.*no tenant"):
        await broker.run(create_secret(account, new))
    await world.tenant("a")
    with pytest.raises(BrokerRefusedError, match=r"404.*no config"):
        await broker.run(create_secret(account, new))


async def test_a_secret_has_a_number_that_was_reserved_and_a_signature_of_a_proxy(world, proxy, broker):
    await world.tenant("a")
    config = await world.with_config("a")
    account = broker.account(key_of(proxy))
    first, second = [await broker.run(reserve_number(account)) for _ in range(2)]
    assert second == first + 1

    async def make(number, *, path="", signed_path=None, key=None):
        place = Place("acme", "a", "deterministic", path if signed_path is None else signed_path, number)
        new = new_secret(place, config=config, key=key or key_of(proxy))
        return await broker.run(create_secret(account, msgspec.structs.replace(new, path=path)))

    with pytest.raises(BrokerRefusedError, match=r"422.*was not reserved"):
        await make(second + 1)
    with pytest.raises(BrokerRefusedError, match=r"422.*binding"):
        await make(first, key=ANYBODY)
    with pytest.raises(BrokerRefusedError, match=r"422.*binding"):
        await make(first, path="p", signed_path="q")
    (made,) = await make(second)
    with pytest.raises(BrokerRefusedError, match=r"422.*was not reserved"):
        await make(second, path="another")
    await broker.ask(world.vendor.admin, "POST", f"/api/1/vendors/acme/tenants/a/secrets/{made.id}/rotation/begin")
    (rotating,) = await make(first)
    assert (rotating.number, rotating.rotation) == (second, "in-rotation"), "an older number is no newer secret's"


async def test_what_waits_to_be_renewed_is_lent_once_rests_when_it_failed_and_is_replaced_by_compare_and_set(
    world, proxy, broker
):
    await world.tenant("a")
    config = await world.with_config("a")
    account = broker.account(key_of(proxy))
    places = [
        Place("acme", "a", "deterministic", f"p{each}", await broker.run(reserve_number(account))) for each in range(3)
    ]
    for place in places:
        await broker.run(create_secret(account, new_secret(place, config=config, key=key_of(proxy))))
    assert await broker.run(borrow_renewals(account, 1)) == ()

    table = schema.tenant_secrets
    async with world.database.note() as connection:
        await connection.execute(table.update().where(table.c.path != "p2").values(migration="needs-migration"))
    both = await asyncio.gather(*(broker.run(borrow_renewals(account, 1)) for _ in range(4)))
    assert sorted(len(each) for each in both) == [0, 0, 0, 2]
    first, second = next(each for each in both if each)
    assert (first.tenant, first.secret.path, second.secret.path) == ("a", "p0", "p1")

    base = hashlib.sha256(b"edek").digest()
    await broker.run(renewal_trouble(account, first.secret.id, api.RenewalTrouble("a", base, "its KMS\nis away")))
    found = await broker.ask(world.vendor.admin, "GET", "/api/1/vendors/acme/secret-renewals?tenant=a")
    assert msgspec.json.decode(found.body) == {"migrations": 2, "unbound": 0, "troubled": 1}
    anew = new_secret(places[1], config=config, encrypted=b"anew", key=key_of(proxy))
    renewed = api.RenewedSecret("a", base, anew.fingerprint, config, b"anew", anew.binding)
    await broker.run(renew_secret(account, second.secret.id, renewed))
    for stale in (renewed, msgspec.structs.replace(renewed, encrypted=b"later")):
        with pytest.raises(BrokerRefusedError, match="409"):
            await broker.run(renew_secret(account, second.secret.id, stale))
    kept = {each.path: each for each in await broker.run(list_secrets(account, "a"))}
    assert (kept["p1"].encrypted, kept["p1"].migration, kept["p0"].migration) == (b"anew", "current", "needs-migration")

    assert await broker.run(borrow_renewals(account, 1)) == ()
    await broker.ask(world.vendor.admin, "POST", "/api/1/vendors/acme/secret-renewals")
    (again,) = await broker.run(borrow_renewals(account, 1))
    assert again.secret.path == "p0"
    await broker.run(renewal_trouble(account, again.secret.id, api.RenewalTrouble("a", base, "")))
    assert len(await broker.run(borrow_renewals(account, 1))) == 1, "without a reason it is lent again at once"


async def test_only_proxies_make_and_renew_secrets(world, proxy, broker):  # noqa: ARG001 - it is there besides
    bridge = world.vendor.add_identity("bridge-1", tags=("bridge",))
    await world.publish()
    account = broker.account(key_of(bridge))
    for flow in (reserve_number(account), borrow_renewals(account, 1)):
        with pytest.raises(BrokerRefusedError, match="403"):
            await broker.run(flow)


async def test_what_services_say_of_themselves_is_kept(world, proxy, broker):
    status = api.Status("1.0", "host-1", 5, 1.5, "UP")
    await broker.run(send_status(broker.account(key_of(proxy)), status))
    listed = await broker.ask(world.vendor.admin, "GET", "/api/1/vendors/acme/service-accounts")
    assert msgspec.json.decode(listed.body)[0]["seenVersion"] == "1.0"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"tenant":1}', b'{"tenant":"a","type":"x"}', b"\xff", b"[" * 10_000]
)
async def test_nonsense_is_refused_in_words(proxy, broker, body):
    answer = await broker.ask(key_of(proxy), "POST", "/service/1/secrets", body)
    assert answer.status == 400
    assert msgspec.json.decode(answer.body)["message"]
