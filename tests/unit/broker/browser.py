"""A browser with a cookie jar and an authenticator, without a screen."""

import base64
import hashlib
import itertools
import json
import os
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlsplit

import cbor2
import msgspec
import pyotp
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from tenant_security.crypto.seal import Suite
from tenant_security.crypto.signing import Kind, SigningKey, key_id
from tenant_security.crypto.unseal import OpeningKey, new_seed
from tenant_security.outbound.flow import Request, Response
from tenant_security.wire import snapshot as words
from tenant_security.wire.enrolment import Invitation, KeyClaim

PASSPHRASE = "several words are best"
_UP, _UV, _AT = 0x01, 0x04, 0x40


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Authenticator:
    """Makes passkeys and signs with them, as WebAuthn says; ``flags`` and ``count`` can be made to lie."""

    def __init__(self) -> None:
        self.keys: dict[bytes, tuple[ec.EllipticCurvePrivateKey, bytes, int]] = {}
        self.flags = _UP | _UV
        self.counts = True

    def create(self, options: dict[str, Any], origin: str, rp_id: str | None = None) -> dict[str, Any]:
        rp_id = rp_id or options["rp"]["id"]
        key = ec.generate_private_key(ec.SECP256R1())
        passkey = os.urandom(32)
        self.keys[passkey] = (key, unb64(options["user"]["id"]), 0)
        numbers = key.public_key().public_numbers()
        cose = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32), -3: numbers.y.to_bytes(32)})
        attested = bytes(16) + len(passkey).to_bytes(2) + passkey + cose
        data = self._data(rp_id, 0, _AT) + attested
        said = {
            "clientDataJSON": b64(self._client("webauthn.create", options["challenge"], origin)),
            "attestationObject": b64(cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})),
        }
        return {"id": b64(passkey), "rawId": b64(passkey), "type": "public-key", "response": said}

    def get(self, options: dict[str, Any], origin: str, rp_id: str | None = None) -> dict[str, Any]:
        allowed = [unb64(each["id"]) for each in options.get("allowCredentials", [])]
        passkey = next(each for each in self.keys if not allowed or each in allowed)
        key, user, count = self.keys[passkey]
        count += self.counts
        self.keys[passkey] = (key, user, count)
        client = self._client("webauthn.get", options["challenge"], origin)
        data = self._data(rp_id or options["rpId"], count, 0)
        signature = key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        said = {
            "clientDataJSON": b64(client),
            "authenticatorData": b64(data),
            "signature": b64(signature),
            "userHandle": b64(user),
        }
        return {"id": b64(passkey), "rawId": b64(passkey), "type": "public-key", "response": said}

    def _data(self, rp_id: str, count: int, more: int) -> bytes:
        return hashlib.sha256(rp_id.encode()).digest() + bytes([self.flags | more]) + count.to_bytes(4)

    @staticmethod
    def _client(kind: str, challenge: str, origin: str) -> bytes:
        return json.dumps({"type": kind, "challenge": challenge, "origin": origin}).encode()


class Said:
    """An answer, read."""

    def __init__(self, response: Response) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.body

    def __repr__(self) -> str:
        return f"<{self.status} {self.body[:300]!r}>"

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str | None:
        return self.json.get("code")


_addresses = itertools.count(1)


