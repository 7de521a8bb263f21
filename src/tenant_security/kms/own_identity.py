"""Whether a configuration may use the identity that the proxy's own platform gives it. The rule for all providers.

Trust: two must agree, the vendor by owning the configuration and the operator by a setting. A tenant's own
configuration never gets it: it could name another tenant's key, which the proxy's identity may be allowed to use.
"""

from typing import Final

from tenant_security.kms.provider import KmsContext
from tenant_security.kms.refusals import Provider, invalid

OWN_IDENTITIES: Final = frozenset({"aws", "azure", "gcp", "vault"})
"""The providers at which a platform can vouch for the proxy."""


NO_IDENTITY: Final = frozenset({"OwnIdentity", "TokenFile"})
"""What stands in logs in place of a provider's code where the platform gives the proxy no identity that works."""

NOBODY: Final[frozenset[str]] = frozenset()


def read_own_identity(text: str) -> frozenset[str]:
    """Read the setting: providers, divided by commas; none when empty. Raises: ValueError that names the wrong one."""
    wanted = frozenset(each.strip().lower() for each in text.split(",") if each.strip())
    if unknown := sorted(wanted - OWN_IDENTITIES):
        raise ValueError(f"{unknown[0]!r} is none of {', '.join(sorted(OWN_IDENTITIES))}")
    return wanted


def may_be_itself(provider: Provider, context: KmsContext, member: str, instead: str) -> None:
    """Refuse a configuration that asks for the proxy's own identity and may not have it.

    ``member`` asks for it; ``instead`` is what its author can do. Raises: KmsFaultError 207.
    """
    if not context.vendor_owned:
        raise invalid(provider, f"{member} is for configurations of the vendor's own; {instead}")
    if provider.id not in context.identities:
        how = f"its operator can allow it with TSP_OWN_IDENTITY={provider.id}"
        raise invalid(provider, f"{member} is not allowed on this proxy; {how}")
