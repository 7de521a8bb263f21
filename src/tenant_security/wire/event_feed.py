"""How a logdriver fetches events from a proxy: leases a batch, makes it safe, acknowledges it.

``POST /1/events/lease`` takes :class:`LeaseRequest` and answers :class:`LeasedEvents`; ``POST /1/events/acknowledge``
takes :class:`Acknowledgement` and answers ``null``. A batch that is not acknowledged in time is handed out again.
``POST /1/events/wait`` takes :class:`LeaseRequest` and answers ``null`` as soon as a lease would not be empty, or when
the time is over; it hands nothing out.

Source: docs/formats.md, "Event feed".
"""

from typing import Annotated, Final, TypeVar

import msgspec

from tenant_security.errors import Code, TenantSecurityError

REQUEST_BYTES: Final = 65_536
"""The largest request."""
LEASE_PATH: Final = "/1/events/lease"
ACKNOWLEDGE_PATH: Final = "/1/events/acknowledge"
WAIT_PATH: Final = "/1/events/wait"


R = TypeVar("R", bound=msgspec.Struct)


class LeaseRequest(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Units: ``most`` events at once; ``waitMillis`` for the first one when there is none.

    ``collector`` is a name that a collector keeps over restarts, ``session`` one that it has anew after each: what was
    lent to it in another session is handed out again at once, before what is newer.
    """

    most: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1_000
    wait_millis: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 20_000
    collector: Annotated[str, msgspec.Meta(max_length=64)] = ""
    session: Annotated[str, msgspec.Meta(max_length=64)] = ""


class LeasedEvents(msgspec.Struct, frozen=True, rename="camel"):
    """``batch`` is what to acknowledge, absent when no event came; ``events`` stand in the native form."""

    instance: str
    batch: int | None
    events: list[msgspec.Raw]


class Acknowledgement(msgspec.Struct, frozen=True, rename="camel"):
    """``instance`` and ``batch`` as they were leased."""

    instance: str
    batch: int


def decode_request(kind: type[R], body: bytes) -> R:
    """Read a request. Raises: TenantSecurityError 102."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise TenantSecurityError(Code.INVALID_REQUEST_BODY, "The request body is not valid") from None