class Browser:
    """Somebody's browser, at an address of its own."""

    def __init__(self, made: Any, address: str | None = None) -> None:
        number = next(_addresses)
        self.made = made
        self.origin = made.broker.web.public.origin
        self.address = address or f"198.51.{number // 250}.{number % 250 + 1}"
        self.cookies: dict[str, str] = {}
        self.authenticator = Authenticator()
        self.totp = ""
        self.recovery_codes: list[str] = []
        self.key: SigningKey | None = None

    def fork(self) -> "Browser":
        """Another browser with the same passkeys, and no cookies."""
        other = Browser(self.made)
        other.authenticator, other.totp = self.authenticator, self.totp
        return other

    async def ask(self, method: str, path: str, body: object = None, *, headers: dict[str, str] | None = None) -> Said:
        usual = {
            "Origin": self.origin,
            "Sec-Fetch-Site": "same-origin",
            "TS-Request": "1",
            "X-Forwarded-For": self.address,
            "Content-Type": "application/json",
            "User-Agent": "test browser",
        }
        if self.cookies:
            usual["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        merged = {**usual, **(headers or {})}
        encoded = b"" if body is None else msgspec.json.encode(body)
        request = Request(
            method, self.made.base + path, tuple((k, v) for k, v in merged.items() if v is not None), encoded
        )
        response = await self.made.send(request)
        self._keep(response)
        return Said(response)

    async def get(self, path: str, **more: Any) -> Said:
        return await self.ask("GET", path, **more)

    async def post(self, path: str, body: object = None, **more: Any) -> Said:
        return await self.ask("POST", path, body, **more)

    async def put(self, path: str, body: object = None, **more: Any) -> Said:
        return await self.ask("PUT", path, body, **more)

    async def patch(self, path: str, body: object = None, **more: Any) -> Said:
        return await self.ask("PATCH", path, body, **more)

    async def delete(self, path: str, **more: Any) -> Said:
        return await self.ask("DELETE", path, **more)

    def _keep(self, response: Response) -> None:
        jar: SimpleCookie = SimpleCookie(response.headers.get("set-cookie", ""))
        for name, morsel in jar.items():
            assert morsel["secure"]
            assert morsel["httponly"]
            assert morsel["path"] == "/"
            assert not morsel["domain"]
            if morsel.value:
                self.cookies[name] = morsel.value
            else:
                self.cookies.pop(name, None)

    # -- what people do ------------------------------------------------------------------------------------------

    async def sign_up(self, token: str, name: str = "Ann", email: str | None = None) -> Said:
        said = {"token": token, "name": name, "with": "passkey", "email": email}
        begun = await self.post("/api/1/sign-up/begin", said)
        if begun.status != 200:
            return begun
        credential = self.authenticator.create(begun.json["options"], self.origin)
        said = {"ceremony": begun.json["ceremony"], "token": token, "credential": credential, "passkeyName": "Phone"}
        return await self.post("/api/1/sign-up", said)

    async def sign_up_with_passphrase(self, token: str, name: str = "Ann", email: str | None = None) -> Said:
        said = {"token": token, "name": name, "with": "passphrase", "email": email}
        begun = await self.post("/api/1/sign-up/begin", said)
        if begun.status != 200:
            return begun
        self.totp = begun.json["totpSecret"]
        said = {
            "ceremony": begun.json["ceremony"],
            "token": token,
            "passphrase": PASSPHRASE,
            "code": self.code(),
        }
        made = await self.post("/api/1/sign-up", said)
        if made.status == 201:
            self.recovery_codes = made.json["recoveryCodes"]
        return made

    async def sign_in(self) -> Said:
        begun = await self.post("/api/1/sign-in/passkey/begin", {})
        credential = self.authenticator.get(begun.json["options"], self.origin)
        return await self.post("/api/1/sign-in/passkey", {"ceremony": begun.json["ceremony"], "credential": credential})

    async def sign_in_with_passphrase(self, email: str, **said: str) -> Said:
        body = {"email": email, "passphrase": PASSPHRASE, **said}
        if "code" not in said and "recoveryCode" not in said:
            body["code"] = self.code()
        return await self.post("/api/1/sign-in/passphrase", body)

    async def prove(self) -> Said:
        begun = await self.post("/api/1/session/proof/begin", {})
        credential = self.authenticator.get(begun.json["options"], self.origin)
        return await self.post("/api/1/session/proof", {"ceremony": begun.json["ceremony"], "credential": credential})

    def code(self) -> str:
        return pyotp.TOTP(self.totp).at(self.made.world.now_s)

    async def make_keys(self, email: str, replaces: str | None = None) -> Said:
        self.key = SigningKey(new_seed())
        body = {"bundle": base64.b64encode(b"sealed").decode(), "claim": claim(email, self.key), "replaces": replaces}
        return await self.put("/api/1/account/keys", body)


def claim(email: str, key: SigningKey, suite: Suite = Suite.P256) -> words.Signed:
    encryption = OpeningKey(suite, new_seed()).sealing_key.public
    body = msgspec.json.encode(KeyClaim(email, suite.value, key.public, encryption, 1_800_000_000))
    return words.Signed(body, key.key_id, key.sign(Kind.KEY_CLAIM, body))


def signed_invitation(author: SigningKey, once: SigningKey, email: str, role: str, tenant: str = "") -> words.Signed:
    said = Invitation("acme", tenant, email, role, once.public, 1_800_000_000, 1_800_100_000)
    body = msgspec.json.encode(said)
    return words.Signed(body, author.key_id, author.sign(Kind.INVITATION, body))


def proof(once: SigningKey, signed: words.Signed) -> words.Signed:
    return words.Signed(signed.body, key_id(once.public), once.sign(Kind.ENROLMENT, signed.body))


def fragment(link: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in urlsplit(link).fragment.split("&"))
