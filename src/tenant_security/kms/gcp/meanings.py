"""What Google's refusals mean: tables from Google's codes to ours.

Four kinds of names share the tables, for no two of them collide: the reasons of ``google.rpc.ErrorInfo``, the types of
``google.rpc.PreconditionFailure``, the canonical status codes, and OAuth's ``error`` codes of the token services.

Source: AIP-193; ``google/api/error_reason.proto`` and ``google/rpc/code.proto``, which tests enumerate; RFC 6749,
section 5.2; RFC 8693, section 2.2.2; Cloud KMS, "Cloud EKM errors".
"""

from collections.abc import Mapping
from typing import Final

from tenant_security.errors import Code
from tenant_security.kms.refusals import RATE, SERVICE, Meaning, Phase

_WHO: Final = Meaning(
    Code.KMS_AUTHORIZATION_FAILED,
    "the service account's credentials are refused; check that the account and its key exist and are enabled",
)
_ACCOUNT: Final = Meaning(
    Code.KMS_AUTHORIZATION_FAILED, "the service account does not exist, or is disabled; enable it or name another"
)
_KEY: Final = Meaning(
    Code.KMS_AUTHORIZATION_FAILED,
    "the private key is not, or no longer, one of the service account's; make a new one and enter it",
)
_NOT_OURS: Final = Meaning(
    Code.KMS_AUTHORIZATION_FAILED,
    "the call was judged by a kind of credentials that the proxy does not send; check what stands before the endpoint",
)
_DENIED: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID,
    "the service account may not use this key, or it does not exist; grant it"
    " roles/cloudkms.cryptoKeyEncrypterDecrypter on the key",
)
_NO_KEY: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID, "no such key in this project, location and key ring; check keyPath"
)
_API: Final = Meaning(Code.KMS_CONFIGURATION_INVALID, "the Cloud KMS API is not enabled in the key's project")
_POLICY: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID,
    "a policy of the organization forbids it; an administrator must let this proxy in, such as into the VPC Service"
    " Controls perimeter",
)
_LOCATION: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID, "a policy forbids use from where the proxy runs, or of the key's location"
)
_PROJECT: Final = Meaning(Code.KMS_CONFIGURATION_INVALID, "the key's project is unknown or may not be used; check it")
_REQUEST: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID,
    "the key cannot do this; it must be a symmetric key with the purpose ENCRYPT_DECRYPT, and keyPath must name it",
)
_STATE: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID, "the state of the key's version forbids its use; enable it, or another as primary"
)
_DISABLED: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID, "the key's version is disabled; its owner can enable it again"
)
_DESTROYED: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID,
    "the key's version is destroyed or about to be; while it is only scheduled, its owner can restore it",
)
_PENDING: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID, "the key's version is not ready yet, or failed to be made; see its state"
)
_EXTERNAL: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID,
    "the external key manager refused; check the key and Google's permission there",
)
_EXTERNAL_GONE: Final = Meaning(
    Code.KMS_UNREACHABLE, "the external key manager did not answer Google; check it and the network to it"
)
_BILLING: Final = Meaning(Code.KMS_ACCOUNT_ISSUE, "billing is disabled for the key's project; its owner must enable it")
_SUSPENDED: Final = Meaning(Code.KMS_ACCOUNT_ISSUE, "the project is suspended; its owner must settle that with Google")
_POOL: Final = Meaning(
    Code.KMS_AUTHORIZATION_FAILED,
    "the workload identity pool or its provider is disabled, deleted or misspelt; the proxy's operator must check it",
)
_SUBJECT: Final = Meaning(
    Code.KMS_AUTHORIZATION_FAILED,
    "the proxy's own identity is refused by the workload identity provider; its operator must check its token's issuer,"
    " audience and attributes",
)
_SCOPE: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID, "the token may not be used for Cloud KMS; its access scopes must include cloudkms"
)

