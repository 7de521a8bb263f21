"""Tenant secrets: one winner, current first, in memory only for a while and only with the right."""

import asyncio
import base64

import msgspec
import pytest

from tenant_security.crypto.derive import derive_key
from tenant_security.errors import Code, TenantSecurityError
from tenant_security.proxy.secret_store import NoSecretStore, Rotation, SecretFile
from tenant_security.proxy.tenant_secrets import SecretPolicy, TenantSecrets
from tenant_security.testing.tenants import PlainConfig, tenant, use
from tenant_security.wire import edek
from tenant_security.wire.edek import EncryptedDek
from tenant_security.wire.proxy_api import DeriveRequest

PLAIN = PlainConfig(510, owner="plain")
FRESH_S = SecretPolicy().fresh_s


async def derive(stage, paths=None, who="plain", kind="sha512", secret_type="deterministic"):
    wanted = {"s": ["p"]} if paths is None else paths
    return await stage.call("derive", DeriveRequest, who, paths=wanted, derivationType=kind, secretType=secret_type)


async def refused(waiting) -> TenantSecurityError:
    with pytest.raises(TenantSecurityError) as caught:
        await waiting
    return caught.value


async def put(stage, rotation, secret):
    blob = await stage.kms.as_proxy_calls_it().wrap("plain", PLAIN, secret)
    return stage.store.put("plain", "deterministic", "s", edek.encode(EncryptedDek(blob, PLAIN.id)), rotation)


async def test_the_first_derivation_makes_the_secret_and_every_later_one_uses_it(stage, kms):
    first = await derive(stage)
    second = await derive(stage)

    assert first == second
    ((key,),) = first["derivedKeys"]["s"].values()
    assert first["hasPrimaryConfig"] is True
    assert key["current"] is True
    assert key["tenantSecretId"] >= 1
    assert len(base64.b64decode(key["derivedKey"])) == 64
    assert [each.operation for each in kms.calls] == ["wrap", "unwrap"]


async def test_a_hundred_first_derivations_together_make_one_secret(stage, kms):
    found = await asyncio.gather(*(derive(stage) for _ in range(100)))

    assert all(each == found[0] for each in found)
    assert kms.count("wrap") == 1
    assert len(await stage.store.live("plain", "deterministic", "s")) == 1


async def test_two_processes_that_derive_first_at_once_agree(stage, another_process, kms):
    with kms.held():
        both = [asyncio.create_task(derive(each)) for each in (stage, another_process)]
        await kms.arrived(2)
    one, other = await asyncio.gather(*both)

    assert one == other
    assert kms.count("wrap") == 2  # both made one, the store took the first
    assert await derive(stage) == await derive(another_process) == one


async def test_a_caller_who_leaves_while_a_secret_is_made_takes_nobody_along(stage, kms):
    with kms.held():
        gone, stays = asyncio.create_task(derive(stage)), asyncio.create_task(derive(stage))
        await kms.arrived(1)
        gone.cancel()
    assert (await stays)["hasPrimaryConfig"]
    assert kms.count("wrap") == 1


async def test_keys_are_those_of_the_secret_the_tenant_and_the_path(stage):
    secret = bytes(range(32))
    record = await put(stage, Rotation.CURRENT, secret)

    for kind in ("sha512", "sha256"):
        found = await derive(stage, {"s": ["", "a/b"]}, kind=kind)
        assert found["derivedKeys"]["s"] == {
            path: [
                {
                    "derivedKey": base64.b64encode(derive_key(secret, "plain", path, kind)).decode(),
                    "tenantSecretId": record.id,
                    "current": True,
                }
            ]
            for path in ("", "a/b")
        }


async def test_type_path_and_tenant_each_have_a_secret_of_their_own(stage):
    keys = set()
    for who in ("plain", "leased"):
        for secret_type in ("deterministic", "vector", "search"):
            for path in ("", "s"):
                found = await derive(stage, {path: ["p"]}, who, secret_type=secret_type)
                keys.add(found["derivedKeys"][path]["p"][0]["tenantSecretId"])

    assert len(keys) == 12


async def test_every_pair_that_was_asked_for_is_answered(stage):
    paths = {"": ["x", "y"], "s": [], "t": ["x"]}

    found = (await derive(stage, paths))["derivedKeys"]
    assert {path: sorted(by_path) for path, by_path in found.items()} == {"": ["x", "y"], "s": [], "t": ["x"]}
    assert await derive(stage, {}) == {"hasPrimaryConfig": True, "derivedKeys": {}}


