"""A fake of Thales CipherTrust Manager, as far as wrapping keys goes: logins and the crypto endpoints.

It verifies what the real one verifies: ``Accept``, who a user is (domain, connection, name and password together), the
signature and the end of its tokens, revocations, permissions, key states and versions. It locks a user out after too
many bad logins, as a password policy may demand. What its refusals for locked users, key states and licences say is our
guess; nobody publishes it.
"""

import base64
import binascii
import hashlib
import hmac
import os
import time
from typing import Final, NamedTuple

import msgspec

from tenant_security.testing.fakes.server import Answered, Asked, FakeServer, answered
from tenant_security.testing.fakes.thales_keys import (
    BAD_PARAMETER,
    BAD_REQUEST,
    NOT_FOUND,
    CipherTrustKey,
    RefusedError,
)

HOST: Final = "ciphertrust.acme.example"
LIFE_S: Final = 300

UNAUTHORIZED: Final = (401, 5, "NCERRUnauthorizedAccess: Unauthorized access")
LICENCE: Final = (402, 44, "NCERRLicense: License error")
RATE: Final = (429, 61, "NCERRTooManyRequests: Too many requests")

_MEMBERS: Final = {"grant_type", "username", "password", "connection", "auth_domain", "domain"}
_LOGIN: Final = ("/api/v1/auth/tokens", "/api/v1/auth/tokens/")
_VERBS: Final = {"/api/v1/crypto/encrypt": "encrypt", "/api/v1/crypto/decrypt": "decrypt"}


class Identity(NamedTuple):
    """Who a user is: a name means nothing without where it is known."""

    auth_domain: str
    connection: str
    username: str


class User:
    """A user of CipherTrust Manager."""

    def __init__(self, password: str, domains: set[str]) -> None:
        self.password = password
        self.domains = domains
        """Where it may act."""
        self.password_expired = False
        self.failures = 0
        self.locked_until = 0.0


