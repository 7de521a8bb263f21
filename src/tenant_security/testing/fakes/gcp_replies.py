"""How Google words its refusals: for the fake of Google Cloud, and for tests that want one of them."""

from typing import Final

from tenant_security.testing.fakes.server import Answered, answered

Detail = dict[str, object]

HTTP_STATUS: Final = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "DATA_LOSS": 500,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""The HTTP status of every canonical code. Source: ``google/rpc/code.proto``."""

_UNAUTHENTICATED: Final = (
    "ACCESS_TOKEN",
    "ACCOUNT_",
    "CREDENTIAL",
    "JWT_",
    "SESSION_COOKIE",
)
_EXHAUSTED: Final = ("RATE_LIMIT", "RESOURCE_QUOTA", "EMULATOR_QUOTA")


class RefusedError(Exception):
    """Ends an answer with a refusal."""

    def __init__(self, answer: Answered) -> None:
        super().__init__(answer.status)
        self.answer = answer


def refusal(status: str, message: str, *details: Detail) -> Answered:
    """Answer as Google's APIs refuse."""
    code = HTTP_STATUS[status]
    error: dict[str, object] = {"code": code, "message": message, "status": status}
    return answered(code, {"error": error | ({"details": list(details)} if details else {})})


def oauth_refusal(error: str, description: str, status: int = 400) -> Answered:
    """Answer as Google's token services refuse."""
    return answered(status, {"error": error, "error_description": description})


def reason(name: str, domain: str = "googleapis.com", **metadata: str) -> Detail:
    """The detail that names a reason."""
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": name, "domain": domain, "metadata": metadata}


def violation(kind: str, subject: str) -> Detail:
    """The detail that names a precondition which does not hold."""
    violations = [{"type": kind, "subject": subject}]
    return {"@type": "type.googleapis.com/google.rpc.PreconditionFailure", "violations": violations}


def retry_after(seconds: float) -> Detail:
    """The detail that says when to come back."""
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{seconds}s"}


def for_reason(name: str) -> Answered:
    """Refuse for one of the reasons of ``google.api.ErrorReason``, under the canonical code that goes with it."""
    if name.startswith(_UNAUTHENTICATED) and name != "ACCESS_TOKEN_SCOPE_INSUFFICIENT":
        return refusal("UNAUTHENTICATED", "Request had invalid authentication credentials.", reason(name))
    if name.startswith(_EXHAUSTED):
        return refusal("RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Cryptographic requests'.", reason(name))
    return refusal("PERMISSION_DENIED", "Request is denied.", reason(name))


def permission_denied(permission: str, resource: str) -> Answered:
    """Refuse whoever lacks a permission, without telling whether the resource exists."""
    return refusal(
        "PERMISSION_DENIED",
        f"Permission '{permission}' denied on resource '{resource}' (or it may not exist).",
        reason("IAM_PERMISSION_DENIED", permission.partition(".")[0] + ".googleapis.com", permission=permission),
    )