async def test_current_comes_first_then_in_rotation_and_archived_never(stage):
    await put(stage, Rotation.ARCHIVED, b"a" * 32)
    rotating = await put(stage, Rotation.IN_ROTATION, b"b" * 32)
    current = await put(stage, Rotation.CURRENT, b"c" * 32)

    keys = (await derive(stage))["derivedKeys"]["s"]["p"]
    assert [(each["tenantSecretId"], each["current"]) for each in keys] == [(current.id, True), (rotating.id, False)]


async def test_where_only_one_in_rotation_exists_a_current_one_is_made_beside_it(stage):
    rotating = await put(stage, Rotation.IN_ROTATION, b"b" * 32)

    keys = (await derive(stage))["derivedKeys"]["s"]["p"]
    assert [each["current"] for each in keys] == [True, False]
    assert keys[1]["tenantSecretId"] == rotating.id


async def test_a_tenant_without_a_primary_gets_what_exists_and_makes_nothing(stage, kms):
    stage.tenants(tenant("plain", use(PLAIN, primary=False)))
    record = await put(stage, Rotation.CURRENT, b"c" * 32)
    before = kms.count("wrap")

    found = await derive(stage, {"s": ["p"], "never-seen": ["p"]})
    assert found["hasPrimaryConfig"] is False
    assert [each["tenantSecretId"] for each in found["derivedKeys"]["s"]["p"]] == [record.id]
    assert found["derivedKeys"]["never-seen"] == {"p": []}
    assert kms.count("wrap") == before
    assert await stage.store.live("plain", "deterministic", "never-seen") == []


async def test_an_unknown_tenant_makes_nothing(stage):
    assert (await refused(derive(stage, who="nobody"))).code == 201
    assert await stage.store.live("nobody", "deterministic", "s") == []


async def test_a_secret_is_stored_unleased_whatever_the_config_allows(stage):
    await derive(stage, who="leased")

    (record,) = await stage.store.live("leased", "deterministic", "s")
    entry = edek.decode(record.edek)
    assert not entry.leased
    assert entry.config_id == 511


# -- how long it is kept in memory ------------------------------------------------------------------------------------


async def test_a_plain_secret_is_in_memory_for_a_bounded_time(stage, kms, clock):
    await derive(stage)
    clock.advance(FRESH_S - 0.001)
    await derive(stage)
    assert kms.count("unwrap") == 1

    clock.advance(0.001)
    await derive(stage)
    assert kms.count("unwrap") == 2


async def test_a_rotation_is_seen_when_the_cached_secret_has_aged(stage, clock):
    await derive(stage)
    rotating = await put(stage, Rotation.IN_ROTATION, b"b" * 32)
    clock.advance(FRESH_S)

    keys = (await derive(stage))["derivedKeys"]["s"]["p"]
    assert [each["tenantSecretId"] for each in keys][1:] == [rotating.id]


async def test_stale_secrets_leave_the_memory_when_it_is_swept(stage, clock):
    await derive(stage, {"s": ["p"], "t": ["p"]})
    assert len(stage.secrets) == 2
    clock.advance(FRESH_S)
    stage.retain()

    assert len(stage.secrets) == 0


async def test_only_so_many_paths_are_kept(stage):
    stage.build(secrets=SecretPolicy(most_paths=3))
    await derive(stage, {f"s{number}": ["p"] for number in range(10)})

    assert len(stage.secrets) == 3


@pytest.mark.parametrize(
    ("now", "code"),
    [
        ((tenant("plain", use(PLAIN, active=False), use(PlainConfig(600), primary=False)),), 202),
        ((tenant("plain", use(PlainConfig(600))),), 202),
        ((tenant("plain", use(PLAIN, active=False)),), 201),
        ((tenant("plain", use(PLAIN), quarantined="altered"),), 207),
    ],
    ids=["disabled", "unassigned", "last disabled", "quarantined"],
)
async def test_a_cached_secret_is_of_no_use_once_its_config_may_not_be_used(stage, now, code):
    await derive(stage)
    stage.tenants(*now)

    assert (await refused(derive(stage))).code == code
    assert stage.secrets.derive_cached(now[0], request({"s": ["p"]}), most=10) is None
    stage.retain()
    assert len(stage.secrets) == 0


async def test_a_changed_config_is_asked_again(stage, kms):
    await derive(stage)
    stage.tenants(tenant("plain", use(PlainConfig(510, version=2, owner="plain"))))

    with kms.failing(Code.KMS_AUTHORIZATION_FAILED):
        assert (await refused(derive(stage))).code is Code.KMS_AUTHORIZATION_FAILED


def request(paths, secret_type="deterministic", kind="sha512"):
    from tenant_security.wire.proxy_api import IclFields

    return DeriveRequest(
        tenant_id="plain", icl_fields=IclFields("me"), paths=paths, derivation_type=kind, secret_type=secret_type
    )


