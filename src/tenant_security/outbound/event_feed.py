"""Fetching security events from a proxy, as flows: lease a batch, and acknowledge it once it is safe."""

import msgspec

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.outbound.flow import Flow, Request, Response, send
from tenant_security.secret import Secret
from tenant_security.wire.event_feed import (
    ACKNOWLEDGE_PATH,
    LEASE_PATH,
    Acknowledgement,
    LeasedEvents,
    LeaseRequest,
)

_OK = 200
_CAP_BYTES = 64 * 1_048_576


def lease_events(base: str, api_key: Secret[str], request: LeaseRequest | None = None) -> Flow[LeasedEvents]:
    """Lease a batch; it is empty when no event came in time. Raises: TenantSecurityError, UnreachableError."""
    response = yield from send(_post(base + LEASE_PATH, api_key, request or LeaseRequest()))
    _check(response)
    try:
        return msgspec.json.decode(response.body, type=LeasedEvents)
    except msgspec.DecodeError:
        raise TenantSecurityError(Code.UNKNOWN_ERROR, "The proxy answered something that is not a batch") from None


def acknowledge_events(base: str, api_key: Secret[str], leased: LeasedEvents) -> Flow[None]:
    """Say that a leased batch is safe. Raises: TenantSecurityError when it was too late; UnreachableError."""
    assert leased.batch is not None
    acknowledgement = Acknowledgement(leased.instance, leased.batch)
    _check((yield from send(_post(base + ACKNOWLEDGE_PATH, api_key, acknowledgement))))


def _post(url: str, api_key: Secret[str], body: msgspec.Struct) -> Request:
    headers = (("Authorization", f"cmk {api_key.reveal()}"), ("Content-Type", "application/json"))
    return Request("POST", url, headers, msgspec.json.encode(body), cap_bytes=_CAP_BYTES)


def _check(response: Response) -> None:
    if response.status != _OK:
        raise TenantSecurityError(Code.UNKNOWN_ERROR, f"The proxy's event feed answered HTTP {response.status}")
