"""No secret leaves the proxy by a side door: output, metrics, health and errors are searched for planted canaries."""

import base64
import binascii
import contextlib
import copy
import json
import pickle
import signal
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenant_security.kms.local import LocalKmsKey
from tenant_security.outbound.flow import finished
from tenant_security.proxy.secret_store import SecretFile
from tenant_security.proxy.settings import read_proxy_settings
from tenant_security.wire import edek
from tenant_security.wire.edek import EncryptedDek
from tenant_security.wire.kms.local import LocalKmsConfig
from tenant_security.wire.kms_configs import decode_kms_config

from .proxy_process import API_KEY, World, a_world, ask, aws_config, derivation, fields, local_config, until

ROUTES = (
    "document/wrap",
    "document/unwrap",
    "document/batch-wrap",
    "document/batch-unwrap",
    "document/rekey",
    "document/report-operations",
    "key/derive-with-secret-path",
    "event/security-event",
)
FIRST_KEY, SECOND_KEY, GUESS = "Q2FuYXJ5Rmlyc3RLZXkx", "Q2FuYXJ5U2Vjb25kS2V5", "Q2FuYXJ5R3Vlc3NlZEtl"
MASTER = b"CANARY-master-key-of-local-kms-1"
SECRET = b"CANARY-plain-tenant-secret-seed1"
AWS_SECRET = "CANARYawsSecretAccessKey0123456789abcdef"
EDEK_CANARY = b"CANARY-in-an-encrypted-document-key"
BODY_CANARY = "CANARY-in-a-garbage-body"
CUSTOM = "CANARY-custom-field-for-events-only"
BUG_CANARY = "CANARY-in-the-message-of-a-bug"

BUG = f"""
from tenant_security.proxy import operations
real = operations.Operations.rekey
async def rekey(self, request, ray_id):
    if request.new_tenant_id == "bug":
        held = {MASTER!r}
        raise ValueError({BUG_CANARY!r}, held, request)
    return await real(self, request, ray_id)
operations.Operations.rekey = rekey
"""


def encodings(secret: str | bytes) -> set[bytes]:
    """How a secret could look in a text, shifted base64 included."""
    raw = secret.encode() if isinstance(secret, str) else secret
    found = {raw, raw.hex().encode(), raw.hex().upper().encode(), urllib.parse.quote_from_bytes(raw, safe="").encode()}
    found |= {urllib.parse.quote_plus(raw).encode(), repr(raw)[2:-1].encode(), repr(list(raw))[1:-1].encode()}
    for shift in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # The first and last characters mix with what stands beside them.
            found.add(encode(b"\0" * shift + raw)[4 if shift else 0 : -4])
    with contextlib.suppress(binascii.Error):
        decoded = binascii.a2b_base64(raw, strict_mode=True)
        found |= {decoded, decoded.hex().encode()}
    return {each for each in found if len(each) >= 10}


def assert_free_of(text: bytes, where: str, *secrets: str | bytes) -> None:
    for secret in secrets:
        for encoded in encodings(secret):
            assert encoded not in text, f"{secret!r} stands in {where} as {encoded!r}"


def test_the_search_finds_what_it_looks_for() -> None:
    for planted in (MASTER, base64.b64encode(b"x" + MASTER + b"yz"), MASTER.hex().encode(), repr(MASTER).encode()):
        with pytest.raises(AssertionError, match="stands in"):
            assert_free_of(b'{"a": "' + planted + b'"}', "a text", MASTER)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as made:
        yield made


def seed_secret(world: World) -> None:
    config = decode_kms_config(json.dumps(local_config(MASTER)).encode())
    assert isinstance(config, LocalKmsConfig)
    blob = finished(LocalKmsKey(config).wrap(SECRET))
    store = SecretFile(world.state / "tenant-secrets.sqlite")
    store.put("canary", "deterministic", "seeded", edek.encode(EncryptedDek(blob, 9001)))
    store.close()


