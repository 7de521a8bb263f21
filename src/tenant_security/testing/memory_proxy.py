"""A Tenant Security Proxy in memory: for an application's own tests, without network, processes or a KMS.

It answers what the client sends as the real one does, with real EDEKs and real keys; a test of ours runs the same
operations against both. Needs the base install only.
"""

import hashlib
import hmac
import threading
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tenant_security.client import AsyncTenantSecurityClient, TenantSecurityClient
from tenant_security.crypto.aead import IV_BYTES, KEY_BYTES, random_bytes
from tenant_security.crypto.derive import derive_key
from tenant_security.errors import FAULTS, Code, TenantSecurityError
from tenant_security.outbound.flow import Flow, Reason, Request, Response, UnreachableError
from tenant_security.outbound.sync_driver import SyncLimits, SyncOutbound
from tenant_security.secret import Secret
from tenant_security.wire import edek
from tenant_security.wire import proxy_api as api

T = TypeVar("T")

URL: Final = "https://memory.invalid"
API_KEY: Final = "bWVtb3J5IHByb3h5"
_MAGIC: Final = b"MP"
_UNKNOWN: Final = "No configurations available for the provided tenant"
_NO_PRIMARY: Final = "The tenant has no primary KMS configuration"


class Call(NamedTuple):
    """One request that arrived. ``keys`` is how many keys it asked for."""

    operation: str
    tenant_id: str
    requesting_id: str
    keys: int


class ReportedEvent(NamedTuple):
    """A security event that the application reported."""

    name: str
    tenant_id: str
    fields: api.IclFields
    custom_fields: dict[str, str]
    at_ms: int | None


