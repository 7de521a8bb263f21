"""The real Transit engine and AppRole method, built from their published module, beside our fake: the same answers.

``transit/main.go`` puts them behind a small HTTP door. Go builds it once and keeps what it built.
"""

import base64
import contextlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import urllib3
from tests.conformance.toolchains import missing

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.kms.catalog import open_key
from tenant_security.kms.provider import KmsContext, KmsKey
from tenant_security.outbound.driver import Outbound
from tenant_security.testing.fakes.hosted import hosted
from tenant_security.testing.fakes.vault import HOST, FakeVault
from tenant_security.wire.kms_configs import decode_kms_config

HERE = Path(__file__).parent / "transit"
DEK = bytes(range(32))
TEXT = base64.b64encode(DEK).decode()
BUILD_WITHIN_S = 900

pytestmark = [pytest.mark.toolchain, pytest.mark.timeout(BUILD_WITHIN_S + 60)]

Call = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(scope="session")
def engine(tmp_path_factory) -> Iterator[str]:
    """The address of a running engine."""
    go = shutil.which("go")
    if go is None:
        missing("no Go: the fake of Vault was NOT compared with the real Transit engine")
    program = tmp_path_factory.mktemp("transit") / "transit"
    command = [go, "build", "-o", str(program), "."]
    built = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=BUILD_WITHIN_S, check=False)
    if built.returncode:
        missing(f"the Transit engine could not be built, and the fake was NOT compared with it: {built.stderr[-500:]}")
    with subprocess.Popen([program], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            yield f"http://{running.stdout.readline().strip()}"
        finally:
            running.terminate()


def caller(pool: urllib3.PoolManager, base: str, token: str) -> Call:
    def call(path: str, **body: object) -> tuple[int, dict[str, Any]]:
        headers = {"X-Vault-Token": token, "Content-Type": "application/json"}
        at = path if path.startswith("auth/") else f"transit/{path}"
        answer = pool.request("POST", f"{base}/v1/{at}", body=json.dumps(body), headers=headers)
        return answer.status, json.loads(answer.data or b"{}")

    return call


@pytest.fixture
def real(engine) -> Iterator[Call]:
    with urllib3.PoolManager() as pool:
        yield caller(pool, engine, "root")


@pytest.fixture
def faked(dialled, tmp_path) -> Iterator[tuple[FakeVault, Call]]:
    with hosted(FakeVault) as fake:
        dialled(fake)
        fake.root.policy("all", {"transit/*": frozenset({"update", "create"})})
        token = fake.root.tokens.issue(("all",)).id
        with urllib3.PoolManager(ca_certs=str(tmp_path / "authority.pem")) as pool:
            yield fake, caller(pool, f"https://{HOST}", token)


REQUESTS = {
    "nothing to encrypt": ("aes256-gcm96", "encrypt", {}),
    "no base64": ("aes256-gcm96", "encrypt", {"plaintext": "?"}),
    "version too high": ("aes256-gcm96", "encrypt", {"plaintext": TEXT, "key_version": 9}),
    "nothing to decrypt": ("aes256-gcm96", "decrypt", {}),
    "no prefix": ("aes256-gcm96", "decrypt", {"ciphertext": "nonsense"}),
    "few fields": ("aes256-gcm96", "decrypt", {"ciphertext": "vault:v1"}),
    "no number": ("aes256-gcm96", "decrypt", {"ciphertext": "vault:vx:AAAA"}),
    "too new": ("aes256-gcm96", "decrypt", {"ciphertext": "vault:v9:AAAA"}),
    "no base64 inside": ("aes256-gcm96", "decrypt", {"ciphertext": "vault:v1:?"}),
    "too short": ("aes256-gcm96", "decrypt", {"ciphertext": "vault:v1:AAAA"}),
    "altered": ("aes256-gcm96", "decrypt", {"ciphertext": "vault:v1:" + base64.b64encode(bytes(60)).decode()}),
    "version 0": ("aes256-gcm96", "decrypt", {"ciphertext": "vault:v0:" + base64.b64encode(bytes(60)).decode()}),
    "rsa altered": ("rsa-2048", "decrypt", {"ciphertext": "vault:v1:" + base64.b64encode(bytes(256)).decode()}),
    "rsa with data": ("rsa-2048", "encrypt", {"plaintext": TEXT, "associated_data": TEXT}),
    "signing key encrypts": ("ed25519", "encrypt", {"plaintext": TEXT}),
    "signing key decrypts": ("ed25519", "decrypt", {"ciphertext": "vault:v1:AAAA"}),
}


@pytest.mark.parametrize(("kind", "verb", "body"), REQUESTS.values(), ids=REQUESTS.keys())
def test_the_fake_refuses_as_the_engine_does(real, faked, kind, verb, body):
    fake, ask_fake = faked
    assert real(f"keys/{kind}", type=kind)[0] == 200
    fake.root.key(kind, kind)

    assert ask_fake(f"{verb}/{kind}", **body) == real(f"{verb}/{kind}", **body)


def test_the_fake_keeps_versions_as_the_engine_does(real, faked):
    fake, ask_fake = faked
    key = fake.root.key("versions")
    assert real("keys/versions")[0] == 200
    old = [ask("encrypt/versions", plaintext=TEXT)[1]["data"]["ciphertext"] for ask in (ask_fake, real)]
    key.rotate()
    assert real("keys/versions/rotate")[0] == 200

    def answers(**bounds: int) -> tuple[object, ...]:
        for name, value in bounds.items():
            setattr(key, name, value)
            assert real("keys/versions/config", **{name: value})[0] == 200
        made = [
            (status, answer.get("errors") or answer["data"]["key_version"])
            for status, answer in (
                ask("encrypt/versions", plaintext=TEXT, **more)
                for more in ({}, {"key_version": 1})
                for ask in (ask_fake, real)
            )
        ]
        opened = [
            (status, answer.get("errors") or answer["data"]["plaintext"])
            for status, answer in (
                ask("decrypt/versions", ciphertext=each) for ask, each in zip((ask_fake, real), old, strict=True)
            )
        ]
        return (*zip(made[::2], made[1::2], strict=True), tuple(opened))

    for bounds in ({}, {"min_encryption_version": 2}, {"min_decryption_version": 2}):
        for ours, theirs in answers(**bounds):
            assert ours == theirs, bounds


def test_the_fake_misses_a_key_as_the_engine_does(real, faked):
    fake, ask_fake = faked
    fake.root.key("another")
    body = {"ciphertext": "vault:v1:AAAA"}

    assert ask_fake("decrypt/never-made", **body) == real("decrypt/never-made", **body)


def test_the_fake_asks_for_a_context_as_the_engine_does(real, faked):
    fake, ask_fake = faked
    fake.root.key("derived", derived=True)
    assert real("keys/derived", derived=True)[0] == 200

    assert ask_fake("encrypt/derived", plaintext=TEXT) == real("encrypt/derived", plaintext=TEXT)


# -- signing in --------------------------------------------------------------------------------------------------------


class Role:
    """An AppRole at the real method, with a secret id."""

    def __init__(self, real: Call, engine: str, name: str, **settings: object) -> None:
        assert real(f"auth/approle/role/{name}", **settings)[0] == 204
        with urllib3.PoolManager() as pool:
            answer = pool.request("GET", f"{engine}/v1/auth/approle/role/{name}/role-id")
        self.role_id = json.loads(answer.data)["data"]["role_id"]
        self.secret_id = real(f"auth/approle/role/{name}/secret-id")[1]["data"]["secret_id"]


LOGINS = {
    "wrong secret id": {"secret_id": "wrong"},
    "wrong role id": {"role_id": "wrong"},
    "no secret id": {"secret_id": ""},
}


@pytest.mark.parametrize("wrong", LOGINS.values(), ids=LOGINS.keys())
def test_the_fake_refuses_logins_as_the_method_does(engine, real, faked, wrong):
    fake, ask_fake = faked
    theirs, role = Role(real, engine, "login"), fake.root.app_role()

    assert ask_fake("auth/approle/login", **({"role_id": role.role_id, "secret_id": role.secret_id()} | wrong)) == real(
        "auth/approle/login", **({"role_id": theirs.role_id, "secret_id": theirs.secret_id} | wrong)
    )


def test_a_used_up_secret_id_is_refused_as_the_method_does(engine, real, faked):
    fake, ask_fake = faked
    theirs, role = Role(real, engine, "once", secret_id_num_uses=1), fake.root.app_role()
    secret_id = role.secret_id(uses=1)
    ours = {"role_id": role.role_id, "secret_id": secret_id}
    at_theirs = {"role_id": theirs.role_id, "secret_id": theirs.secret_id}

    assert (ask_fake("auth/approle/login", **ours)[0], real("auth/approle/login", **at_theirs)[0]) == (200, 200)
    assert ask_fake("auth/approle/login", **ours) == real("auth/approle/login", **at_theirs)


def test_an_address_out_of_bounds_is_refused_as_the_method_does(engine, real, faked):
    fake, ask_fake = faked
    theirs, role = Role(real, engine, "bound", secret_id_bound_cidrs=["10.0.0.0/8"]), fake.root.app_role()
    role.bound_elsewhere = True
    ours = ask_fake("auth/approle/login", role_id=role.role_id, secret_id=role.secret_id())
    at_theirs = real("auth/approle/login", role_id=theirs.role_id, secret_id=theirs.secret_id)

    assert ours[0] == at_theirs[0] == 400
    # What follows is the real one's own slip of formatting.
    assert at_theirs[1]["errors"][0].startswith(ours[1]["errors"][0])


# -- our adapter and the engine ----------------------------------------------------------------------------------------


def ours(engine: str, key: str, credentials: dict[str, str] | None = None, **path: object) -> KmsKey:
    config = {
        "type": "VAULT",
        "version": 1,
        "credentials": credentials or {"token": "root"},
        "keyPath": {"address": engine, "keyName": key} | path,
    }
    return open_key(decode_kms_config(json.dumps(config).encode()), KmsContext(now=lambda: datetime.now(UTC)))


KEYS = [
    ("plain", {}, {}),
    ("bound", {}, {"associatedData": "acme"}),
    ("derived-key", {"derived": True}, {"context": "acme"}),
    ("chacha", {"type": "chacha20-poly1305"}, {"associatedData": "acme"}),
    ("rsa", {"type": "rsa-4096"}, {}),
]


@pytest.mark.parametrize(("name", "made", "path"), KEYS, ids=[name for name, _, _ in KEYS])
async def test_we_wrap_and_unwrap_with_the_real_engine(engine, real, name, made, path):
    assert real(f"keys/{name}", **made)[0] == 200
    key = ours(engine, name, **path)
    async with Outbound() as outbound:
        old = await outbound.run(key.wrap(DEK), deadline_s=10)
        assert real(f"keys/{name}/rotate")[0] == 200
        new = await outbound.run(key.wrap(DEK), deadline_s=10)

        assert (old.startswith(b"vault:v1:"), new.startswith(b"vault:v2:")) == (True, True)
        assert [await outbound.run(key.unwrap(each), deadline_s=10) for each in (old, new)] == [DEK, DEK]


async def test_we_sign_in_with_the_real_approle_method(engine, real):
    assert real("keys/signed-in")[0] == 200
    role = Role(real, engine, "signed-in", token_ttl="600", token_num_uses=5)
    good = {"roleId": role.role_id, "secretId": role.secret_id}
    async with Outbound() as outbound:
        blob = await outbound.run(ours(engine, "signed-in", good).wrap(DEK), deadline_s=10)
        assert await outbound.run(ours(engine, "signed-in", good).unwrap(blob), deadline_s=10) == DEK
        for bad in ({"secretId": "wrong"}, {"roleId": "wrong"}):
            with pytest.raises(TenantSecurityError) as caught:
                await outbound.run(ours(engine, "signed-in", good | bad).wrap(DEK), deadline_s=10)
            assert caught.value.code is Code.KMS_AUTHORIZATION_FAILED


MISFITS = [
    ("derived", {"derived": True}, {}),
    ("rsa-bound", {"type": "rsa-2048"}, {"associatedData": "acme"}),
    ("signing", {"type": "ed25519"}, {}),
]


@pytest.mark.parametrize(("name", "made", "path"), MISFITS, ids=[each[0] for each in MISFITS])
async def test_what_cannot_work_with_the_real_engine_is_told(engine, real, name, made, path):
    assert real(f"keys/{name}", **made)[0] == 200
    async with Outbound() as outbound:
        with pytest.raises(TenantSecurityError) as caught:
            await outbound.run(ours(engine, name, **path).wrap(DEK), deadline_s=10)

    assert caught.value.code is Code.KMS_CONFIGURATION_INVALID


async def test_what_was_altered_is_not_opened_by_the_real_engine(engine, real):
    assert real("keys/altered")[0] == 200
    async with Outbound() as outbound:
        blob = await outbound.run(ours(engine, "altered").wrap(DEK), deadline_s=10)
        bad = blob[:-8] + (b"A" * 8 if blob[-8:] != b"A" * 8 else b"B" * 8)
        with pytest.raises(TenantSecurityError) as caught:
            await outbound.run(ours(engine, "altered").unwrap(bad), deadline_s=10)
        with contextlib.suppress(TenantSecurityError):
            await outbound.run(ours(engine, "altered", associatedData="x").unwrap(blob), deadline_s=10)
            pytest.fail("data that was not bound must not open")

    assert caught.value.code is Code.KMS_UNWRAP_FAILED
