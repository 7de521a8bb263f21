"""The directories of the fake Azure: applications, their secrets and federated credentials, and Entra ID's tokens.

Refusals are worded as Entra ID words them, with ``error_codes`` and the AADSTS number in the text.
"""

import time
import uuid
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from tenant_security.testing.fakes.rsa_keys import rsa_key
from tenant_security.testing.fakes.server import Answered, answered

LIFE_S: Final = 3599
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
EXCHANGE_AUDIENCE: Final = "api://AzureADTokenExchange"
PLATFORM: Final = "https://cluster.example"
"""Who issues the tokens of the platform that workloads run on."""

_SIGNING: Final = 2_000
_PLATFORM: Final = 2_001
_WORDS: Final[Mapping[int, tuple[int, str, str]]] = {
    53003: (400, "access_denied", "Access has been blocked by Conditional Access policies."),
    70003: (400, "unsupported_grant_type", "The app requested an unsupported grant type."),
    70011: (400, "invalid_scope", "The provided value for the input parameter 'scope' is not valid."),
    90002: (400, "invalid_request", "Tenant not found. Check to make sure you have the correct tenant ID."),
    500011: (400, "invalid_resource", "The resource principal was not found in the tenant."),
    700016: (400, "unauthorized_client", "Application was not found in the directory."),
    700024: (401, "invalid_client", "Client assertion is not within its valid time range."),
    700213: (401, "invalid_client", "No matching federated identity record found for presented assertion subject."),
    900144: (400, "invalid_request", "The request body must contain the parameter."),
    5000224: (400, "invalid_request", "This resource is not available: the tenant is disabled."),
    7000112: (400, "unauthorized_client", "Application is disabled."),
    7000215: (401, "invalid_client", "Invalid client secret provided."),
    7000216: (401, "invalid_client", "'client_assertion', 'client_secret' or 'request' is required."),
    7000222: (401, "invalid_client", "The provided client secret keys are expired."),
}
"""By AADSTS number: HTTP status, OAuth's ``error``, and what it says."""


class RefusedError(Exception):
    """Ends an answer with a refusal."""

    def __init__(self, answer: Answered) -> None:
        super().__init__(answer.status)
        self.answer = answer


def entra_refusal(number: int, *, error: str = "", status: int = 0) -> Answered:
    """Answer as Entra ID's token endpoint refuses."""
    usual, kind, words = _WORDS.get(number, (400, "invalid_request", "Something is wrong."))
    trace, correlation = str(uuid.uuid4()), str(uuid.uuid4())
    at = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime())
    said = f"AADSTS{number}: {words} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {at}"
    body = {
        "error": error or kind,
        "error_description": said,
        "error_codes": [number],
        "timestamp": at,
        "trace_id": trace,
        "correlation_id": correlation,
        "error_uri": f"https://login.microsoftonline.com/error?code={number}",
    }
    return answered(status or usual, body, ("x-ms-request-id", trace))


class FederatedCredential(NamedTuple):
    """Whose tokens stand in for a secret."""

    issuer: str
    subject: str
    audience: str
    key: RSAPublicKey


class Application:
    """An application with its service principal in one directory."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.client_id = str(uuid.uuid4())
        self.object_id = str(uuid.uuid4())
        self.secrets: dict[str, float] = {}
        """Its secrets, and when each ends."""
        self.federated: list[FederatedCredential] = []
        self.enabled = True
        self.blocked = False
        """Whether a conditional access policy blocks it."""
        self._clock = clock

    def secret(self, life_s: float = 86_400.0) -> str:
        """Add a secret and return its value."""
        value = f"Abc8Q~{uuid.uuid4().hex}"
        self.secrets[value] = self._clock() + life_s
        return value

    def trust(self, subject: str, issuer: str = PLATFORM) -> None:
        """Let a platform's workload sign in as this application."""
        key = rsa_key(_PLATFORM).public_key()
        self.federated.append(FederatedCredential(issuer, subject, EXCHANGE_AUDIENCE, key))


class Directory:
    """One tenant of Entra ID."""

    def __init__(self, guid: str) -> None:
        self.guid = guid
        self.applications: dict[str, Application] = {}
        self.refuses: int | None = None
        """An AADSTS number with which every request is refused."""