class MemoryProxy:
    """Thread-safe. Every tenant exists unless ``tenants`` names those that do.

    ``calls`` and ``events`` are what has arrived. With the same ``key`` (32 bytes) EDEKs of one run can be read in
    another, such as those in fixtures of a test suite.
    """

    def __init__(self, tenants: Iterable[str] | None = None, key: bytes | None = None) -> None:
        master = key or random_bytes(KEY_BYTES)
        self._master = Secret(master)
        self._gcm = AESGCM(master)
        self._tenants = None if tenants is None else set(tenants)
        self._removed: set[str] = set()
        self._without_primary: set[str] = set()
        self._refused: dict[str, Code] = {}
        self._failing: list[Code | Reason] = []
        self._rotated: dict[tuple[str, str], tuple[int, bool]] = {}
        self._lock = threading.Lock()
        self.calls: list[Call] = []
        self.events: list[ReportedEvent] = []
        self.pauses: list[float] = []

    def client(self, **options: Any) -> TenantSecurityClient:
        """A client of this proxy. ``options`` are the client's own."""
        return TenantSecurityClient(URL, API_KEY, driver=_MemoryDriver(self), **options)

    def async_client(self, **options: Any) -> AsyncTenantSecurityClient:
        """An asynchronous client of this proxy."""
        return AsyncTenantSecurityClient(URL, API_KEY, driver=_AsyncMemoryDriver(self), **options)

    def remove_tenant(self, tenant_id: str) -> None:
        """From now on nobody knows this tenant: code 201."""
        self._removed.add(tenant_id)

    def withdraw_primary(self, tenant_id: str) -> None:
        """From now on nothing new is wrapped for this tenant: code 200. What there is can be unwrapped."""
        self._without_primary.add(tenant_id)

    def refuse(self, tenant_id: str, code: Code = Code.KMS_AUTHORIZATION_FAILED) -> None:
        """From now on this tenant's KMS says no, such as when the tenant has taken its permission back."""
        self._refused[tenant_id] = code

    def restore(self, tenant_id: str) -> None:
        """Undo whatever was done to this tenant."""
        self._removed.discard(tenant_id)
        self._without_primary.discard(tenant_id)
        self._refused.pop(tenant_id, None)

    def fail_next(self, *faults: Code | Reason) -> None:
        """The next requests fail like this, one after the other, whoever sends them."""
        self._failing += faults

    def begin_rotation(self, tenant_id: str, secret_path: str) -> None:
        """Make a new current secret; the old one still decrypts and is searched for."""
        generation, _ = self._rotated.get((tenant_id, secret_path), (0, False))
        self._rotated[tenant_id, secret_path] = (generation + 1, True)

    def end_rotation(self, tenant_id: str, secret_path: str) -> None:
        """Let the old secret go."""
        generation, _ = self._rotated[tenant_id, secret_path]
        self._rotated[tenant_id, secret_path] = (generation, False)

    def answer(self, request: Request) -> Response | UnreachableError:
        """Answer a request as the proxy would."""
        with self._lock:
            if self._failing:
                fault = self._failing.pop(0)
                if isinstance(fault, Reason):
                    return UnreachableError(fault)
                return _refusal(TenantSecurityError(fault, "The test asked for this fault"))
            try:
                return Response(200, {}, self._serve(request))
            except TenantSecurityError as fault:
                return _refusal(fault)

    def _serve(self, request: Request) -> bytes:
        if ("Authorization", f"cmk {API_KEY}") not in request.headers:
            raise TenantSecurityError(Code.UNAUTHORIZED_REQUEST, "The API key is wrong")
        path = request.url.removeprefix(URL + api.BASE_PATH)
        if path not in _ROUTES:
            raise TenantSecurityError(Code.UNKNOWN_ERROR, "There is no such endpoint", http_status=404)
        decoder, serve = _ROUTES[path]
        body = api.decode(decoder, request.body)
        self.calls.append(Call(path, body.tenant_id, body.icl_fields.requesting_id, _count(body)))
        return serve(self, body)

    def _known(self, tenant_id: str) -> None:
        if tenant_id in self._removed or (self._tenants is not None and tenant_id not in self._tenants):
            raise TenantSecurityError(Code.UNKNOWN_TENANT_OR_NO_ACTIVE_KMS_CONFIGURATIONS, _UNKNOWN)

    def _asked_kms(self, tenant_id: str) -> None:
        if tenant_id in self._refused:
            raise TenantSecurityError(self._refused[tenant_id], "The tenant's KMS said no")

    def _new(self, tenant_id: str) -> api.WrapResponse:
        self._asked_kms(tenant_id)
        return self._wrapped(random_bytes(edek.DEK_BYTES), tenant_id)

    def _wrapped(self, dek: bytes, tenant_id: str) -> api.WrapResponse:
        iv = random_bytes(IV_BYTES)
        blob = _MAGIC + iv + self._gcm.encrypt(iv, dek, tenant_id.encode())
        entry = edek.EncryptedDek(blob, _config_of(tenant_id))
        return api.WrapResponse(edek.to_base64(dek), edek.encode_base64(entry))

    def _opened(self, wrapped: str, tenant_id: str) -> bytes:
        entry = edek.decode_base64(wrapped)
        if entry.config_id != _config_of(tenant_id):
            raise TenantSecurityError(
                Code.KMS_CONFIGURATION_DISABLED, f"KMS configuration {entry.config_id} is not assigned to tenant"
            )
        self._asked_kms(tenant_id)
        iv, sealed = entry.data[len(_MAGIC) :][:IV_BYTES], entry.data[len(_MAGIC) + IV_BYTES :]
        try:
            return self._gcm.decrypt(iv, sealed, tenant_id.encode())
        except (InvalidTag, ValueError):
            raise TenantSecurityError(Code.KMS_UNWRAP_FAILED, "The KMS could not unwrap the key") from None

    def _with_primary(self, tenant_id: str) -> None:
        self._known(tenant_id)
        if tenant_id in self._without_primary:
            raise TenantSecurityError(Code.NO_PRIMARY_KMS_CONFIGURATION, _NO_PRIMARY)

    def _wrap(self, body: api.WrapRequest) -> bytes:
        self._with_primary(body.tenant_id)
        return api.encode(self._new(body.tenant_id))

    def _unwrap(self, body: api.UnwrapRequest) -> bytes:
        self._known(body.tenant_id)
        dek = self._opened(body.encrypted_document_key, body.tenant_id)
        return api.encode(api.UnwrapResponse(edek.to_base64(dek)))

    def _batch_wrap(self, body: api.BatchWrapRequest) -> bytes:
        self._with_primary(body.tenant_id)
        keys, failures = _each(dict.fromkeys(body.document_ids), lambda _: self._new(body.tenant_id))
        return api.encode(api.BatchWrapResponse(keys, failures))

    def _batch_unwrap(self, body: api.BatchUnwrapRequest) -> bytes:
        self._known(body.tenant_id)

        def unwrap(wrapped: str) -> api.UnwrapResponse:
            return api.UnwrapResponse(edek.to_base64(self._opened(wrapped, body.tenant_id)))

        keys, failures = _each(body.by_id(), unwrap)
        return api.encode(api.BatchUnwrapResponse(keys, failures))

    def _rekey(self, body: api.RekeyRequest) -> bytes:
        self._known(body.tenant_id)
        dek = self._opened(body.encrypted_document_key, body.tenant_id)
        self._with_primary(body.new_tenant_id)
        self._asked_kms(body.new_tenant_id)
        return api.encode(self._wrapped(dek, body.new_tenant_id))

    def _derive(self, body: api.DeriveRequest) -> bytes:
        self._known(body.tenant_id)
        self._asked_kms(body.tenant_id)
        derived = {
            path: {each: self._derived(body.tenant_id, path, each) for each in derivations}
            for path, derivations in body.paths.items()
        }
        return api.encode(api.DeriveResponse(body.tenant_id not in self._without_primary, derived))

    def _derived(self, tenant_id: str, secret_path: str, derivation_path: str) -> list[api.DerivedKey]:
        newest, rotating = self._rotated.get((tenant_id, secret_path), (0, False))
        keys = []
        for generation in (newest, newest - 1) if rotating else (newest,):
            name = msgspec.json.encode([tenant_id, secret_path, generation])
            secret = hmac.digest(self._master.reveal(), name, hashlib.sha256)
            number = int.from_bytes(hashlib.sha256(name).digest()[:4]) | 1
            key = derive_key(secret, tenant_id, derivation_path, "sha512")
            keys.append(api.DerivedKey(edek.to_base64(key), number, current=generation == newest))
        return keys

    def _event(self, body: api.SecurityEventRequest) -> bytes:
        if not body.name:
            raise TenantSecurityError(Code.INVALID_REQUEST_BODY, "The event has no name")
        event = ReportedEvent(
            body.name, body.tenant_id, body.icl_fields, body.custom_fields or {}, body.timestamp_millis
        )
        self.events.append(event)
        return api.NULL

    def _report(self, _body: api.ReportOperationsRequest) -> bytes:
        return api.NULL


