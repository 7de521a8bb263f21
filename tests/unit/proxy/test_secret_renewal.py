"""Tenant secrets after a change of KMS: wrapped anew by themselves, by real proxies at a real broker."""

import asyncio
import hashlib
import sqlite3

import pytest
from tests.unit.proxy.test_fed_by_broker import until

from tenant_security.broker.secret_renewals import LENT_MS, REST_MS
from tenant_security.crypto.signing import SigningKey
from tenant_security.outbound.broker import BrokerAccount, BrokerRefusedError, borrow_renewals, renew_secret
from tenant_security.testing.brokers import running_broker
from tenant_security.testing.proxies import Use, running_proxy
from tenant_security.trust.tenant_secrets import Place, bind, imported_fingerprint
from tenant_security.wire import broker_api as api
from tenant_security.wire import edek
from tenant_security.wire import snapshot as words
from tenant_security.wire.service_api import RenewedSecret
from tenant_security.wire.service_env import credentials_from_env, parse_env

BODY = {"derivationType": "sha512", "secretType": "deterministic", "paths": {"p": ["d"]}}
OLD, NEW = Use(1), Use(2)


@pytest.fixture
async def broker(tmp_path):
    async with running_broker(tmp_path, {"a": (OLD,)}) as made:
        yield made


async def derive(proxy):
    status, answer = await proxy.call("key/derive-with-secret-path", "a", **BODY)
    assert status == 200, answer
    return answer


async def listed(broker):
    return await broker.run(broker.admin.every("/secrets", api.TenantSecret))


async def renewals(broker, method="GET"):
    return await broker.run(broker.admin.ask(method, "/secret-renewals", api.SecretRenewals))


def account(broker):
    key = credentials_from_env(parse_env((broker.state_dir / "service.env").read_text())).signing_seed
    admin = broker.admin.account
    return BrokerAccount(broker.url, SigningKey(key), admin.now_s, admin.token_id)


async def settled(broker):
    async def check():
        return (await renewals(broker)).migrations == 0

    await until(check)


async def test_a_new_primary_wraps_every_secret_and_keys_stay_the_same(broker):
    async with running_proxy(broker.state_dir, broker_url=broker.url) as proxy:
        before = await derive(proxy)
        (made,) = await listed(broker)
        assert (made.config, made.migration, made.bound) == (1, "current", True)

        await broker.put({"a": (Use(1, primary=False), NEW)})
        await settled(broker)
        (moved,) = await listed(broker)
        assert (moved.config, moved.migration, moved.number, moved.trouble) == (2, "current", made.number, "")
        assert edek.decode_all(moved.encrypted)[0].config_id == 2
        assert moved.fingerprint == made.fingerprint
        assert b'tsp_tenant_secret_renewals_total{outcome="renewed"} 1.0' in (await proxy.ops("/metrics"))[1]

        await broker.put({"a": (Use(1, primary=False, active=False), NEW)})

        async def without_the_old():
            async with running_proxy(broker.state_dir, broker_url=broker.url) as fresh:
                return await derive(fresh) == before

        assert await without_the_old()
        audit = await broker.run(broker.admin.ask("GET", "/audit", list[api.AuditEntry], action="secret.migrate"))
        assert [entry.target for entry in audit] == [moved.id]


async def test_what_cannot_be_opened_stays_says_why_and_is_tried_again(broker):
    async with running_proxy(broker.state_dir, broker_url=broker.url) as proxy:
        before = await derive(proxy)
        (made,) = await listed(broker)
        await broker.put({"a": (Use(1, primary=False, active=False), NEW)})

        async def troubled():
            return (await renewals(broker)).troubled == 1

        await until(troubled)
        (left,) = await listed(broker)
        assert (left.config, left.migration, left.encrypted) == (1, "needs-migration", made.encrypted)
        assert "disabled" in left.trouble
        assert b'tsp_tenant_secret_renewals_total{outcome="failed"} 1.0' in (await proxy.ops("/metrics"))[1]

        await broker.put({"a": (Use(1, primary=False), NEW)})
        await settled(broker)
        assert await derive(proxy) == before
        assert (await listed(broker))[0].trouble == ""


async def lent(broker):
    return await broker.run(borrow_renewals(account(broker), 1))


async def test_a_secret_is_lent_to_one_at_a_time_and_again_when_that_time_is_over(broker):
    async with running_proxy(broker.state_dir, broker_url=broker.url) as proxy:
        await derive(proxy)
    assert await lent(broker) == ()
    await broker.put({"a": (Use(1, primary=False), NEW)})
    both = await asyncio.gather(lent(broker), lent(broker))
    assert sorted(len(each) for each in both) == [0, 1]
    assert await lent(broker) == ()
    await renewals(broker, "POST")  # somebody who will not wait
    assert len(await lent(broker)) == 1
    with sqlite3.connect(broker.state_dir / "broker.db") as database:
        database.execute("UPDATE tenant_secrets SET lent_until_ms = lent_until_ms - ?", (LENT_MS,))
    assert len(await lent(broker)) == 1
    assert REST_MS > LENT_MS


async def test_only_the_edek_that_it_was_made_from_is_replaced(broker):
    async with running_proxy(broker.state_dir, broker_url=broker.url) as proxy:
        await derive(proxy)
    await broker.put({"a": (Use(1, primary=False), NEW)})
    ((one,),) = [await lent(broker)]
    assert one.secret.binding is not None
    new = RenewedSecret("a", hashlib.sha256(b"older").digest(), one.secret.fingerprint, 2, b"new", one.secret.binding)
    with pytest.raises(BrokerRefusedError, match="409"):
        await broker.run(renew_secret(account(broker), one.secret.id, new))
    assert (await listed(broker))[0].encrypted == one.secret.encrypted


