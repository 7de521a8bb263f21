"""A broker that lies: the proxy serves on with what is right, takes nothing that is not, and says so."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable

import aiohttp
import msgspec
import pytest
from aiohttp import web

from tenant_security.authoring import documents
from tenant_security.authoring.vendor import Vendor
from tenant_security.cli.head import vouch
from tenant_security.crypto.derive import bound_fingerprint
from tenant_security.crypto.seal import SealingKey, Suite
from tenant_security.crypto.signing import key_id
from tenant_security.crypto.unseal import new_seed
from tenant_security.testing.brokers import running_broker
from tenant_security.testing.proxies import Use, running_proxy
from tenant_security.trust.tenant_secrets import Place, bind
from tenant_security.wire import broker_api as api
from tenant_security.wire import snapshot as words

TENANTS = {"a": (Use(1),), "b": (Use(2),)}
Twist = Callable[[list[bytes]], list[bytes]]


class Liar:
    """Stands between a proxy and an honest broker, and may change what passes. ``twist`` changes a snapshot's lines."""

    def __init__(self, honest: str) -> None:
        self.honest = honest
        self.url = ""
        self.twist: Twist | None = None
        self.answer: Callable[[web.Request], AsyncIterator[bytes] | web.Response] | None = None
        self.secrets: Callable[[list[dict[str, object]]], list[dict[str, object]]] | None = None
        self.last: list[bytes] = []
        self.asked = 0
        self._session: aiohttp.ClientSession | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/service/1/snapshot":
            self.asked += 1
            if self.answer is not None:
                answer = self.answer(request)
                return answer if isinstance(answer, web.Response) else await self._stream(request, answer)
        assert self._session is not None
        query = request.rel_url.query_string
        headers = {"Authorization": request.headers["Authorization"], "Content-Type": "application/json"}
        async with self._session.request(
            request.method, f"{self.honest}{request.path}?{query}", headers=headers, data=await request.read()
        ) as reply:
            body = await reply.read()
        if request.path == "/service/1/snapshot" and reply.status == 200:
            lines = body.splitlines()
            self.last = lines
            if self.twist is not None:
                lines = self.twist(lines)
                body = b"".join(line + b"\n" for line in lines)
        if request.path == "/service/1/secrets" and self.secrets is not None and reply.status == 200:
            body = json.dumps({"secrets": self.secrets(json.loads(body)["secrets"])}).encode()
        return web.Response(status=reply.status, body=body, content_type="application/json")

    @staticmethod
    async def _stream(request: web.Request, pieces: AsyncIterator[bytes]) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            async for piece in pieces:
                await response.write(piece)
        return response


@contextlib.asynccontextmanager
async def lying(honest: str) -> AsyncIterator[Liar]:
    liar = Liar(honest)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", liar.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    liar.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with aiohttp.ClientSession() as session:
        liar._session = session
        try:
            yield liar
        finally:
            await runner.cleanup()


@pytest.fixture
async def broker(tmp_path):
    async with running_broker(tmp_path / "world", TENANTS) as made:
        yield made


@pytest.fixture
async def liar(broker):
    async with lying(broker.url) as made:
        yield made


SETTINGS = {"TSP_CONFIG_WAIT_SECONDS": "0", "TSP_CONFIG_REFRESH_SECONDS": "3600", "TSP_MAX_SNAPSHOT_BYTES": "1048576"}


@pytest.fixture
async def proxy(broker, liar):
    """A proxy that has read the truth once; from now on it reads when it is told to."""
    async with running_proxy(broker.state_dir, settings=SETTINGS, broker_url=liar.url) as made:
        yield made


async def tenants_check(proxy):
    checks = json.loads((await proxy.ops("/health"))[1])["checks"]
    return next(check for check in checks if check["name"] == "tenants")


async def serves(proxy, tenant):
    return (await proxy.call("document/wrap", tenant))[0] == 200


def whole(liar: Liar) -> Twist:
    """Serve what was served first, whole, whatever was asked for."""
    first = list(liar.last)
    return lambda _: first


def retold(lines: list[bytes], **changes: object) -> list[bytes]:
    """Change the first line, and let it name the right number of lines."""
    header = words.decode(words.SnapshotHeader, lines[0])
    first = msgspec.structs.replace(header, lines=len(lines) - 1, since=None, **changes)
    return [words.encode(first), *lines[1:]]


def line_of(lines: list[bytes], tenant: str) -> words.TenantLine:
    return next(
        entry
        for entry in map(words.decode_line, lines[1:])
        if isinstance(entry, words.TenantLine) and entry.tenant == tenant
    )