async def test_the_quick_way_derives_the_same_and_only_from_memory(stage):
    known = stage.tenant("plain")
    assert stage.secrets.derive_cached(known, request({"s": ["p"]}), most=10) is None
    slow = await stage.secrets.derive(known, request({"s": ["p", "q"]}))

    assert stage.secrets.derive_cached(known, request({"s": ["p", "q"]}), most=2) == slow
    assert stage.secrets.derive_cached(known, request({"s": ["p", "q"]}), most=1) is None
    assert stage.secrets.derive_cached(known, request({"s": ["p"], "t": ["p"]}), most=10) is None
    assert stage.secrets.derive_cached(known, request({"s": ["p"]}, kind="argon2"), most=10) is None
    assert stage.secrets.derive_cached(known, request({"s": ["p"]}, secret_type="vector"), most=10) is None


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "secret_type", "word"),
    [
        ("argon2", "deterministic", "argon2"),
        ("md5", "deterministic", "derivationType"),
        ("sha512", "other", "secretType"),
    ],
)
async def test_what_is_not_served_is_refused_with_the_reason_before_anything_is_made(
    stage, kms, kind, secret_type, word
):
    fault = await refused(derive(stage, kind=kind, secret_type=secret_type))

    assert fault.code is Code.INVALID_REQUEST_BODY
    assert word in fault.message
    assert kms.count() == 0


@pytest.mark.parametrize("paths", [{"s": ["p"] * 4}, {"s": ["p", "q"], "t": ["p", "q"]}, {each: [] for each in "abcd"}])
async def test_too_many_keys_in_one_request_are_refused(stage, paths):
    stage.build(secrets=SecretPolicy(most_derivations=3))

    fault = await refused(derive(stage, paths))
    assert fault.code is Code.INVALID_REQUEST_BODY
    assert "at most 3" in fault.message


async def test_a_store_that_fails_is_401_which_is_not_http_401(stage):
    stage.store.close()

    fault = await refused(derive(stage))
    assert (fault.code, fault.http_status) == (Code.SECRET_CREATION_FAILED, 422)


async def test_a_kms_fault_while_a_secret_is_made_is_told_and_nothing_is_stored(stage, kms):
    with kms.failing(Code.KMS_UNREACHABLE):
        assert (await refused(derive(stage))).code is Code.KMS_UNREACHABLE
    assert await stage.store.live("plain", "deterministic", "s") == []

    assert (await derive(stage))["derivedKeys"]["s"]["p"]


async def test_required_leasing_that_is_not_allowed_makes_no_secret(stage):
    stage.tenants(tenant("plain", use(PLAIN), leasing_required=True))

    assert (await refused(derive(stage))).code is Code.KMS_CONFIGURATION_INVALID


@pytest.mark.parametrize("tenant_id", ["plain\x00", "pläin/🔑", " ", "'; DROP TABLE tenant_secret; --"])
@pytest.mark.parametrize("path", ["\x00", "🔑", "'", "x" * 10_000])
async def test_any_text_is_a_tenant_id_and_a_path(stage, tenant_id, path):
    stage.tenants(tenant(tenant_id, use(PLAIN)))

    one = await derive(stage, {path: [path]}, tenant_id)
    other = await derive(stage, {path + "\x00": [path]}, tenant_id)
    assert one["derivedKeys"][path][path] != other["derivedKeys"][path + "\x00"][path]
    assert await stage.store.live(tenant_id, "deterministic", path)


async def test_the_stores_own_file_survives_the_process(stage, tmp_path):
    first = await derive(stage)
    again = SecretFile(tmp_path / "secrets.sqlite")
    try:
        (record,) = await again.live("plain", "deterministic", "s")
    finally:
        again.close()
    assert record.id == first["derivedKeys"]["s"]["p"][0]["tenantSecretId"]


async def test_without_a_durable_place_nothing_is_derived_and_the_answer_says_what_to_set(stage):
    keys = TenantSecrets(stage.keys, stage.kms.as_proxy_calls_it(), NoSecretStore(), SecretPolicy(), stage.start)
    body = {"tenantId": "plain", "iclFields": {"requestingId": "me"}, "paths": {"p": ["d"]}}
    request = msgspec.convert(body | {"derivationType": "sha512", "secretType": "deterministic"}, DeriveRequest)
    with pytest.raises(TenantSecurityError, match="TSP_TENANT_SECRETS_FILE") as caught:
        await keys.derive(stage.tenant("plain"), request)

    assert caught.value.code is Code.SECRET_CREATION_FAILED
    assert stage.kms.count() == 0
