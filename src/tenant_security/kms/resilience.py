"""How we call a KMS: for how long, how often, and how many at once. Pure rules; ``caller`` obeys them.

Shape: one total deadline; one retry, only where the provider or the network failed; and how much room one tenant and
one config may take, so that a slow one does not take everybody's. ``health`` says whom not to ask at all.

Source: docs/decisions/0004-outbound-http-and-aws-signing.md; the AWS Builders' Library, "Timeouts, retries and
backoff with jitter".
"""

import msgspec

from tenant_security.kms.provider import KmsFaultError
from tenant_security.outbound.bulkhead import Room
from tenant_security.outbound.flow import Reason, UnreachableError


class CallLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of calls to KMSs.

    Units: seconds where the name ends in ``_s``, a share of the deadline in ``retry_share_left``, else counts.
    """

    deadline_s: float = 5.0
    """One wrap or unwrap in all: waiting for a turn, every request, the pause and the retry."""
    in_flight_per_tenant: int = 64
    """Calls of one tenant at a time; more of them wait."""
    in_flight_per_config: int = 4_096
    """Calls that use one config at a time, which may be the vendor's and many tenants'; more of them wait."""
    in_flight: int = 16_384
    """Calls of all tenants at a time. Keep the driver's connections at least as many."""
    waiting_per_tenant: int = 1_024
    """Calls of one tenant that wait for a turn; more are refused with 209 at once."""
    waiting: int = 16_384
    """Calls of all tenants that wait for a turn; more are refused with 209 at once."""
    retry_share_left: float = 0.4
    """How much of the deadline must be left for a retry to begin."""
    retry_pause_min_s: float = 0.05
    """The shortest pause before the retry."""
    retry_pause_max_s: float = 0.15
    """The longest pause before the retry. The pause is random so that callers who failed together come back apart."""

    def __post_init__(self) -> None:
        if self.deadline_s <= 0 or not 0 <= self.retry_pause_min_s <= self.retry_pause_max_s:
            raise ValueError("times must be positive and in order")
        if not 0 <= self.retry_share_left <= 1:
            raise ValueError("a share lies between 0 and 1")
        self.room()  # it refuses bounds that make no sense

    def room(self) -> Room:
        """How the calls under way and those that wait are bounded."""
        return Room(
            running=self.in_flight,
            per_owner=self.in_flight_per_tenant,
            per_group=self.in_flight_per_config,
            waiting=self.waiting,
            waiting_per_owner=self.waiting_per_tenant,
        )


def may_retry(fault: BaseException, *, tried: int, left_s: float, limits: CallLimits) -> bool:
    """Whether to call once more after this fault.

    Only the network's and the provider's own faults heal by themselves. A refusal would be refused again, and a
    throttled caller who insists is throttled longer.
    """
    if tried != 1 or left_s < limits.retry_share_left * limits.deadline_s:
        return False
    match fault:
        case UnreachableError(reason=reason):
            return reason is not Reason.REFUSED
        case KmsFaultError(once_more=once_more):
            return once_more
        case _:
            return False
