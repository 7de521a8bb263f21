"""What Vault's and OpenBao's refusals mean: tables from HTTP statuses and documented texts to ours, and their reading.

Both say no with a status and a list of texts, without codes. A status decides where it can; 400, and 500 for RSA keys,
need the texts, which have been the same since Transit exists and which tests compare with a real server's.

Source: Vault API, "HTTP Status Codes"; Transit secrets engine, AppRole, Kubernetes and JWT auth methods; the sources of
OpenBao for the texts.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from tenant_security.errors import Code
from tenant_security.kms import refusals
from tenant_security.kms.provider import KmsFaultError
from tenant_security.kms.refusals import RATE, SERVICE, Meaning, Phase, Provider, Refusal, by_status, refused
from tenant_security.outbound.flow import Response

PROVIDER: Final = Provider("vault", "Vault")

HTTP_FORBIDDEN: Final = 403

_ROLE: Final = Meaning(
    Code.KMS_AUTHORIZATION_FAILED,
    "the AppRole's credentials are refused; check roleId, and that the secret id has not expired or been used up",
)
_OURSELVES: Final = Meaning(
    Code.KMS_AUTHORIZATION_FAILED,
    "the proxy's own service account is refused; check `role`, authMount and what the role is bound to",
)
_SIGN_IN: Final = Meaning(
    Code.KMS_AUTHORIZATION_FAILED, "the credentials are refused; check them, authMount and namespace"
)
_FROM_WHERE: Final = Meaning(
    Code.KMS_AUTHORIZATION_FAILED, "it does not let us in from the proxy's address; allow it in the role's bound CIDRs"
)
_TOKEN: Final = Meaning(
    Code.KMS_AUTHORIZATION_FAILED, "the token has ended or was revoked; give a new one, or use an AppRole"
)
_DENIED: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID,
    "the policy does not allow it, or there is no such key; allow `update` on encrypt and decrypt of this key",
)
_NO_KEY: Final = Meaning(Code.KMS_CONFIGURATION_INVALID, "there is no such key; check keyName, mount and namespace")
_DELETED: Final = Meaning(Code.KMS_CONFIGURATION_INVALID, "the key is deleted; its owner can still restore it")
_NO_ENGINE: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID, "no Transit engine answers at this path; check address, mount and namespace"
)
_NO_METHOD: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID, "no auth method answers at this path; check authMount and namespace"
)
_ELSEWHERE: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID, "the address sends us elsewhere, and we do not follow; check `address`"
)
_KIND: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID, "the key cannot encrypt and decrypt; use one of type aes256-gcm96"
)
_CONTEXT: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID, "the key is derived and needs keyPath.context, or is not and takes none"
)
_BOUND: Final = Meaning(Code.KMS_CONFIGURATION_INVALID, "the key's type takes no keyPath.associatedData")
_MINIMUM: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID,
    "the key's min_encryption_version forbids its newest version; its owner must mend it",
)
_NO_VERSION: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID, "the version of the key that wrapped it is gone; its owner has trimmed or lost it"
)
_ALTERED: Final = Meaning(Code.KMS_UNWRAP_FAILED, "the wrapped key was altered, or another key wrapped it")
_TOO_OLD: Final = Meaning(
    Code.KMS_UNWRAP_FAILED,
    "the key's min_decryption_version is above the version that wrapped it; its owner can lower it",
)
_TOO_NEW: Final = Meaning(
    Code.KMS_UNWRAP_FAILED, "a version wrapped it that the key does not have; was it restored from an old backup?"
)
_SEALED: Final = Meaning(Code.KMS_UNREACHABLE, "it is sealed; whoever runs it must unseal it")
_STANDBY: Final = Meaning(
    Code.KMS_UNREACHABLE, "this node does not serve requests; `address` must lead to an active one"
)
_BEHIND: Final = Meaning(Code.KMS_UNREACHABLE, "this node is behind the others; it will catch up")

STATUSES: Final[Mapping[int, Meaning]] = {
    301: _ELSEWHERE,
    302: _ELSEWHERE,
    303: _ELSEWHERE,
    307: _ELSEWHERE,
    308: _ELSEWHERE,
    403: _DENIED,
    404: _NO_ENGINE,
    405: _NO_ENGINE,
    412: _BEHIND,
    429: RATE,
    472: _STANDBY,
    473: _STANDBY,
    500: SERVICE,
    502: SERVICE,
    503: SERVICE,
    504: SERVICE,
}
"""What a status means where no text says more. Of 472 and 473 only the health endpoint's use is documented."""

TOKEN_STATUSES: Final[Mapping[int, Meaning]] = {
    400: _SIGN_IN,
    401: _SIGN_IN,
    403: _SIGN_IN,
    404: _NO_METHOD,
    405: _NO_METHOD,
}
"""What a status means when we sign in. Asked before ``STATUSES``."""


class Text(NamedTuple):
    """A documented text. ``name`` stands in logs; ``pattern`` is matched against each line from its beginning."""

    name: str
    pattern: re.Pattern[str]
    meaning: Meaning
    phases: frozenset[Phase]


