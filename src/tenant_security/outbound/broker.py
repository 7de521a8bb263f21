"""Talks with the broker, as flows: every request is signed with the service's own key.

Source: docs/broker/service-api.md.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from tenant_security.crypto.request_tokens import SCHEME, Asking, sign_request
from tenant_security.crypto.signing import SigningKey
from tenant_security.outbound.flow import Flow, Request, Response, download, send
from tenant_security.wire import service_api as api
from tenant_security.wire.broker_api import NewVendor
from tenant_security.wire.people_api import Waits

_CAP_BYTES: Final = 16 * 1_048_576
_EXPORT_CAP_BYTES: Final = 4 * 1024**3
_EXPORT_S: Final = 3600.0
_OK: Final = 200
_NOTHING: Final = 204
_UNCHANGED: Final = 304
_ACCEPTED: Final = 202
_HELD: Final = 422
"""What callers that know statuses only take a held change for: well formed, and not done now."""

REQUESTOR_HEADER: Final = "icl-requestor-id"
_GOOD: Final = frozenset({200, 201, 202, 204})

T = TypeVar("T", bound=msgspec.Struct)
A = TypeVar("A")


class BrokerRefusedError(Exception):
    """The broker answered, and not with what was asked for. ``status`` is its HTTP status; the words are its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the broker answered {status}: {message}" if message else f"the broker answered {status}")
        self.status = status
        self.message = message


class HeldError(BrokerRefusedError):
    """The broker keeps the change until a second person approves it: nothing has happened yet."""

    def __init__(self, approval: str) -> None:
        super().__init__(_HELD, f"the tenant wants a second person: the change waits as {approval} for an approval")
        self.approval = approval


class BrokerAccount(NamedTuple):
    """Which broker, and who we are there. ``base`` is an address without a path, such as ``https://broker:8080``."""

    base: str
    key: SigningKey
    now_s: Callable[[], int]
    token_id: Callable[[], str]
    authorities: bytes = b""


class Unchanged(NamedTuple):
    """What we have is what the broker offers. ``work``: it has something for us to do."""

    work: bool = False


class Downloaded(NamedTuple):
    """A snapshot, or what has changed in it, lies in the file. ``tag`` tells the broker what we have."""

    tag: str
    work: bool = False


def signed_request(
    account: BrokerAccount, method: str, target: str, body: bytes = b"", headers: tuple[tuple[str, str], ...] = ()
) -> Request:
    """Return a request that proves who we are. ``target`` is path and query."""
    target = urlsplit(account.base).path.rstrip("/") + target
    asking = Asking(method, target, body)
    token = sign_request(account.key, asking, now_s=account.now_s(), token_id=account.token_id())
    kind = (("Content-Type", "application/json"),) if body else ()
    parts = urlsplit(account.base)
    return Request(
        method,
        f"{parts.scheme}://{parts.netloc}{target}",
        (("Authorization", f"{SCHEME} {token}"), *kind, *headers),
        body,
        _CAP_BYTES,
        account.authorities,
        of_operator=True,
    )


def fetch_snapshot(
    account: BrokerAccount,
    segment: int,
    into: Path,
    *,
    since: int | None,
    tag: str,
    wait_s: int,
    within_s: float,
    cap_bytes: int = 1024**3,
    work: api.WorkKind = "kms",
) -> Flow[Downloaded | Unchanged]:
    """Get a segment's snapshot into a file: all, or what has changed since a version that we have.

    ``work`` is the kind that we can do and want to hear of.
    Units: ``wait_s`` is how long the broker may wait for something new, ``within_s`` and ``cap_bytes`` bound it all.
    Raises: BrokerRefusedError; UnreachableError; OSError.
    """
    query: dict[str, object] = {"segment": segment, "wait": wait_s, "kind": work}
    if since is not None:
        query["since"] = since
    headers = (("If-None-Match", f'"{tag}"'),) if tag else ()
    request = signed_request(account, "GET", f"{api.SNAPSHOT_PATH}?{urlencode(query)}", headers=headers)
    request = msgspec.structs.replace(request, cap_bytes=cap_bytes)
    response = yield from download(request, into, within_s)
    has_work = api.WORK_HEADER.lower() in response.headers
    if response.status == _UNCHANGED:
        return Unchanged(has_work)
    if response.status != _OK:
        raise _refused(response)
    return Downloaded(response.headers.get("etag", "").strip('"'), has_work)


def list_secrets(account: BrokerAccount, tenant: str) -> Flow[tuple[api.StoredSecret, ...]]:
    """Get all secrets of a tenant. Raises: BrokerRefusedError; UnreachableError."""
    target = f"{api.SECRETS_PATH}?tenant={quote(tenant, safe='')}"
    response = yield from send(signed_request(account, "GET", target))
    return _read(response, api.StoredSecrets).secrets


def create_secret(account: BrokerAccount, new: api.NewSecret) -> Flow[tuple[api.StoredSecret, ...]]:
    """Hand in a new secret and get all that there are: somebody else's may be the current one.

    Raises: BrokerRefusedError; UnreachableError.
    """
    response = yield from send(signed_request(account, "POST", api.SECRETS_PATH, msgspec.json.encode(new)))
    return _read(response, api.StoredSecrets).secrets


