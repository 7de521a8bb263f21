"""An OpenID provider that really signs, and can be made to lie in every way."""

import base64
import hashlib
import hmac
import json
import secrets
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from tenant_security.testing.fakes.server import Answered, Asked, FakeServer, answered

CLIENT, SECRET = "broker client", "s3cret:with/signs"


class Provider(FakeServer):
    """One provider with one client. ``claims`` are put over what the ID token says; ``person`` signs in."""

    def __init__(self, world: Any) -> None:
        super().__init__()
        self.world = world
        self.key = RSAKey.generate_key(2048, parameters={"kid": "one"})
        self.signs: Any = self.key
        self.algorithm = "RS256"
        self.person = {"sub": "subject-1", "email": "Ann@example.com", "email_verified": True}
        self.claims: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}
        self._codes: dict[str, dict[str, Any]] = {}

    @property
    def issuer(self) -> str:
        return f"https://localhost:{self.port}"

    def name(self, asked: Asked) -> str:
        return asked.path.strip("/")

    def answer(self, asked: Asked) -> Answered:
        match self.name(asked):
            case ".well-known/openid-configuration":
                return answered(200, self._metadata())
            case "jwks":
                return answered(200, {"keys": [self.key.as_dict(private=False)]})
            case "token":
                return self._token(asked)
        return answered(404, {})

    def sign_in(self, location: str) -> str:
        """Do what the provider's pages do, and return where they send the browser back to."""
        parts = urlsplit(location)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        assert f"{parts.scheme}://{parts.netloc}" == self.issuer
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        return f"{asked['redirect_uri']}?code={code}&state={asked['state']}"

    def _metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "id_token_signing_alg_values_supported": ["RS256"],
            **self.metadata,
        }

    def _token(self, asked: Asked) -> Answered:
        form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
        kind, _, pair = asked.headers.get("Authorization", "").partition(" ")
        if kind == "Basic":
            name, _, secret = base64.b64decode(pair).decode().partition(":")
            given = unquote(name), unquote(secret)
        else:
            given = form.get("client_id"), form.get("client_secret")
        if given != (CLIENT, SECRET):
            return answered(401, {"error": "invalid_client"})
        began = self._codes.pop(form.get("code", ""), None)
        if began is None or form.get("redirect_uri") != began["redirect_uri"]:
            return answered(400, {"error": "invalid_grant"})
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != began["code_challenge"]:
            return answered(400, {"error": "invalid_grant"})
        now = self.world.now_s
        said = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": began["nonce"], **self.person}
        if began.get("max_age") == "0":
            said["auth_time"] = now
        said = {name: value for name, value in {**said, **self.claims}.items() if value is not None}
        return answered(200, {"access_token": "x", "token_type": "Bearer", "id_token": self._signed(said)})

    def _signed(self, said: dict[str, Any]) -> str:
        if self.algorithm == "none":
            parts = (json.dumps({"alg": "none"}), json.dumps(said), "")
            return ".".join(base64.urlsafe_b64encode(each.encode()).rstrip(b"=").decode() for each in parts)
        if self.algorithm == "HS256":
            # The old trick: what everybody knows, used as if it were shared in secret.
            parts = [json.dumps(each).encode() for each in ({"alg": "HS256", "kid": "one"}, said)]
            text = b".".join(base64.urlsafe_b64encode(each).rstrip(b"=") for each in parts)
            code = hmac.digest(self.key.as_pem(private=False), text, "sha256")
            return f"{text.decode()}.{base64.urlsafe_b64encode(code).rstrip(b'=').decode()}"
        header = {"alg": self.algorithm, "kid": self.signs.kid or "one"}
        return jwt.encode(header, said, self.signs, algorithms=[self.algorithm])

    def other_rsa(self) -> None:
        self.signs = RSAKey.generate_key(2048, parameters={"kid": "one"})

    def new_keys(self) -> None:
        self.key = self.signs = ECKey.generate_key("P-256", parameters={"kid": "two"})
        self.algorithm = "ES256"