REASONS: Final[Mapping[str, Meaning]] = {
    # Who we are is refused.
    "ACCESS_TOKEN_EXPIRED": _WHO,
    "ACCESS_TOKEN_TYPE_UNSUPPORTED": _WHO,
    "ACCOUNT_STATE_INVALID": _ACCOUNT,
    "ACCOUNT_TYPE_UNSUPPORTED": _ACCOUNT,
    "CREDENTIALS_MISSING": _WHO,
    "CREDENTIAL_TYPE_UNSUPPORTED": _WHO,
    "JWT_TOKEN_INVALID": _WHO,
    # Credentials that we never send: somebody between us and Google added them.
    "API_KEY_INVALID": _NOT_OURS,
    "API_KEY_SERVICE_BLOCKED": _NOT_OURS,
    "API_KEY_HTTP_REFERRER_BLOCKED": _NOT_OURS,
    "API_KEY_IP_ADDRESS_BLOCKED": _NOT_OURS,
    "API_KEY_ANDROID_APP_BLOCKED": _NOT_OURS,
    "API_KEY_IOS_APP_BLOCKED": _NOT_OURS,
    "CREDENTIAL_ANDROID_APP_INVALID": _NOT_OURS,
    "OVERLOADED_CREDENTIALS": _NOT_OURS,
    "SESSION_COOKIE_INVALID": _NOT_OURS,
    "MISSING_ORIGIN": _NOT_OURS,
    # The key, the configuration or a permission is refused.
    "IAM_PERMISSION_DENIED": _DENIED,
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": _SCOPE,
    "SERVICE_DISABLED": _API,
    "SERVICE_NOT_VISIBLE": _API,
    "MCP_SERVER_DISABLED": _API,
    "SECURITY_POLICY_VIOLATED": _POLICY,
    "ORG_RESTRICTION_VIOLATION": _POLICY,
    "ORG_RESTRICTION_HEADER_INVALID": _POLICY,
    "RESOURCE_USAGE_RESTRICTION_VIOLATED": _POLICY,
    "ENDPOINT_USAGE_RESTRICTION_VIOLATED": _POLICY,
    "TLS_ORG_POLICY_VIOLATED": _POLICY,
    "TLS_CIPHER_RESTRICTION_VIOLATED": _POLICY,
    "USER_BLOCKED_BY_ADMIN": _POLICY,
    "LOCATION_POLICY_VIOLATED": _LOCATION,
    "LOCATION_ORG_POLICY_VIOLATED": _LOCATION,
    "LOCATION_TAX_POLICY_VIOLATED": _LOCATION,
    "RESOURCE_PROJECT_INVALID": _PROJECT,
    "CONSUMER_INVALID": _PROJECT,
    "USER_PROJECT_DENIED": _PROJECT,
    "SYSTEM_PARAMETER_UNSUPPORTED": _REQUEST,
    # Too many calls.
    "RATE_LIMIT_EXCEEDED": RATE,
    "RESOURCE_QUOTA_EXCEEDED": RATE,
    "EMULATOR_QUOTA_EXCEEDED": RATE,
    # The account itself.
    "BILLING_DISABLED": _BILLING,
    "CONSUMER_SUSPENDED": _SUSPENDED,
    "GCP_SUSPENDED": _SUSPENDED,
}
"""Every reason of ``google.api.ErrorReason`` but the one that says nothing."""

VIOLATIONS: Final[Mapping[str, Meaning]] = {
    "KEY_DISABLED": _DISABLED,
    "KEY_DESTROYED": _DESTROYED,
    "KEY_DESTROY_SCHEDULED": _DESTROYED,
    "KEY_PENDING_GENERATION": _PENDING,
    "KEY_PENDING_IMPORT": _PENDING,
    "EXTERNAL_PERMISSION_DENIED": _EXTERNAL,
}
"""Types of violated preconditions that Cloud KMS is known to send. An external key manager brings more."""

STATUSES: Final[Mapping[str, Meaning]] = {
    "UNAUTHENTICATED": _WHO,
    "PERMISSION_DENIED": _DENIED,
    "NOT_FOUND": _NO_KEY,
    "FAILED_PRECONDITION": _STATE,
    "UNIMPLEMENTED": _REQUEST,
    "RESOURCE_EXHAUSTED": RATE,
    "INTERNAL": SERVICE,
    "UNKNOWN": SERVICE,
    "UNAVAILABLE": SERVICE,
    "DEADLINE_EXCEEDED": SERVICE,
    "ABORTED": SERVICE,
    "CANCELLED": SERVICE,
    "DATA_LOSS": SERVICE,
}
"""Canonical codes that mean the same in every phase."""

OAUTH: Final[Mapping[str, Meaning]] = {
    "invalid_grant": _WHO,
    "invalid_client": _WHO,
    "unauthorized_client": _WHO,
    "access_denied": _WHO,
    "disabled_client": _ACCOUNT,
    "deleted_client": _ACCOUNT,
    "invalid_target": _POOL,
    "invalid_request": _WHO,
    "unsupported_grant_type": _WHO,
    "invalid_scope": _SCOPE,
    "admin_policy_enforced": _POLICY,
    "org_internal": _POLICY,
    "rate_limit_exceeded": RATE,
    "quota_exceeded": RATE,
    "internal_failure": SERVICE,
    "server_error": SERVICE,
    "temporarily_unavailable": SERVICE,
}
"""Codes of the token services."""

