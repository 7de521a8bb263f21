"""How an operation is refused whose event cannot be recorded."""

from tenant_security.errors import Code, TenantSecurityError


def not_recorded() -> TenantSecurityError:
    """The refusal of an operation whose event cannot be recorded."""
    return TenantSecurityError(
        Code.SECURITY_EVENT_REJECTED,
        "The operation was refused because its security event cannot be recorded; "
        "the operator finds the reason on the proxy's health page",
        http_status=503,
        retry_after_s=1.0,
    )
