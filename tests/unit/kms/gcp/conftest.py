"""A stage on which a Google Cloud key plays against scripted answers, without a socket or a clock."""

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from tenant_security.kms.gcp.crc32c import crc32c
from tenant_security.kms.gcp.key import GcpKmsKey
from tenant_security.kms.provider import KmsContext, KmsFaultError
from tenant_security.outbound.flow import (
    Flow,
    Forget,
    Lasting,
    ReadFile,
    Request,
    Response,
    Shared,
    UnreachableError,
)
from tenant_security.testing.fakes.gcp_accounts import ServiceAccount
from tenant_security.testing.fakes.rsa_keys import rsa_key
from tenant_security.wire.kms.gcp import GcpKmsConfig
from tenant_security.wire.kms_configs import decode_kms_config

T = TypeVar("T")

DEK = bytes(range(32))
ACCOUNT = ServiceAccount("proxy@acme-keys.iam.gserviceaccount.com", rsa_key(0))
NAME = "projects/acme-keys/locations/europe-west3/keyRings/tenants/cryptoKeys/wrapping"
KEY_PATH = {
    "projectId": "acme-keys",
    "locationId": "europe-west3",
    "keyRingId": "tenants",
    "cryptoKeyId": "wrapping",
}


class Stage:
    """Runs a flow, answering its requests from ``answers`` in order and its files from ``files``."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 24, 3, 0, 0, tzinfo=UTC)
        self.answers: list[Response | UnreachableError] = []
        self.requests: list[Request] = []
        self.files: dict[Path, bytes] = {}
        self.kept: dict[object, Lasting[object]] = {}
        self.forgotten = 0
        self.environ: dict[str, str] = {}
        self.vendor_owned = False

    def key(self, **changes: object) -> GcpKmsKey:
        """A key whose configuration differs from the usual one in these members."""
        return GcpKmsKey(
            self.config(**changes),
            KmsContext(
                now=lambda: self.now,
                vendor_owned=self.vendor_owned,
                identities=frozenset({"gcp"}),
                environ=self.environ,
            ),
        )

    def config(self, **changes: object) -> GcpKmsConfig:
        credentials = {"client_email": ACCOUNT.email, "private_key": ACCOUNT.private_key}
        config = {"type": "GCP", "version": 1, "credentials": credentials, "keyPath": KEY_PATH} | changes
        decoded = decode_kms_config(msgspec.json.encode(config))
        assert isinstance(decoded, GcpKmsConfig)
        return decoded

    def run(self, flow: Flow[T]) -> T:
        try:
            effect = flow.send(None)
            while True:
                answer = self.answer(effect)
                effect = flow.throw(answer) if isinstance(answer, Exception) else flow.send(answer)
        except StopIteration as end:
            return end.value

    def answer(self, effect: object) -> object:
        match effect:
            case Request():
                self.requests.append(effect)
                return self.answers.pop(0)
            case Shared(key, make):
                if key not in self.kept:
                    try:
                        self.kept[key] = self.run(make())
                    except (KmsFaultError, UnreachableError) as fault:
                        return fault
                return self.kept[key].value
            case Forget(key):
                self.forgotten += 1
                del self.kept[key]
                return None
            case ReadFile(path, _):
                return self.files.get(path, FileNotFoundError(path))
        raise AssertionError(effect)


def reply(body: object, status: int = 200, **headers: str) -> Response:
    encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, encoded)


def encrypted(**changes: object) -> Response:
    """What Cloud KMS answers to encrypt, but for these members; None leaves one out."""
    body = {
        "name": f"{NAME}/cryptoKeyVersions/3",
        "ciphertext": base64.b64encode(b"blob").decode(),
        "ciphertextCrc32c": str(crc32c(b"blob")),
        "verifiedPlaintextCrc32c": True,
        "protectionLevel": "SOFTWARE",
    }
    return reply({name: value for name, value in (body | changes).items() if value is not None})


def decrypted(**changes: object) -> Response:
    body = {
        "plaintext": base64.b64encode(DEK).decode(),
        "plaintextCrc32c": str(crc32c(DEK)),
        "usedPrimary": True,
        "protectionLevel": "HSM",
    }
    return reply({name: value for name, value in (body | changes).items() if value is not None})


def granted(token: str = "ya29.granted", expires_in: float = 3599) -> Response:
    return reply({"access_token": token, "expires_in": expires_in, "token_type": "Bearer"})


def refusal(status: str, http: int, *details: object, message: str = "their words about acme-keys") -> Response:
    error = {"code": http, "status": status, "message": message, "details": list(details)}
    return reply({"error": error}, http)


UNAUTHENTICATED = refusal(
    "UNAUTHENTICATED", 401, {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "JWT_TOKEN_INVALID"}
)


def bearer(request: Request) -> str:
    kind, _, token = dict(request.headers)["Authorization"].partition(" ")
    assert kind == "Bearer"
    return token


@pytest.fixture
def stage() -> Stage:
    return Stage()