async def test_another_config_than_the_primary_is_not_taken(broker):
    async with running_proxy(broker.state_dir, broker_url=broker.url) as proxy:
        await derive(proxy)
    await broker.put({"a": (Use(1, primary=False), NEW, Use(3, primary=False))})
    ((one,),) = [await lent(broker)]
    base = hashlib.sha256(one.secret.encrypted).digest()
    new = RenewedSecret("a", base, one.secret.fingerprint, 3, b"new", one.secret.binding)
    with pytest.raises(BrokerRefusedError, match="not the primary"):
        await broker.run(renew_secret(account(broker), one.secret.id, new))


async def test_secrets_from_before_are_bound_where_the_operator_accepts_them(broker):
    async with running_proxy(broker.state_dir, broker_url=broker.url) as proxy:
        before = await derive(proxy)
    with sqlite3.connect(broker.state_dir / "broker.db") as database:  # as an older broker kept it, of an import
        database.execute("UPDATE tenant_secrets SET binding = NULL, bound = 0, fingerprint = zeroblob(32)")
        (wrapped,) = database.execute("SELECT encrypted_secret FROM tenant_secrets").fetchone()
        old = hashlib.sha256(b"tenant-security/imported-secret/v1\n" + wrapped).digest()
        database.execute("UPDATE tenant_secrets SET fingerprint = ?", (old,))
    async with running_proxy(broker.state_dir, broker_url=broker.url) as proxy:
        status, answer = await proxy.call("key/derive-with-secret-path", "a", **BODY)
        assert (status, answer["code"]) == (422, 401)
        assert "TSP_ACCEPT_UNBOUND_SECRETS" in answer["message"]

        async def troubled():
            return (await renewals(broker)).troubled == 1

        await until(troubled)
    await renewals(broker, "POST")
    accepting = {"TSP_ACCEPT_UNBOUND_SECRETS": "true"}
    async with running_proxy(broker.state_dir, settings=accepting, broker_url=broker.url) as proxy:
        assert await derive(proxy) == before

        async def bound():
            return (await renewals(broker)).unbound == 0

        await until(bound)
    async with running_proxy(broker.state_dir, broker_url=broker.url) as proxy:
        assert await derive(proxy) == before


async def test_what_an_admin_brought_is_used_at_once_and_bound_by_a_proxy(broker):
    async with running_proxy(broker.state_dir, broker_url=broker.url) as proxy:
        before = await derive(proxy)
    (made,) = await listed(broker)
    place = Place(broker.vendor.id, "a", made.type, made.path, made.number)
    binding = words.encode(bind(broker.vendor.admin, place, wrapped=made.encrypted))
    with sqlite3.connect(broker.state_dir / "broker.db") as database:
        values = (imported_fingerprint(made.encrypted), binding)
        database.execute("UPDATE tenant_secrets SET bound = 0, fingerprint = ?, binding = ?", values)
    async with running_proxy(broker.state_dir, broker_url=broker.url) as proxy:
        assert await derive(proxy) == before

        async def bound():
            return (await renewals(broker)).unbound == 0

        await until(bound)
        assert (await listed(broker))[0].fingerprint == made.fingerprint
        assert await derive(proxy) == before


async def test_derivation_starts_without_the_broker(tmp_path):
    cache = {"TSP_CONFIG_CACHE_DIR": str(tmp_path / "cache")}
    async with running_broker(tmp_path, {"a": (OLD,), "b": (NEW,)}) as broker:
        url = broker.url
        async with running_proxy(tmp_path, settings=cache, broker_url=url) as proxy:
            before = await derive(proxy)
    async with running_proxy(tmp_path, settings=cache, broker_url=url) as proxy:
        assert await derive(proxy) == before
        unseen = await proxy.call("key/derive-with-secret-path", "b", **BODY)
        assert (unseen[0], unseen[1]["code"]) == (422, 401)
    async with running_proxy(tmp_path, broker_url=url, settings={"TSP_CONFIG_CACHE_DIR": str(tmp_path / "cache")}):
        pass
    assert len(list((tmp_path / "cache" / "secrets").iterdir())) == 1


async def test_a_revoked_proxy_keeps_no_secrets(tmp_path):
    cache = {"TSP_CONFIG_CACHE_DIR": str(tmp_path / "cache")}
    kept = tmp_path / "cache" / "secrets"
    async with (
        running_broker(tmp_path, {"a": (OLD,)}) as broker,
        running_proxy(tmp_path, settings=cache, broker_url=broker.url) as proxy,
    ):
        await derive(proxy)
        assert list(kept.iterdir())
        await broker.revoke("kit-proxy")

        async def gone():
            return not list(kept.iterdir())

        await until(gone)


async def test_many_secrets_of_one_tenant_are_served_bound_and_renewed(broker):
    """More than are judged at once, and more than are lent at once."""

    async def derived(proxy):
        keys = {}
        for begin in range(0, 45, 5):
            paths = {f"p{number}": ["d"] for number in range(begin, begin + 5)}
            status, answer = await proxy.call("key/derive-with-secret-path", "a", **{**BODY, "paths": paths})
            assert status == 200, answer
            keys |= answer["derivedKeys"]
        return keys

    async with running_proxy(broker.state_dir, broker_url=broker.url) as proxy:
        before = await derived(proxy)
        await broker.put({"a": (Use(1, primary=False), NEW)})
        await settled(broker)
    assert {each.config for each in await listed(broker)} == {2}
    async with running_proxy(broker.state_dir, broker_url=broker.url) as fresh:
        assert await derived(fresh) == before