class Bearer(NamedTuple):
    """Who shows a token."""

    client_id: str
    directory: str


class Entra:
    """Every directory, and the key that signs every token."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.directories: dict[str, Directory] = {}
        self.resources = {"https://vault.azure.net", "https://managedhsm.azure.net", "https://vault.usgovcloudapi.net"}
        self.revoked_before = 0.0
        """Vaults refuse tokens that were issued before this time: a continuous access evaluation."""
        self._key = rsa_key(_SIGNING)

    def platform_token(self, subject: str, **claims: object) -> str:
        """Make the token that a platform gives to a workload; ``claims`` replace what it says otherwise."""
        at = int(self.clock())
        usual = {"iss": PLATFORM, "aud": EXCHANGE_AUDIENCE, "sub": subject, "iat": at, "exp": at + 3600}
        return jwt.encode(usual | claims, rsa_key(_PLATFORM), algorithm="RS256")

    def grant(self, guid: str, form: Mapping[str, str]) -> dict[str, object]:
        """Answer a request for a token. Raises RefusedError."""
        directory = self.directories.get(guid.lower())
        if directory is None:
            raise RefusedError(entra_refusal(90002))
        if directory.refuses is not None:
            raise RefusedError(entra_refusal(directory.refuses))
        if form.get("grant_type") != "client_credentials":
            raise RefusedError(entra_refusal(70003))
        application = directory.applications.get(form.get("client_id", ""))
        if application is None:
            raise RefusedError(entra_refusal(700016))
        self._prove(application, form)
        if not application.enabled:
            raise RefusedError(entra_refusal(7000112))
        if application.blocked:
            raise RefusedError(entra_refusal(53003))
        resource, _, scope = form.get("scope", "").rpartition("/")
        if scope != ".default":
            raise RefusedError(entra_refusal(70011))
        if resource not in self.resources:
            raise RefusedError(entra_refusal(500011))
        token = self.token(directory, application, resource)
        return {"token_type": "Bearer", "expires_in": LIFE_S, "ext_expires_in": LIFE_S, "access_token": token}

    def token(self, directory: Directory, application: Application, resource: str, **claims: object) -> str:
        """Sign an access token; ``claims`` replace what it says otherwise."""
        at = int(self.clock())
        usual = {
            "aud": resource,
            "iss": f"https://sts.windows.net/{directory.guid}/",
            "iat": at,
            "nbf": at,
            "exp": at + LIFE_S + 1,
            "appid": application.client_id,
            "appidacr": "1",
            "oid": application.object_id,
            "tid": directory.guid,
            "uti": uuid.uuid4().hex,
            "ver": "1.0",
        }
        return jwt.encode(usual | claims, self._key, algorithm="RS256", headers={"kid": "fake"})

    def verified(self, token: str) -> dict[str, object] | None:
        """Return the claims of a token that we signed, whatever they say; None when we did not sign it."""
        try:
            return jwt.decode(
                token,
                self._key.public_key(),
                algorithms=["RS256"],
                options={"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError:
            return None

    def _prove(self, application: Application, form: Mapping[str, str]) -> None:
        assertion = form.get("client_assertion")
        if assertion is not None:
            if form.get("client_assertion_type") != ASSERTION_TYPE:
                raise RefusedError(entra_refusal(900144))
            return self._federated(application, assertion)
        if "client_secret" not in form:
            raise RefusedError(entra_refusal(7000216))
        ends = application.secrets.get(form["client_secret"])
        if ends is None:
            raise RefusedError(entra_refusal(7000215))
        if ends <= self.clock():
            raise RefusedError(entra_refusal(7000222))
        return None

    def _federated(self, application: Application, assertion: str) -> None:
        for credential in application.federated:
            try:
                claims = jwt.decode(
                    assertion,
                    credential.key,
                    algorithms=["RS256"],
                    audience=credential.audience,
                    issuer=credential.issuer,
                    options={"verify_exp": False, "verify_iat": False},
                )
            except jwt.InvalidTokenError:
                continue
            if claims.get("sub") == credential.subject:
                if not claims.get("iat", 0) <= self.clock() < claims.get("exp", 0):
                    raise RefusedError(entra_refusal(700024))
                return
        raise RefusedError(entra_refusal(700213))
