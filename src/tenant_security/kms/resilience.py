"""How we call a KMS: for how long, how often, and how many at once. Pure rules; ``caller`` obeys them.

Shape: one total deadline; one retry, only where the provider or the network failed; a bulkhead that keeps one slow
tenant from taking everybody's room.

Source: docs/decisions/0004-outbound-http-and-aws-signing.md; the AWS Builders' Library, "Timeouts, retries and
backoff with jitter".
"""

from collections import OrderedDict
from enum import Enum
from typing import Generic, TypeVar

import msgspec

from tenant_security.kms.provider import KmsFaultError
from tenant_security.outbound.flow import Reason, UnreachableError

Ticket = TypeVar("Ticket")


class CallLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of calls to KMSs.

    Units: seconds where the name ends in ``_s``, a share of the deadline in ``retry_share_left``, else counts.
    """

    deadline_s: float = 5.0
    """One wrap or unwrap in all: waiting for a turn, every request, the pause and the retry."""
    in_flight_per_tenant: int = 64
    """Calls of one tenant at a time; more of them wait."""
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
        if min(self.in_flight_per_tenant, self.in_flight) < 1 or min(self.waiting_per_tenant, self.waiting) < 0:
            raise ValueError("bounds must be positive")


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


class Verdict(Enum):
    """What the bulkhead says to a call."""

    GO = "go"
    WAIT = "wait"
    FULL = "full"


class _Lane(Generic[Ticket]):
    """One tenant's calls: how many run and who waits, first come first."""

    __slots__ = ("running", "waiting")

    def __init__(self) -> None:
        self.running = 0
        self.waiting: OrderedDict[Ticket, None] = OrderedDict()


class Bulkhead(Generic[Ticket]):
    """Decides who may call now, who waits and who is turned away.

    Within a tenant the first to come is the first to go. When the overall bound is reached, tenants take turns, so a
    tenant with a long queue does not keep out one with a single call. A tenant without calls leaves no trace.

    Shape: between two calls to its methods no waiting ticket could go: either its tenant is at its bound or all are.
    """

    def __init__(self, limits: CallLimits) -> None:
        self._limits = limits
        self._lanes: dict[str, _Lane[Ticket]] = {}
        self._turns: OrderedDict[str, None] = OrderedDict()
        self.running = 0
        self.waiting = 0

    def __len__(self) -> int:
        """How many tenants have calls now."""
        return len(self._lanes)

    def enter(self, tenant: str, ticket: Ticket) -> Verdict:
        """Take a place or a place in the queue. After GO the caller must :meth:`leave`."""
        lane = self._lanes.get(tenant) or _Lane[Ticket]()
        if lane.running < self._limits.in_flight_per_tenant and self.running < self._limits.in_flight:
            self._lanes[tenant] = lane
            lane.running += 1
            self.running += 1
            return Verdict.GO
        if len(lane.waiting) >= self._limits.waiting_per_tenant or self.waiting >= self._limits.waiting:
            return Verdict.FULL
        self._lanes[tenant] = lane
        lane.waiting[ticket] = None
        self.waiting += 1
        self._line_up(tenant, lane)
        return Verdict.WAIT

    def leave(self, tenant: str) -> Ticket | None:
        """Give a place back. Returns the ticket that has it now, if one waited for it."""
        lane = self._lanes[tenant]
        lane.running -= 1
        self.running -= 1
        self._line_up(tenant, lane)
        self._tidy(tenant, lane)
        if not self._turns:
            return None
        tenant, _ = self._turns.popitem(last=False)
        lane = self._lanes[tenant]
        ticket, _ = lane.waiting.popitem(last=False)
        self.waiting -= 1
        lane.running += 1
        self.running += 1
        self._line_up(tenant, lane)
        return ticket

    def abandon(self, tenant: str, ticket: Ticket) -> None:
        """Leave the queue without having had a turn."""
        lane = self._lanes[tenant]
        del lane.waiting[ticket]
        self.waiting -= 1
        if not lane.waiting:
            self._turns.pop(tenant, None)
        self._tidy(tenant, lane)

    def _line_up(self, tenant: str, lane: _Lane[Ticket]) -> None:
        """Put a tenant that could use a place at the end of the turns, unless it is in them already."""
        if lane.waiting and lane.running < self._limits.in_flight_per_tenant:
            self._turns.setdefault(tenant, None)

    def _tidy(self, tenant: str, lane: _Lane[Ticket]) -> None:
        if not lane.running and not lane.waiting:
            del self._lanes[tenant]