_ROUTES: Final[dict[str, tuple[msgspec.json.Decoder[Any], Callable[[MemoryProxy, Any], bytes]]]] = {
    "document/wrap": (api.decoder(api.WrapRequest), MemoryProxy._wrap),  # noqa: SLF001 - its own table
    "document/unwrap": (api.decoder(api.UnwrapRequest), MemoryProxy._unwrap),  # noqa: SLF001
    "document/batch-wrap": (api.decoder(api.BatchWrapRequest), MemoryProxy._batch_wrap),  # noqa: SLF001
    "document/batch-unwrap": (api.decoder(api.BatchUnwrapRequest), MemoryProxy._batch_unwrap),  # noqa: SLF001
    "document/rekey": (api.decoder(api.RekeyRequest), MemoryProxy._rekey),  # noqa: SLF001
    "document/report-operations": (api.decoder(api.ReportOperationsRequest), MemoryProxy._report),  # noqa: SLF001
    "key/derive-with-secret-path": (api.decoder(api.DeriveRequest), MemoryProxy._derive),  # noqa: SLF001
    "event/security-event": (api.decoder(api.SecurityEventRequest), MemoryProxy._event),  # noqa: SLF001
}


class _MemoryDriver(SyncOutbound):
    """Runs flows against a proxy in memory; it waits for nothing."""

    def __init__(self, proxy: MemoryProxy) -> None:
        super().__init__(SyncLimits(), sleep=proxy.pauses.append)
        self._proxy = proxy

    def exchange(self, request: Request, within_s: float) -> Response | UnreachableError:
        return UnreachableError(Reason.TIMEOUT) if within_s <= 0 else self._proxy.answer(request)


class _AsyncMemoryDriver:
    """The same for the asynchronous client."""

    def __init__(self, proxy: MemoryProxy) -> None:
        self._driver = _MemoryDriver(proxy)

    async def run(self, flow: Flow[T], *, deadline_s: float) -> T:
        return self._driver.run(flow, deadline_s=deadline_s)

    async def __aenter__(self) -> object:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._driver.close()


def _each(items: Mapping[str, T], serve: Callable[[T], Any]) -> tuple[dict[str, Any], dict[str, api.ErrorResponse]]:
    keys: dict[str, Any] = {}
    failures: dict[str, api.ErrorResponse] = {}
    for each, item in items.items():
        try:
            keys[each] = serve(item)
        except TenantSecurityError as fault:
            failures[each] = api.error_of(fault)
    return keys, failures


def _count(body: api.RequestBody) -> int:
    match body:
        case api.BatchWrapRequest():
            return len(body.document_ids)
        case api.BatchUnwrapRequest():
            return len(body.edeks)
        case api.DeriveRequest():
            return sum(map(len, body.paths.values()))
        case api.SecurityEventRequest() | api.ReportOperationsRequest():
            return 0
        case _:
            return 1


def _config_of(tenant_id: str) -> int:
    """A tenant's one KMS config: always the same number, from 1 to 2^24."""
    return 1 + int.from_bytes(hashlib.sha256(tenant_id.encode()).digest()[:3])


def _refusal(fault: TenantSecurityError) -> Response:
    status = fault.http_status or FAULTS[fault.code].http_status
    return Response(status, {}, api.encode(api.error_of(fault)))
