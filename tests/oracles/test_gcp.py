"""Google's own libraries judge our fake and our adapter: they know the real thing, and have not met either before.

google-cloud-kms and google-auth talk to the fake under Google's real names, as they are installed.
"""

import base64
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import google.auth.transport.requests
import pytest
import requests
from google.api_core import exceptions
from google.auth import exceptions as auth_exceptions
from google.auth import identity_pool
from google.cloud import kms_v1
from google.oauth2 import service_account
from google.protobuf import json_format
from multidict import CIMultiDict, CIMultiDictProxy

from tenant_security.kms.gcp.crc32c import crc32c
from tenant_security.kms.gcp.key import GcpKmsKey
from tenant_security.kms.provider import KmsContext
from tenant_security.outbound.flow import Flow, Request, Response, Shared
from tenant_security.testing.fakes.gcp import ACT_AS, FakeGcp
from tenant_security.testing.fakes.gcp_keys import State
from tenant_security.testing.fakes.hosted import hosted
from tenant_security.testing.fakes.server import Asked
from tenant_security.wire.kms_configs import decode_kms_config

DEK = bytes(range(32))


@pytest.fixture
def google_cloud(dialled) -> Iterator[FakeGcp]:
    """A fake that Google's synchronous libraries find under Google's names, and trust."""
    with hosted(FakeGcp) as fake:
        dialled(fake)
        yield fake
        # google-auth asks in the background where an account may be used: not beyond the fake's end.
        for thread in threading.enumerate():
            if "AccessBoundary" in type(thread).__name__:
                thread.join(10)


class Theirs:
    """Google's client, used as its documentation says."""

    def __init__(self, credentials: object) -> None:
        self.client = kms_v1.KeyManagementServiceClient(credentials=credentials, transport="rest")

    def encrypt(self, name: str, plaintext: bytes, **more: object) -> kms_v1.EncryptResponse:
        request = {"name": name, "plaintext": plaintext, "plaintext_crc32c": crc32c(plaintext)} | more
        return self.client.encrypt(request=request, timeout=10, retry=None)

    def decrypt(self, name: str, ciphertext: bytes, **more: object) -> kms_v1.DecryptResponse:
        request = {"name": name, "ciphertext": ciphertext, "ciphertext_crc32c": crc32c(ciphertext)} | more
        return self.client.decrypt(request=request, timeout=10, retry=None)


@pytest.fixture
def theirs(google_cloud) -> Iterator[tuple[FakeGcp, str, Theirs]]:
    """A key, and Google's client with a service account that may use it."""
    account, key = google_cloud.service_account(), google_cloud.key()
    google_cloud.allow(account.email, key.name)
    client = Theirs(service_account.Credentials.from_service_account_info(account.key_file))
    yield google_cloud, key.name, client
    client.client.transport.close()


# -- the fake, judged by Google's client -------------------------------------------------------------------------------


def test_googles_client_encrypts_and_decrypts(theirs):
    fake, name, client = theirs

    encrypted = client.encrypt(name, DEK)
    decrypted = client.decrypt(name, encrypted.ciphertext)

    assert encrypted.name == f"{name}/cryptoKeyVersions/1"
    assert encrypted.verified_plaintext_crc32c
    assert encrypted.ciphertext_crc32c == crc32c(encrypted.ciphertext)
    assert encrypted.protection_level is kms_v1.ProtectionLevel.SOFTWARE
    assert decrypted.plaintext == DEK
    assert decrypted.plaintext_crc32c == crc32c(DEK)
    assert decrypted.used_primary
    assert (fake.seen["encrypt"], fake.seen["decrypt"]) == (1, 1)


def test_versions_and_associated_data_are_as_google_has_them(theirs):
    fake, name, client = theirs
    old = client.encrypt(name, DEK, additional_authenticated_data=b"a")
    assert fake.keys[name].rotate() == 2

    assert not (client.decrypt(name, old.ciphertext, additional_authenticated_data=b"a")).used_primary
    assert (client.encrypt(name, DEK)).name.endswith("/cryptoKeyVersions/2")
    assert (client.encrypt(f"{name}/cryptoKeyVersions/1", DEK)).name.endswith("/cryptoKeyVersions/1")
    with pytest.raises(exceptions.BadRequest, match="Decryption failed"):
        client.decrypt(name, old.ciphertext, additional_authenticated_data=b"b")


HARMS = {
    "disabled": (lambda at: at.key.states.update({1: State.DISABLED}), exceptions.BadRequest, "DISABLED"),
    "no permission": (lambda at: at.deny(), exceptions.Forbidden, r"\(or it may not exist\)"),
    "account disabled": (lambda at: setattr(at.account, "enabled", False), exceptions.Unauthorized, "credentials"),
    "key deleted": (lambda at: at.account.keys.clear(), exceptions.Unauthorized, "credentials"),
    "quota": (lambda at: setattr(at.project, "calls_left", 0), exceptions.TooManyRequests, "Quota"),
    "billing": (lambda at: setattr(at.project, "refuses", "BILLING_DISABLED"), exceptions.Forbidden, "denied"),
    "late": (lambda at: setattr(at.fake, "ahead_s", 7200), exceptions.Unauthorized, "credentials"),
    "early": (lambda at: setattr(at.fake, "ahead_s", -7200), exceptions.Unauthorized, "credentials"),
}


