"""What to do about each way in which a connection test fails, and who can do it."""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from tenant_security.errors import Code
from tenant_security.kms.needs import Needs
from tenant_security.outbound.flow import Reason
from tenant_security.wire.kms_check import StepName

Fixer = Literal["owner", "operator", "nobody"]


class Remedy(NamedTuple):
    """What to do, and who can."""

    words: str
    fixer: Fixer


_REFUSED_WORK: Final = Remedy(
    "The KMS was reached and did not do what was asked. Check that the key is one that encrypts and decrypts, and look "
    "the provider's code up.",
    "owner",
)

_BY_CODE: Final[Mapping[Code, Remedy]] = {
    Code.KMS_WRAP_FAILED: _REFUSED_WORK,
    Code.KMS_UNWRAP_FAILED: _REFUSED_WORK,
    Code.KMS_THROTTLED: Remedy(
        "Wait a little, then try again. If it stays so, have the quota raised at the provider.", "nobody"
    ),
    Code.KMS_ACCOUNT_ISSUE: Remedy(
        "Put the account or subscription in order at the provider: billing, suspension, terms.", "owner"
    ),
    Code.KMS_UNREACHABLE: Remedy(
        "The provider's service failed on its side. Try again; if it stays so, look at its status page.", "nobody"
    ),
    Code.UNKNOWN_ERROR: Remedy("Set the clock of the service that was asked, and try again.", "operator"),
}

NO_IDENTITY_HERE: Final = Remedy(
    "The platform of the service that was asked gives it no identity that works: the problem says what is missing.",
    "operator",
)

_OTHER_PEER: Final = Remedy(
    "What answers at this address is no such KMS: check the address and what stands in between.", "owner"
)
_NO_WAY: Final = Remedy(
    "Check the address and its port, and that firewalls on both sides let this service through.", "owner"
)

WAY_THERE: Final[Mapping[Reason, Remedy]] = {
    Reason.REFUSED: Remedy(
        "The address leads where tenants may not reach from here. If it is meant to, the operator of this service "
        "allows it with TSP_EGRESS_ALLOW; else correct the address.",
        "operator",
    ),
    Reason.NAME: Remedy("Correct the host name, or publish it where this service looks names up.", "owner"),
    Reason.TLS: Remedy(
        "Serve a certificate for this very host name, from a public authority or from one in caCertificate.", "owner"
    ),
    Reason.CONNECT: _NO_WAY,
    Reason.TIMEOUT: _NO_WAY,
    Reason.RESET: _OTHER_PEER,
    Reason.TOO_LARGE: _OTHER_PEER,
}


def remedy_of(code: Code, step: StepName, needs: Needs) -> Remedy:
    """Say what to do about a fault code."""
    if code is Code.KMS_CONFIGURATION_INVALID:
        if step == "configuration":
            return Remedy("Correct the configuration: the message names what is wrong in it.", "owner")
        permission = needs.wrap if step == "wrap" else needs.unwrap
        return Remedy(f"Grant {needs.identity} this: {permission}. Check that the key exists and is enabled.", "owner")
    if code is Code.KMS_AUTHORIZATION_FAILED:
        grants = f" It also needs: {'; '.join(needs.sign_in)}." if needs.sign_in else ""
        words = f"Check that {needs.identity} exists, is enabled, and that its credentials are current.{grants}"
        return Remedy(words, "owner")
    return _BY_CODE[code]