async def test_another_tenants_config_is_not_used(liar, proxy):
    def swapped(lines):
        a, b = line_of(lines, "a"), line_of(lines, "b")
        return retold([lines[0], words.encode(msgspec.structs.replace(a, configs=b.configs)), words.encode(b)])

    truth = list(liar.last)
    liar.twist = lambda _: swapped(truth)
    await proxy.reload()
    assert await serves(proxy, "b")
    check = await tenants_check(proxy)
    assert check["status"] == "WARN"
    assert set(check["data"]["quarantined"]) == {"a"}
    assert (await proxy.call("document/wrap", "a"))[1]["code"] == 207


async def test_another_tenants_record_is_not_used(liar, proxy):
    truth = list(liar.last)
    a, b = line_of(truth, "a"), line_of(truth, "b")
    forged = msgspec.structs.replace(a, record=b.record, configs=b.configs)
    liar.twist = lambda _: retold([truth[0], words.encode(forged), words.encode(b)])
    await proxy.reload()
    assert await serves(proxy, "b")
    assert set((await tenants_check(proxy))["data"]["quarantined"]) == {"a"}


async def test_a_config_of_the_brokers_own_making_is_not_used(broker, liar, proxy, tmp_path):
    """The broker knows the segment's public key, so it can seal whatever it likes; it cannot sign it."""
    truth = list(liar.last)
    a = line_of(truth, "a")
    own = Vendor.create(tmp_path / "own", "kit-vendor").admin
    header = words.decode(words.ConfigHeader, a.configs[0].header)
    newer = msgspec.structs.replace(header, version=header.version + 1)
    planted = documents.seal_config(newer, b"{}", broker.vendor.segment(1), own)
    for author in (own.key_id, broker.vendor.admin.key_id):
        forged = msgspec.structs.replace(a, configs=(msgspec.structs.replace(planted, author=author),))
        liar.twist = lambda _, forged=forged: retold([truth[0], words.encode(forged), truth[2]])
        await proxy.reload()
        assert set((await tenants_check(proxy))["data"]["quarantined"]) == {"a"}
        assert await serves(proxy, "b")


async def test_another_vendors_world_is_refused_whole(liar, proxy, tmp_path):
    async with (
        running_broker(tmp_path / "other", {"a": (Use(1),)}) as other,
        lying(other.url) as mirror,
        running_proxy(other.state_dir, settings=SETTINGS, broker_url=mirror.url),
    ):
        theirs = list(mirror.last)
    liar.twist = lambda _: theirs
    await proxy.reload()
    assert await serves(proxy, "a")
    assert "root key is not the pinned one" in (await tenants_check(proxy))["data"]["lastError"]


async def test_a_manifest_with_the_brokers_own_keys_is_refused(liar, proxy, tmp_path):
    own = Vendor.create(tmp_path / "own", "kit-vendor")
    liar.twist = lambda lines: retold(lines, manifest=own.state.manifest)
    await proxy.reload()
    assert await serves(proxy, "a")
    assert "does not let" in (await tenants_check(proxy))["data"]["lastError"]


async def test_a_segment_seed_of_the_brokers_own_is_refused(broker, liar, proxy):
    identity = broker.vendor.manifest.identities[0]
    segment = broker.vendor.segment(1)
    recipient = SealingKey(Suite(identity.suite), identity.encryption)
    planted = documents.wrap_seed("kit-vendor", segment, new_seed(), recipient)
    liar.twist = lambda lines: retold(lines, segment_wraps=(planted,))
    await proxy.reload()
    assert await serves(proxy, "a")
    assert "not of the manifest's public key" in (await tenants_check(proxy))["data"]["lastError"]


async def test_what_was_switched_off_does_not_come_back(broker, liar, proxy):
    old = list(liar.last)
    await broker.put({"a": (Use(1, active=False, primary=False),)})
    await proxy.reload()
    assert not await serves(proxy, "a")

    liar.twist = lambda _: retold(old)
    await proxy.reload()
    assert not await serves(proxy, "a")
    assert await serves(proxy, "b")
    check = await tenants_check(proxy)
    assert (check["status"], set(check["data"]["rollbacks"])) == ("WARN", {"a"})
    assert b"tsp_directory_rollbacks 1.0" in (await proxy.ops("/metrics"))[1]