class Target:
    """What a test may harm."""

    def __init__(self, fake: FakeGcp, name: str = "") -> None:
        self.fake = fake
        self.account = next(iter(fake.accounts.known.values()))
        self.project = fake.project()
        if name:
            self.key = fake.keys[name]

    def deny(self) -> None:
        self.fake.deny(self.account.email, self.key.name)


@pytest.mark.parametrize(("harm", "error", "match"), HARMS.values(), ids=HARMS.keys())
def test_refusals_are_googles_own_typed_errors(theirs, harm, error, match):
    fake, name, client = theirs
    harm(Target(fake, name))

    with pytest.raises(error, match=match):
        client.encrypt(name, DEK)


def test_the_details_of_a_refusal_are_read_by_googles_client(theirs):
    fake, name, client = theirs
    fake.keys[name].states[1] = State.DISABLED
    with pytest.raises(exceptions.BadRequest) as state:
        client.encrypt(name, DEK)
    fake.project().refuses = "BILLING_DISABLED"
    with pytest.raises(exceptions.Forbidden) as billing:
        client.encrypt(name, DEK)

    assert state.value.details[0]["violations"] == [{"type": "KEY_DISABLED", "subject": f"{name}/cryptoKeyVersions/1"}]
    assert (billing.value.reason, billing.value.domain) == ("BILLING_DISABLED", "googleapis.com")


def test_a_wrong_checksum_is_refused(theirs):
    _, name, client = theirs

    with pytest.raises(exceptions.BadRequest, match="checksum"):
        client.encrypt(name, DEK, plaintext_crc32c=1)


# -- the token services, judged by google-auth -------------------------------------------------------------------------


def exchanging(account) -> service_account.Credentials:
    credentials = service_account.Credentials.from_service_account_info(account.key_file)
    return credentials.with_scopes(["https://www.googleapis.com/auth/cloudkms"])


def refresh(credentials) -> None:
    with requests.Session() as session:
        credentials.refresh(google.auth.transport.requests.Request(session))


def test_google_auth_exchanges_an_assertion(google_cloud):
    credentials = exchanging(google_cloud.service_account())

    refresh(credentials)

    assert google_cloud.seen == {"token": 1}
    assert google_cloud.accounts.caller(f"Bearer {credentials.token}", credentials.scopes) == (
        credentials.service_account_email
    )


@pytest.mark.parametrize(
    ("harm", "match"),
    [
        (lambda at: at.account.keys.clear(), "Invalid JWT Signature"),
        (lambda at: at.fake.accounts.known.clear(), "account not found"),
        (lambda at: setattr(at.account, "enabled", False), "disabled_client"),
        (lambda at: setattr(at.fake, "ahead_s", 7200), "short-lived token"),
        (lambda at: setattr(at.fake, "ahead_s", -7200), "short-lived token"),
    ],
    ids=["key deleted", "account deleted", "account disabled", "late", "early"],
)
def test_google_auth_is_refused_as_by_google(google_cloud, harm, match):
    credentials = exchanging(google_cloud.service_account())
    harm(Target(google_cloud))

    with pytest.raises(auth_exceptions.RefreshError, match=match):
        refresh(credentials)


@pytest.mark.parametrize("acts", [False, True])
def test_google_auth_federates_and_acts_as_a_service_account(google_cloud, tmp_path, acts):
    provider, account = google_cloud.provider(), google_cloud.service_account()
    token_file = tmp_path / "token"
    token_file.write_text(provider.subject_token("proxy"))
    principal = provider.principal(token_file.read_text())
    google_cloud.allow(principal, account.email, ACT_AS)
    info = {
        "type": "external_account",
        "audience": provider.audience,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"file": str(token_file)},
    }
    if acts:
        info["service_account_impersonation_url"] = (
            f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{account.email}:generateAccessToken"
        )
    scopes = ["https://www.googleapis.com/auth/cloud-platform"]
    credentials = identity_pool.Credentials.from_info(info, scopes=scopes)

    refresh(credentials)

    who = google_cloud.accounts.caller(f"Bearer {credentials.token}", tuple(scopes))
    assert who == (account.email if acts else principal)
    assert google_cloud.seen["sts"] == 1
    assert google_cloud.seen["act-as"] == acts


# -- our adapter, judged by Google's messages --------------------------------------------------------------------------


def ours(fake: FakeGcp, name: str) -> GcpKmsKey:
    account = next(iter(fake.accounts.known.values()))
    parts = name.split("/")
    config = {
        "type": "GCP",
        "version": 1,
        "credentials": {"client_email": account.email, "private_key": account.private_key},
        "keyPath": {"projectId": parts[1], "locationId": parts[3], "keyRingId": parts[5], "cryptoKeyId": parts[7]},
    }
    return GcpKmsKey(decode_kms_config(json.dumps(config).encode()), KmsContext(now=lambda: datetime.now(UTC)))