BY_PHASE: Final[Mapping[tuple[Phase, str], Meaning]] = {
    (Phase.WRAP, "INVALID_ARGUMENT"): _REQUEST,
    (Phase.UNWRAP, "INVALID_ARGUMENT"): Meaning(
        Code.KMS_UNWRAP_FAILED, "the wrapped key was altered, or another key wrapped it"
    ),
    (Phase.TOKEN, "INVALID_ARGUMENT"): _WHO,
    (Phase.TOKEN, "PERMISSION_DENIED"): Meaning(
        Code.KMS_AUTHORIZATION_FAILED,
        "the proxy may not act as the service account; grant it roles/iam.workloadIdentityUser on the account",
    ),
    (Phase.TOKEN, "IAM_PERMISSION_DENIED"): Meaning(
        Code.KMS_AUTHORIZATION_FAILED,
        "the proxy may not act as the service account; grant it roles/iam.workloadIdentityUser on the account",
    ),
    (Phase.TOKEN, "NOT_FOUND"): _ACCOUNT,
    (Phase.TOKEN, "FAILED_PRECONDITION"): _ACCOUNT,
    (Phase.TOKEN, "SERVICE_DISABLED"): Meaning(
        Code.KMS_CONFIGURATION_INVALID,
        "the IAM Service Account Credentials API is not enabled in the service account's project; enable it",
    ),
}
"""Codes that mean something only, or something else, in one phase. Asked before the others."""

PHRASES: Final[tuple[tuple[str, str, Meaning], ...]] = (
    ("invalid_grant", "invalid jwt signature", _KEY),
    ("invalid_grant", "account not found", _ACCOUNT),
    ("invalid_grant", "account deleted", _ACCOUNT),
    ("invalid_grant", "account disabled", _ACCOUNT),
    ("invalid_grant", "id token", _SUBJECT),
    ("invalid_grant", "subject token", _SUBJECT),
    ("invalid_grant", "the credential", _SUBJECT),
    ("unauthorized_client", "attribute condition", _SUBJECT),
    ("KEY_DISABLED", "state is: destroy", _DESTROYED),
    ("FAILED_PRECONDITION", "state is: disabled", _DISABLED),
    ("FAILED_PRECONDITION", "state is: destroy", _DESTROYED),
    ("FAILED_PRECONDITION", "state is: pending", _PENDING),
    ("FAILED_PRECONDITION", "state is: generation_failed", _PENDING),
    ("FAILED_PRECONDITION", "state is: import_failed", _PENDING),
    ("FAILED_PRECONDITION", "has not been used in", _API),
    ("PERMISSION_DENIED", "has not been used in", _API),
    ("PERMISSION_DENIED", "requires billing", _BILLING),
    ("PERMISSION_DENIED", "has been suspended", _SUSPENDED),
    ("PERMISSION_DENIED", "prohibited by organization", _POLICY),
    ("PERMISSION_DENIED", "insufficient authentication scopes", _SCOPE),
)
"""Words of Google's message that tell more than its code, in lower case: only to say it better, or where old services
give no reason. The words are not promised to stay; without them the code's own meaning holds."""

EXTERNAL: Final[tuple[tuple[str, Meaning], ...]] = (
    ("TIMEOUT", _EXTERNAL_GONE),
    ("TIMED_OUT", _EXTERNAL_GONE),
    ("DEADLINE", _EXTERNAL_GONE),
    ("UNREACHABLE", _EXTERNAL_GONE),
    ("UNAVAILABLE", _EXTERNAL_GONE),
    ("CONNECT", _EXTERNAL_GONE),
    ("NETWORK", _EXTERNAL_GONE),
    ("DNS", _EXTERNAL_GONE),
    ("TLS", _EXTERNAL_GONE),
    ("SSL", _EXTERNAL_GONE),
    ("CERTIFICATE", _EXTERNAL_GONE),
    ("INTERNAL", _EXTERNAL_GONE),
    ("QUOTA", RATE),
    ("RATE_LIMIT", RATE),
    ("", _EXTERNAL),
)
"""Types of violations that begin with ``EXTERNAL_`` or ``EKM_``: the first of these words that they hold decides."""

BY_HTTP: Final[Mapping[int, str]] = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
}
"""The canonical code that an HTTP status stands for, where the reply names none. Source: ``google/rpc/code.proto``."""