async def test_what_was_switched_off_does_not_come_back_after_a_restart(broker, liar, tmp_path):
    settings = {**SETTINGS, "TSP_CONFIG_CACHE_DIR": str(tmp_path / "cache")}
    async with running_proxy(broker.state_dir, settings=settings, broker_url=liar.url):
        old = list(liar.last)
    await broker.put({"a": (Use(1, active=False, primary=False),)})
    async with running_proxy(broker.state_dir, settings=settings, broker_url=liar.url) as proxy:
        assert not await serves(proxy, "a")
    liar.twist = lambda _: retold(old)
    async with running_proxy(broker.state_dir, settings=settings, broker_url=liar.url) as proxy:
        assert not await serves(proxy, "a")
        assert set((await tenants_check(proxy))["data"]["rollbacks"]) == {"a"}


async def test_changes_for_another_version_are_not_applied(liar, proxy):
    """Changes that leave a step out: the proxy asks for the whole, and takes nothing half."""
    truth = list(liar.last)
    version = words.decode(words.SnapshotHeader, truth[0]).version
    skipping = msgspec.structs.replace(
        words.decode(words.SnapshotHeader, truth[0]), since=version - 5, version=version + 5, lines=1
    )
    liar.twist = lambda _: [words.encode(skipping), words.encode(words.GoneLine(tenant="a"))]
    await proxy.reload()
    assert await serves(proxy, "a")
    assert (await tenants_check(proxy))["data"]["failuresInARow"] == 1


async def head_for(broker, life_s):
    """Vouch for what the broker serves now, as the vendor's side does."""
    session = type("Session", (), {"vendor": broker.vendor})()
    path = broker.state_dir / "to-vouch"
    await broker.run(broker.admin.download_snapshot(1, path))
    await broker.run(broker.admin.publish_head(vouch(session, 1, path, life_s)))


async def test_an_entry_that_is_left_out_is_noticed_where_there_are_heads(broker, liar, proxy):
    await head_for(broker, 600)
    await proxy.reload()
    assert (await tenants_check(proxy))["data"]["freshness"] == "head"
    truth = list(liar.last)
    header = words.decode(words.SnapshotHeader, truth[0])
    left_out = [truth[0], *(line for line in truth[1:] if b'"tenant":"a"' not in line)]
    assert header.head is not None
    liar.twist = lambda _: retold(left_out)
    await proxy.reload()
    assert await serves(proxy, "a")
    assert "head" in (await tenants_check(proxy))["data"]["lastError"]


async def test_a_broker_that_freezes_is_noticed_when_the_head_runs_out(broker, liar, proxy):
    """It hides a revocation: nothing new ever comes. The proxy serves on, and says that what it has has run out."""
    await head_for(broker, 2)
    await proxy.reload()
    await broker.revoke("kit-proxy")
    liar.answer = lambda _: web.Response(status=304)
    while (check := await tenants_check(proxy))["data"]["lastError"] is None:
        await proxy.reload()
        await asyncio.sleep(0.1)
    assert check["status"] == "WARN"
    assert "has expired" in check["data"]["lastError"]
    assert await serves(proxy, "a")


async def test_a_heads_promise_cannot_be_dropped_where_heads_are_required(broker, liar, proxy):
    broker.vendor.require_head()
    await broker.run(broker.admin.publish_keys())
    await head_for(broker, 600)
    await proxy.reload()
    assert (await tenants_check(proxy))["data"]["failuresInARow"] == 0
    liar.twist = lambda lines: retold(lines, head=None)
    await proxy.reload()
    assert await serves(proxy, "a")
    assert "because of its head" in (await tenants_check(proxy))["data"]["lastError"]


async def endless(_: web.Request) -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 65_536


async def cut(lines: list[bytes], at: int) -> AsyncIterator[bytes]:
    yield b"".join(line + b"\n" for line in lines)[:at]


def _answers(lines: list[bytes]) -> dict[str, Callable[[web.Request], object]]:
    size = sum(len(line) + 1 for line in lines)
    return {
        "nothing": lambda _: web.Response(body=b""),
        "a page": lambda _: web.Response(body=b"<html>sign in</html>", content_type="text/html"),
        "a failure": lambda _: web.Response(status=500, body=b"Traceback ..."),
        "a redirect": lambda _: web.Response(status=302, headers={"Location": "http://127.0.0.1:9/"}),
        "no body for changes": lambda _: web.Response(status=204),
        "half a line": lambda _: cut(lines, size - 40),
        "a line too few": lambda _: cut(lines, size - len(lines[-1]) - 1),
        "half the first line": lambda _: cut(lines, 100),
        "a line too many": lambda _: web.Response(body=b"\n".join([*lines, lines[-1], b""])),
        "endless": endless,
        "deep": lambda _: web.Response(body=b'{"a":' * 100_000),
        "not text": lambda _: web.Response(body=bytes(range(256)) * 100),
    }