def answered(fake: FakeGcp, flow: Flow[bytes], replies: list[Response]) -> tuple[bytes, list[Request]]:
    """Run a flow against these replies, or else against the fake; return its value and what it asked."""
    asked: list[Request] = []
    effect = flow.send(None)
    try:
        while True:
            if isinstance(effect, Shared):
                effect = flow.send(_token(effect))
            else:
                asked.append(effect)
                effect = flow.send(replies.pop(0) if replies else _of_fake(fake, effect))
    except StopIteration as end:
        return end.value, asked


def _token(effect: Shared) -> object:
    try:
        effect.make().send(None)
    except StopIteration as end:
        return end.value.value
    raise AssertionError("a token of our own asks nobody")


def _of_fake(fake: FakeGcp, request: Request) -> Response:
    headers = CIMultiDictProxy(CIMultiDict(request.headers))
    host, path = request.url.removeprefix("https://").split("/", 1)
    answer = fake.answer(Asked(request.method, host, f"/{path}", "", headers, request.body))
    return Response(answer.status, {}, answer.body)


def test_what_we_wrap_googles_client_unwraps_and_the_other_way_round(theirs):
    fake, name, client = theirs
    blob, _ = answered(fake, ours(fake, name).wrap(DEK), [])

    assert (client.decrypt(name, blob)).plaintext == DEK
    of_theirs = (client.encrypt(name, DEK[::-1])).ciphertext
    assert answered(fake, ours(fake, name).unwrap(of_theirs), [])[0] == DEK[::-1]


def test_our_requests_are_googles_messages(theirs):
    """Google's own parser takes them, knows every member, and understands what we mean."""
    fake, name, _ = theirs
    blob, (encrypt,) = answered(fake, ours(fake, name).wrap(DEK), [])
    _, (decrypt,) = answered(fake, ours(fake, name).unwrap(blob), [])

    asked = kms_v1.EncryptRequest.pb(kms_v1.EncryptRequest())
    json_format.Parse(encrypt.body, asked)
    assert (asked.plaintext, asked.plaintext_crc32c.value) == (DEK, crc32c(DEK))
    back = kms_v1.DecryptRequest.pb(kms_v1.DecryptRequest())
    json_format.Parse(decrypt.body, back)
    assert (back.ciphertext, back.ciphertext_crc32c.value) == (blob, crc32c(blob))


def test_we_are_asking_where_googles_client_asks(theirs, monkeypatch):
    fake, name, client = theirs
    paths: list[str] = []
    proper = fake.answer
    monkeypatch.setattr(fake, "answer", lambda asked: (paths.append(f"{asked.host}{asked.path}"), proper(asked))[1])
    blob = (client.encrypt(name, DEK)).ciphertext
    client.decrypt(name, blob)
    seen_of_theirs = [path for path in paths if path.startswith("cloudkms.")]

    _, (encrypt,) = answered(fake, ours(fake, name).wrap(DEK), [])
    _, (decrypt,) = answered(fake, ours(fake, name).unwrap(blob), [])

    assert [request.url.removeprefix("https://") for request in (encrypt, decrypt)] == seen_of_theirs


@pytest.mark.parametrize("level", [kms_v1.ProtectionLevel.HSM, kms_v1.ProtectionLevel.EXTERNAL])
def test_we_read_googles_messages_as_google_writes_them(theirs, level):
    fake, name, _ = theirs
    encrypted = kms_v1.EncryptResponse(
        name=f"{name}/cryptoKeyVersions/7",
        ciphertext=b"\xff\xfe" * 40,
        ciphertext_crc32c=crc32c(b"\xff\xfe" * 40),
        verified_plaintext_crc32c=True,
        protection_level=level,
    )
    decrypted = kms_v1.DecryptResponse(plaintext=DEK, plaintext_crc32c=crc32c(DEK), protection_level=level)
    replies = [
        Response(200, {}, json_format.MessageToJson(type(message).pb(message)).encode())
        for message in (encrypted, decrypted)
    ]

    assert answered(fake, ours(fake, name).wrap(DEK), replies[:1])[0] == b"\xff\xfe" * 40
    assert answered(fake, ours(fake, name).unwrap(b"blob"), replies[1:])[0] == DEK


def test_our_token_has_the_claims_of_googles_own(theirs):
    """But for the key's id, which the vendor's configuration does not hold."""
    fake, name, _ = theirs
    account = next(iter(fake.accounts.known.values()))
    credentials = exchanging(account).with_always_use_jwt_access(True)
    credentials._create_self_signed_jwt(None)
    refresh(credentials)
    _, (encrypt,) = answered(fake, ours(fake, name).wrap(DEK), [])

    def claims(token: str) -> dict[str, object]:
        return json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))

    their, our = claims(credentials.token), claims(dict(encrypt.headers)["Authorization"].split()[1])
    assert our.keys() == their.keys()
    assert {name: our[name] for name in ("iss", "sub", "scope")} == {
        name: their[name] for name in ("iss", "sub", "scope")
    }
    assert our["exp"] - our["iat"] == their["exp"] - their["iat"] == 3600
    assert fake.seen["token"] == 0