def test_no_secret_leaves_the_proxy_by_a_side_door(world: World) -> None:  # noqa: C901 - one long walk
    world.write_snapshot(
        canary=local_config(MASTER), dead=aws_config("http://127.0.0.1:9", AWS_SECRET), wrong={**local_config(MASTER)}
    )
    seed_secret(world)
    proxy = world.start(before=BUG, RUST_LOG="debug", API_KEY=FIRST_KEY, API_KEY_2=SECOND_KEY).ready()
    refusals: list[bytes] = []
    successes: list[bytes] = []
    plain: list[str] = []

    def call(route: str, body: object, key: str = FIRST_KEY) -> object:
        got = proxy.call(route, body, key=key)
        (successes if got.status == 200 else refusals).append(json.dumps(got.headers).encode() + got.body)
        return got.json()

    custom = {"customFields": {"note": CUSTOM}}
    wrapped = call("document/wrap", fields("canary", **custom), SECOND_KEY)
    assert isinstance(wrapped, dict)
    plain.append(wrapped["dek"])
    derived = call("key/derive-with-secret-path", derivation("canary", "seeded", "fresh"))
    assert isinstance(derived, dict)
    plain += [each["d"][0]["derivedKey"] for each in derived["derivedKeys"].values()]
    assert len(plain) == 3
    own = wrapped["edek"]
    call("document/unwrap", fields("canary", encryptedDocumentKey=own, **custom))
    call("document/batch-wrap", fields("canary", documentIds=["a", "b"], **custom))
    call("document/batch-unwrap", fields("canary", edeks={"a": own}, **custom))
    call("document/rekey", fields("canary", encryptedDocumentKey=own, newTenantId="wrong", **custom))
    call("document/report-operations", fields("canary", operations={own: {"wraps": 1, "unwraps": 2}}, **custom))
    call("event/security-event", fields("canary", event="LOGIN", timestampMillis=1_700_000_000_000, **custom))
    assert len(successes) == 8, refusals

    bad_edeks = [base64.b64encode(EDEK_CANARY).decode(), EDEK_CANARY.decode(), BODY_CANARY, own[:-8], own[:40] + "AAAA"]
    for bad in bad_edeks:
        call("document/unwrap", fields("canary", encryptedDocumentKey=bad))
        call("document/rekey", fields("canary", encryptedDocumentKey=bad, newTenantId="wrong"))
        batch = call("document/batch-unwrap", fields("canary", edeks={"a": bad}))
        assert_free_of(json.dumps(batch).encode(), "a batch's failures", EDEK_CANARY, BODY_CANARY, MASTER)
    garbage: list[object] = [
        BODY_CANARY.encode(),
        b'{"tenantId": "' + BODY_CANARY.encode(),
        f'["{BODY_CANARY}"]'.encode(),
        b"\xff\xfe" + BODY_CANARY.encode("utf-16"),
        fields(
            "canary", documentIds=BODY_CANARY, encryptedDocumentKey=[BODY_CANARY], edeks=BODY_CANARY, paths=BODY_CANARY
        )
        | {"tenantId": [BODY_CANARY]},
        {"tenantId": "canary", "iclFields": BODY_CANARY},
        {"tenantId": "canary", "iclFields": {"requestingId": [BODY_CANARY]}},
        {BODY_CANARY: BODY_CANARY},
        fields("canary") | {"customFields": [BODY_CANARY], "timestampMillis": BODY_CANARY},
    ]
    for route in ROUTES:
        for body in garbage:
            call(route, body)
            call(route, body, GUESS)
    for route in ("document/wrap", "document/batch-wrap"):
        call(route, fields("dead", documentIds=["a"]))
    call("key/derive-with-secret-path", derivation("dead", "x"))
    foreign = edek.to_base64(edek.encode(EncryptedDek(MASTER, 9002)))
    call("document/unwrap", fields("dead", encryptedDocumentKey=foreign))
    bug = call("document/rekey", fields("canary", encryptedDocumentKey=own, newTenantId="bug"))
    assert isinstance(bug, dict)
    assert bug["code"] == 100
    assert proxy.lines("internal error")[0]["error"] == "ValueError"
    for header in (GUESS, f"cmk {GUESS}", f"Bearer {GUESS}", f"cmk  {FIRST_KEY}", f"cmk {FIRST_KEY}x", f"cmk {GUESS}é"):
        for path in ("/api/1/document/wrap", f"/{BODY_CANARY}", "/openapi.json"):
            sent = {"Authorization": header.encode().decode("latin-1")}
            got = ask(proxy.api, path, b"{}", method="POST", headers=sent)
            assert got.status in (401, 404)
            refusals.append(json.dumps(got.headers).encode() + got.body)
    for port in (proxy.api, proxy.ops):
        for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS"):
            got = ask(port, f"/{BODY_CANARY}?{GUESS}", method=method, headers={"Authorization": f"cmk {GUESS}"})
            refusals.append(json.dumps(got.headers).encode() + got.body)
    world.snapshot.write_bytes(BODY_CANARY.encode() + world.snapshot.read_bytes())
    proxy.signal(signal.SIGHUP)
    until(lambda: bool(proxy.lines("the tenants could not be read again; the last good ones stay")), "a refusal")

    environ = world.environ
    service = [environ["SERVICE_ENCRYPTION_PRIVATE_KEY"], environ["SERVICE_SIGNING_PRIVATE_KEY"]]
    always = (FIRST_KEY, SECOND_KEY, MASTER, SECRET, AWS_SECRET, BUG_CANARY, *service, *plain)
    received = (GUESS, EDEK_CANARY, BODY_CANARY, CUSTOM)
    ops = {path: ask(proxy.ops, path).body for path in ("/metrics", "/health", "/ready", "/live")}
    proxy.signal(signal.SIGTERM)
    assert proxy.wait() == 0
    for where, text in ops.items():
        assert_free_of(text, where, *always, *received)
    assert_free_of(proxy.out.read_bytes(), "standard output", *always, *received)
    assert_free_of(proxy.err.read_bytes(), "standard error", *always, *received)
    assert len(refusals) > 150
    for each in refusals:
        assert_free_of(each, "a refusal", *always, *received)
    for each in successes:
        assert_free_of(each, "an answer", FIRST_KEY, SECOND_KEY, MASTER, SECRET, AWS_SECRET, *service, CUSTOM)
    assert "Traceback" not in proxy.output