@pytest.mark.parametrize("what", sorted(_answers([b"x", b"y"])))
async def test_nonsense_changes_nothing(liar, proxy, what):
    liar.answer = _answers(list(liar.last))[what]
    before = (await tenants_check(proxy))["data"]["snapshotVersion"]
    await proxy.reload()
    check = await tenants_check(proxy)
    assert (check["status"], check["data"]["failuresInARow"]) == ("WARN", 1)
    assert check["data"]["lastError"]
    assert check["data"]["snapshotVersion"] == before
    assert await serves(proxy, "a")
    assert await serves(proxy, "b")
    liar.answer = None
    await proxy.reload()
    assert (await tenants_check(proxy))["status"] == "UP"


async def test_a_broker_cannot_revoke_by_itself(broker, liar, proxy, tmp_path):
    """Only the vendor's own word stops a proxy: neither a refusal nor a forged manifest does."""
    liar.answer = lambda _: web.Response(status=401, body=b'{"message":"you were revoked"}')
    await proxy.reload()
    assert await serves(proxy, "a")
    liar.answer = None
    identity = msgspec.structs.replace(broker.vendor.manifest.identities[0], status=words.Status.REVOKED)
    revoking = msgspec.structs.replace(
        broker.vendor.manifest, identities=(identity,), version=broker.vendor.manifest.version + 1
    )
    forged = documents.sign(documents.Kind.MANIFEST, revoking, Vendor.create(tmp_path / "own", "kit-vendor").admin)
    claimed = msgspec.structs.replace(forged, key=broker.vendor.admin.key_id)
    for manifest in (forged, claimed):
        liar.twist = lambda lines, manifest=manifest: retold(lines, manifest=manifest)
        await proxy.reload()
        assert await serves(proxy, "a")
        assert (await proxy.ops("/ready"))[0] == 200


# -- tenant secrets ----------------------------------------------------------------------------------------------------

ASKS_AT_ONCE = {**SETTINGS, "TSP_TENANT_SECRET_CACHE_SECONDS": "0"}


@pytest.fixture
async def deriving(broker, liar):
    """A proxy that asks the broker for a tenant's secrets whenever it derives."""
    async with running_proxy(broker.state_dir, settings=ASKS_AT_ONCE, broker_url=liar.url) as made:
        yield made


async def derive(proxy, path="p", tenant="a"):
    """Derive one key; return the keys, or the fault."""
    body = {"derivationType": "sha512", "secretType": "deterministic", "paths": {path: ["d"]}}
    status, answer = await proxy.call("key/derive-with-secret-path", tenant, **body)
    return answer["derivedKeys"][path]["d"] if status == 200 else answer


def exchanged(*members):
    """Exchange these members of the first two secrets."""

    def twist(secrets):
        first, second, *others = secrets
        for member in members:
            first[member], second[member] = second[member], first[member]
        return [first, second, *others]

    return twist


EXCHANGES = {
    "what is wrapped": ("encrypted",),
    "and what stands for it": ("encrypted", "fingerprint"),
    "everything but the path": ("encrypted", "fingerprint", "binding", "number", "id"),
    "the paths": ("path",),
    "the numbers": ("number",),
    "the bindings": ("binding",),
}


@pytest.mark.parametrize("members", EXCHANGES.values(), ids=EXCHANGES)
async def test_two_secrets_of_one_tenant_cannot_be_exchanged(liar, deriving, broker, members):
    truth = {path: await derive(deriving, path) for path in ("p", "q")}
    liar.secrets = exchanged(*members)
    async with running_proxy(broker.state_dir, settings=ASKS_AT_ONCE, broker_url=liar.url) as fresh:
        for path in ("p", "q"):
            assert (await derive(fresh, path))["code"] == 401
    for path in ("p", "q"):
        after = await derive(deriving, path)
        assert after == truth[path] or after["code"] == 401
    liar.secrets = None
    assert {path: await derive(deriving, path) for path in ("p", "q")} == truth