class FakeCipherTrust(FakeServer):
    """One CipherTrust Manager. ``seen`` counts ``login``, ``encrypt``, ``decrypt`` and ``other``."""

    hosts = (HOST,)
    is_public = False

    def __init__(self) -> None:
        super().__init__()
        self.users: dict[Identity, User] = {}
        self.keys: list[CipherTrustKey] = []
        self.ahead_s = 0.0
        """How far its clock is ahead: add to it, and tokens end."""
        self.lock_after = 5
        """After so many bad logins a user is locked out."""
        self.lock_s = 1800.0
        self.licensed = True
        self.requests_left: int | None = None
        """How many more requests it takes before it answers 429; None: any number."""
        self._secret = os.urandom(32)
        self._revoked: set[str] = set()
        self._issued: list[str] = []

    def user(
        self,
        username: str = "proxy",
        password: str = "Pass-word-1!",
        *,
        auth_domain: str = "root",
        connection: str = "local_account",
        domains: tuple[str, ...] = ("root",),
    ) -> User:
        """Add a user."""
        made = User(password, set(domains))
        self.users[Identity(auth_domain, connection, username)] = made
        return made

    def key(
        self, name: str = "wrapping", *, domain: str = "root", users: tuple[str, ...] = ("proxy",)
    ) -> CipherTrustKey:
        """Add a key that these users may use."""
        made = CipherTrustKey(name, domain)
        made.users |= set(users)
        self.keys.append(made)
        return made

    def revoke_tokens(self) -> None:
        """End every token that was issued."""
        self._revoked |= set(self._issued)

    def now_s(self) -> float:
        """Its clock."""
        return time.time() + self.ahead_s

    def name(self, asked: Asked) -> str:
        """Return what is asked for."""
        return "login" if asked.path in _LOGIN else _VERBS.get(asked.path, "other")

    def answer(self, asked: Asked) -> Answered:
        """Return what the real one would."""
        try:
            return answered(200, self._answer(asked))
        except RefusedError as refused:
            return refused.answer

    def _answer(self, asked: Asked) -> dict[str, object]:
        name = self.name(asked)
        body = self._read(asked, name)
        if name == "login":
            return self._login(body)
        user, domain = self._bearer(asked)
        if not self.licensed:
            raise RefusedError(LICENCE, "The license has expired")
        wanted = body.get("id")
        for key in self.keys:
            if key.domain == domain and wanted in (key.id, key.name):
                return key.use(name, body, user)
        raise RefusedError(NOT_FOUND, "Key not found")

    def _read(self, asked: Asked, name: str) -> dict[str, object]:
        """Return the body of a request that is well formed and within the rate."""
        if name == "other":
            raise RefusedError(NOT_FOUND, "no such path")
        if asked.method != "POST":
            raise RefusedError((405, 15, "NCERRBadRequest: Bad HTTP request"), "method not allowed")
        if asked.headers.get("Accept") not in ("application/json", "*/*"):
            raise RefusedError(BAD_REQUEST, "Accept header is invalid.")
        if asked.headers.get("Content-Type") != "application/json":
            raise RefusedError(BAD_REQUEST, "Content-Type header is invalid.")
        if self.requests_left is not None:
            if self.requests_left <= 0:
                raise RefusedError(RATE, "Too many requests")
            self.requests_left -= 1
        try:
            return msgspec.json.decode(asked.body, type=dict[str, object])
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise RefusedError(BAD_REQUEST, "invalid JSON") from None

    def _login(self, body: dict[str, object]) -> dict[str, object]:
        if not body.keys() <= _MEMBERS or not all(isinstance(value, str) for value in body.values()):
            raise RefusedError(BAD_PARAMETER, "unknown parameter")
        if body.get("grant_type") != "password":
            raise RefusedError(BAD_PARAMETER, "unsupported grant_type")
        auth_domain = str(body.get("auth_domain", "root"))
        who = Identity(auth_domain, str(body.get("connection", "local_account")), str(body.get("username")))
        user = self.users.get(who)
        if user is None:
            raise RefusedError(UNAUTHORIZED, "Wrong username or password.")
        if self.now_s() < user.locked_until:
            raise RefusedError(UNAUTHORIZED, "User account is locked out.")
        if body.get("password") != user.password:
            user.failures += 1
            if user.failures >= self.lock_after:
                user.locked_until = self.now_s() + self.lock_s
            raise RefusedError(UNAUTHORIZED, "Wrong username or password.")
        user.failures = 0
        if user.password_expired:
            raise RefusedError(UNAUTHORIZED, "Password has expired.")
        domain = str(body.get("domain", auth_domain))
        if domain not in user.domains:
            raise RefusedError(UNAUTHORIZED, "Invalid domain.")
        return {
            "jwt": self._token(who.username, domain),
            "duration": LIFE_S,
            "token_type": "Bearer",
            "client_id": "8181a3e4-082e-4aaa-b985-5c35db15ffcd",
            "refresh_token": os.urandom(32).hex(),
            "refresh_token_id": os.urandom(16).hex(),
        }

    def _token(self, username: str, domain: str) -> str:
        now_s, jwt_id = int(self.now_s()), os.urandom(16).hex()
        self._issued.append(jwt_id)
        claims = {"iss": "kylo", "sub": username, "dom": domain, "jwtid": jwt_id, "iat": now_s, "exp": now_s + LIFE_S}
        signed = _part({"alg": "HS256", "typ": "JWT"}) + "." + _part(claims)
        return f"{signed}.{self._signature(signed)}"

    def _signature(self, signed: str) -> str:
        return _unpadded(hmac.digest(self._secret, signed.encode(), hashlib.sha256))

    def _bearer(self, asked: Asked) -> tuple[str, str]:
        kind, _, token = asked.headers.get("Authorization", "").partition(" ")
        signed, _, signature = token.rpartition(".")
        if kind != "Bearer" or not hmac.compare_digest(signature, self._signature(signed)):
            raise RefusedError(UNAUTHORIZED, "Invalid token")
        claims = msgspec.json.decode(_padded(signed.split(".")[1]))
        if self.now_s() >= claims["exp"]:
            raise RefusedError(UNAUTHORIZED, "Token is expired")
        if claims["jwtid"] in self._revoked:
            raise RefusedError(UNAUTHORIZED, "Token has been revoked")
        return claims["sub"], claims["dom"]


def _part(claims: dict[str, object]) -> str:
    return _unpadded(msgspec.json.encode(claims))


def _unpadded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _padded(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise RefusedError(UNAUTHORIZED, "Invalid token") from None