def reserve_number(account: BrokerAccount) -> Flow[int]:
    """Get a number for a new secret. Raises: BrokerRefusedError; UnreachableError."""
    response = yield from send(signed_request(account, "POST", api.NUMBERS_PATH))
    return _read(response, api.ReservedNumber).number


def borrow_renewals(account: BrokerAccount, segment: int) -> Flow[tuple[api.Renewal, ...]]:
    """Borrow some secrets that wait to be renewed. Raises: BrokerRefusedError; UnreachableError."""
    response = yield from send(signed_request(account, "POST", f"{api.RENEWALS_PATH}?segment={segment}"))
    return _read(response, api.Renewals).renewals


def renew_secret(account: BrokerAccount, secret: str, new: api.RenewedSecret) -> Flow[None]:
    """Hand in the same secret, wrapped or bound anew.

    Raises: BrokerRefusedError, with 409 when somebody was faster; UnreachableError.
    """
    yield from _tell(account, "PUT", f"{api.SECRETS_PATH}/{quote(secret, safe='')}", new)


def renewal_trouble(account: BrokerAccount, secret: str, trouble: api.RenewalTrouble) -> Flow[None]:
    """Say why a secret could not be renewed. Raises: BrokerRefusedError; UnreachableError."""
    yield from _tell(account, "POST", f"{api.SECRETS_PATH}/{quote(secret, safe='')}/trouble", trouble)


def _tell(account: BrokerAccount, method: str, target: str, body: msgspec.Struct) -> Flow[None]:
    response = yield from send(signed_request(account, method, target, msgspec.json.encode(body)))
    if response.status != _NOTHING:
        raise _refused(response)


def send_status(account: BrokerAccount, status: api.Status) -> Flow[None]:
    """Say how we are. Raises: BrokerRefusedError; UnreachableError."""
    yield from _tell(account, "POST", api.STATUS_PATH, status)


def ask(
    account: BrokerAccount,
    method: str,
    target: str,
    kind: type[A],
    *,
    body: msgspec.Struct | None = None,
    requestor: str = "",
) -> Flow[A]:
    """Ask any endpoint of the broker and read its answer as ``kind``; ``type(None)`` where there is none.

    ``target`` is path and query. ``requestor`` is for whom a bridge asks. Raises: BrokerRefusedError; UnreachableError.
    """
    headers = ((REQUESTOR_HEADER, requestor),) if requestor else ()
    encoded = b"" if body is None else msgspec.json.encode(body)
    response = yield from send(signed_request(account, method, target, encoded, headers))
    if response.status not in _GOOD:
        raise _refused(response)
    try:
        if response.status == _ACCEPTED and kind is type(None):
            raise HeldError(msgspec.json.decode(response.body, type=Waits).approval)
        return msgspec.json.decode(response.body or b"null", type=kind)
    except msgspec.DecodeError:
        raise BrokerRefusedError(response.status, "something that is not what it documents") from None


def download_vendors_snapshot(account: BrokerAccount, target: str, into: Path) -> Flow[None]:
    """Get a segment's whole snapshot into a file, as a vendor's admin.

    Raises: BrokerRefusedError; UnreachableError; OSError.
    """
    request = msgspec.structs.replace(signed_request(account, "GET", target), cap_bytes=_EXPORT_CAP_BYTES)
    response = yield from download(request, into, _EXPORT_S)
    if response.status != _OK:
        raise _refused(response)


def register_vendor(account: BrokerAccount, new: NewVendor, setup_token: str) -> Flow[None]:
    """Have a broker keep a vendor. Raises: BrokerRefusedError; UnreachableError."""
    headers = (("Authorization", f"Bearer {setup_token}"), ("Content-Type", "application/json"))
    request = Request(
        "POST",
        f"{account.base}/api/1/vendors",
        headers,
        msgspec.json.encode(new),
        _CAP_BYTES,
        account.authorities,
        of_operator=True,
    )
    response = yield from send(request)
    if response.status not in _GOOD:
        raise _refused(response)


def take_work(account: BrokerAccount, segment: int, kind: api.WorkKind) -> Flow[api.Work | None]:
    """Get something of a kind to do, if there is anything. Raises: BrokerRefusedError; UnreachableError."""
    response = yield from send(signed_request(account, "POST", f"{api.WORK_PATH}?segment={segment}&kind={kind}"))
    return _read(response, _Taken).work


def finish_work(account: BrokerAccount, work: str, done: api.WorkDone) -> Flow[None]:
    """Say what came of it. Raises: BrokerRefusedError; UnreachableError."""
    yield from _tell(account, "POST", f"{api.WORK_PATH}/{quote(work, safe='')}", done)


class _Taken(msgspec.Struct):
    work: api.Work | None = None


def _read(response: Response, kind: type[T]) -> T:
    if response.status != _OK:
        raise _refused(response)
    try:
        return msgspec.json.decode(response.body, type=kind)
    except msgspec.DecodeError:
        raise BrokerRefusedError(response.status, "something that is not what it documents") from None


class _Refusal(msgspec.Struct):
    message: str = ""


def _refused(response: Response) -> BrokerRefusedError:
    try:
        message = msgspec.json.decode(response.body, type=_Refusal).message
    except (msgspec.DecodeError, UnicodeDecodeError):
        message = ""
    printable = "".join(letter if letter.isprintable() else " " for letter in message[:500])
    return BrokerRefusedError(response.status, printable)