async def test_a_secret_whose_binding_was_taken_off_is_not_used_unless_the_operator_says_so(liar, deriving, broker):
    truth = await derive(deriving)
    liar.secrets = lambda secrets: [{**each, "binding": None} for each in secrets]
    async with running_proxy(broker.state_dir, settings=ASKS_AT_ONCE, broker_url=liar.url) as fresh:
        answer = await derive(fresh)
    assert answer["code"] == 401
    assert "TSP_ACCEPT_UNBOUND_SECRETS" in answer["message"]
    settings = {**ASKS_AT_ONCE, "TSP_ACCEPT_UNBOUND_SECRETS": "true"}
    async with running_proxy(broker.state_dir, settings=settings, broker_url=liar.url) as trusting:
        assert await derive(trusting) == truth


async def test_a_secret_that_the_broker_knows_cannot_be_planted(liar, deriving, broker, tmp_path):
    """It has an EDEK of the tenant and its DEK, from an application that talks: it can make every word but one."""
    await derive(deriving)
    _, wrapped = await deriving.call("document/wrap", "a")
    known, edek = base64.b64decode(wrapped["dek"]), base64.b64decode(wrapped["edek"])
    own = Vendor.create(tmp_path / "own", "kit-vendor").admin

    def planted(secrets, signer):
        (first,) = secrets
        place = Place("kit-vendor", "a", first["type"], first["path"], first["number"])
        fingerprint = bound_fingerprint(known, place.encoded())
        binding = msgspec.structs.replace(bind(own, place, fingerprint=fingerprint), key=signer or own.key_id)
        forged = {"encrypted": edek, "fingerprint": fingerprint, "binding": binding}
        return [{**first, **msgspec.to_builtins(forged)}]

    for signer in ("", broker.vendor.admin.key_id, signing_key(broker, "kit-proxy")):
        liar.secrets = lambda secrets, signer=signer: planted(secrets, signer)
        async with running_proxy(broker.state_dir, settings=ASKS_AT_ONCE, broker_url=liar.url) as fresh:
            assert (await derive(fresh))["code"] == 401


def signing_key(broker, name):
    return next(key_id(each.signing) for each in broker.vendor.manifest.identities if each.id == name)


async def rotated(broker):
    """Begin the rotation of the only secret."""
    (secret,) = await broker.run(broker.admin.every("/secrets", api.TenantSecret))
    await broker.run(broker.admin.ask("POST", f"/tenants/a/secrets/{secret.id}/rotation/begin", api.TenantSecret))


def before_the_rotation(secrets):
    """Show the older secret as the current one."""
    older, newer = sorted(secrets, key=lambda each: each["number"])
    return [{**older, "rotation": "current"}, {**newer, "rotation": "in-rotation"}]


async def test_an_older_secret_cannot_be_shown_as_the_current_one(liar, deriving, broker):
    await derive(deriving)
    await rotated(broker)
    truth = await derive(deriving)
    assert [each["current"] for each in truth] == [True, False]
    liar.secrets = before_the_rotation
    assert await derive(deriving) == truth
    async with running_proxy(broker.state_dir, settings=ASKS_AT_ONCE, broker_url=liar.url) as fresh:
        assert "code" in await derive(fresh)


async def test_a_secret_that_was_seen_cannot_be_hidden_also_after_a_restart(liar, broker, tmp_path):
    settings = {**ASKS_AT_ONCE, "TSP_CONFIG_CACHE_DIR": str(tmp_path / "cache")}
    async with running_proxy(broker.state_dir, settings=settings, broker_url=liar.url) as proxy:
        await derive(proxy)
        await rotated(broker)
        truth = await derive(proxy)
    hidden = {
        "the newest": lambda secrets: [min(secrets, key=lambda each: each["number"])],
        "the newest, and the older in its place": lambda secrets: [
            {**min(secrets, key=lambda each: each["number"]), "rotation": "current"}
        ],
        "all": lambda _: [],
    }
    async with running_proxy(broker.state_dir, settings=settings, broker_url=liar.url) as proxy:
        for count, liar.secrets in enumerate(hidden.values(), start=1):
            assert await derive(proxy) == truth
            counted = f'tsp_tenant_secret_refusals_total{{what="stale"}} {count}.0'
            assert counted.encode() in (await proxy.ops("/metrics"))[1]
        liar.secrets = None
        assert await derive(proxy) == truth


async def test_a_secret_of_another_tenant_is_not_taken(liar, deriving):
    assert "code" not in await derive(deriving, tenant="b")
    theirs: list[dict[str, object]] = []

    def overheard(secrets):
        theirs.extend(secrets)
        return secrets

    liar.secrets = overheard
    await derive(deriving, tenant="b")
    liar.secrets = lambda _: theirs
    assert (await derive(deriving, tenant="a"))["code"] == 401