def test_settings_show_and_give_away_no_secret(world: World) -> None:
    settings, credentials = read_proxy_settings(world.environ | {"API_KEY": FIRST_KEY, "API_KEY_2": SECOND_KEY})
    secrets = (
        FIRST_KEY,
        SECOND_KEY,
        world.environ["SERVICE_ENCRYPTION_PRIVATE_KEY"],
        world.environ["SERVICE_SIGNING_PRIVATE_KEY"],
    )
    config = decode_kms_config(json.dumps(aws_config("http://127.0.0.1:9", AWS_SECRET)).encode())
    local = decode_kms_config(json.dumps(local_config(MASTER)).encode())
    for each in (settings, credentials, config, local, settings.api_keys):
        shown = f"{each!r} {each!s} {each}".encode()
        assert_free_of(shown, "a representation", *secrets, AWS_SECRET, MASTER)
        for give_away in (pickle.dumps, copy.deepcopy):
            with pytest.raises(TypeError, match="cannot be pickled"):
                give_away(each)


def test_the_events_hold_what_the_application_said(world: World) -> None:
    """The other half: custom fields do reach the events, and only there."""
    proxy = world.start(TSP_ENABLE_LOGDRIVER_INTEGRATION="false").ready()
    assert proxy.call("document/wrap", fields("tenant-gcp", customFields={"note": CUSTOM}), key=API_KEY).status == 200
    until(lambda: bool(proxy.lines("security event")), "the event")
    assert CUSTOM in proxy.output
    proxy.stop()