_LOGINS: Final = frozenset({Phase.TOKEN})
_UNWRAPS: Final = frozenset({Phase.UNWRAP})
_BOTH: Final = frozenset({Phase.WRAP, Phase.UNWRAP})
_EVERY: Final = frozenset(Phase)

TEXTS: Final = (
    Text("Sealed", re.compile(r"(Vault|OpenBao) is sealed|error performing.*: barrier is sealed"), _SEALED, _EVERY),
    Text("NoActiveNode", re.compile(r"(local node not active|.*no active (cluster )?node)"), _STANDBY, _EVERY),
    # Signing in.
    Text("RoleOrSecretId", re.compile(r"invalid role or secret ID|missing (role|secret)_id"), _ROLE, _LOGINS),
    Text("SecretId", re.compile(r"invalid secret[ _]id"), _ROLE, _LOGINS),
    Text("SourceAddress", re.compile(r"source address .* unauthorized"), _FROM_WHERE, _LOGINS),
    Text(
        "RoleName",
        re.compile(r'(invalid )?role (name )?".*"( could not be found| not found)?|missing role'),
        _OURSELVES,
        _LOGINS,
    ),
    Text(
        "OwnToken",
        re.compile(r"error validating (token|claims)|missing (token|jwt)|invalid (audience|token)"),
        _OURSELVES,
        _LOGINS,
    ),
    Text("OwnAccount", re.compile(r"service account|namespace not authorized|lookup failed"), _OURSELVES, _LOGINS),
    # The key.
    Text("KeyNotFound", re.compile(r"encryption key not found|policy not found"), _NO_KEY, _BOTH),
    Text("KeyDeleted", re.compile(r"refusing to use soft-deleted key"), _DELETED, _BOTH),
    Text("KeyType", re.compile(r"(message (en|de)cryption|key type .*) not supported"), _KIND, _BOTH),
    Text("Context", re.compile(r"missing 'context' for key|derivation not supported|context"), _CONTEXT, _BOTH),
    Text(
        "AssociatedData",
        re.compile(r"\W*(\d+\W+)?(associated_data|additional_data)\W* provided for non-AEAD"),
        _BOUND,
        _BOTH,
    ),
    Text("MinimumVersion", re.compile(r"requested version for encryption is"), _MINIMUM, _BOTH),
    Text("KeyVersion", re.compile(r"no such key version"), _NO_VERSION, _BOTH),
    # The wrapped key.
    Text("TooNew", re.compile(r"invalid ciphertext: version is too new"), _TOO_NEW, _UNWRAPS),
    Text("TooOld", re.compile(r"ciphertext or signature version is disallowed by policy"), _TOO_OLD, _UNWRAPS),
    Text("Altered", re.compile(r"cipher: message authentication failed|invalid ciphertext"), _ALTERED, _UNWRAPS),
    Text(
        "Altered",
        re.compile(r"(failed to RSA decrypt the ciphertext|crypto/rsa: decryption error)"),
        _ALTERED,
        _UNWRAPS,
    ),
)
"""Documented texts. The first that matches decides, whatever the status but 429."""


class _Refusal(msgspec.Struct):
    """An error reply."""

    errors: list[str] = []


def read_texts(response: Response) -> list[str]:
    """Return an error reply's texts, line by line; never fails.

    Shape: ``{"errors": ["..."]}``. Several at once stand in one text: ``1 error occurred:`` and lines with ``*``.
    """
    try:
        read = msgspec.json.decode(response.body, type=_Refusal)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    return [line.strip("* \t") for text in read.errors for line in text.splitlines()]


def classify(phase: Phase, status: int, texts: list[str]) -> tuple[str, Meaning, bool]:
    """Return a name for the log, what a refusal means, and whether a table listed it."""
    if status != refusals.HTTP_TOO_MANY:
        for text in TEXTS:
            if phase in text.phases and any(text.pattern.match(line) for line in texts):
                return text.name, text.meaning, True
    if phase is Phase.TOKEN and status in TOKEN_STATUSES:
        return "", TOKEN_STATUSES[status], True
    if status in STATUSES:
        return "", STATUSES[status], True
    return "", by_status(phase, status), False


def fault(phase: Phase, response: Response) -> KmsFaultError:
    """Turn an error reply into our fault, in our words."""
    name, meaning, listed = classify(phase, response.status, read_texts(response))
    return refused(PROVIDER, phase, meaning, Refusal(name, "", ""), response, listed=listed)


def token_ended(phase: Phase, response: Response) -> KmsFaultError:
    """Say that our token is refused, and not what we asked for with it. Code 206."""
    return refused(PROVIDER, phase, _TOKEN, Refusal("TokenEnded", "", ""), response, listed=True)


def unusable(phase: Phase, what: str) -> KmsFaultError:
    """A reply that says success and is none. Code 204, 205 or 206."""
    return refusals.unusable(PROVIDER, phase, what, "")


def invalid(what: str) -> KmsFaultError:
    """Say what is wrong with the configuration itself. Code 207."""
    return refusals.invalid(PROVIDER, what)
