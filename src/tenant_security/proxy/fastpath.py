"""The hot path: requests that need nobody but this process are answered in one go, synchronously, without a task.

Each method takes a body and returns the body of a success, or None for whatever it does not recognise: an error, a
lease that must be made or renewed first, an unleased key. Those take the way of ``api`` and ``operations``, which is
always right; this one is only faster, and must answer and record exactly the same where it answers.
"""

import binascii
from collections.abc import Callable
from typing import Final

import msgspec

from tenant_security.directory.refresher import DirectoryRefresher
from tenant_security.proxy.applications import Rates
from tenant_security.proxy.events import EventRecorder
from tenant_security.proxy.keys import new_leased_dek_base64
from tenant_security.proxy.leasing import Lease, LeaseBook
from tenant_security.proxy.tenant_secrets import TenantSecrets, derived
from tenant_security.wire import edek, events, proxy_api
from tenant_security.wire.proxy_api import (
    BASE_PATH,
    BatchUnwrapRequest,
    BatchUnwrapResponse,
    BatchWrapRequest,
    BatchWrapResponse,
    DeriveRequest,
    UnwrapRequest,
    UnwrapResponse,
    WrapRequest,
    WrapResponse,
)

Answer = Callable[[bytes, str], bytes | None]
"""A body and a ray id to the body of a success, or None."""

MOST_AT_ONCE: Final = 1_000
"""Keys that one request may make here: more would keep the event loop from others for too long (about 5 ms)."""

_MOST_FRAMES: Final = 10_000
_IV_FOLLOWS: Final = b'"\x0c'
"""The tag and the length of ``leasedKeyIv``."""
_NOT_READ: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_b64 = binascii.b2a_base64
_unb64 = binascii.a2b_base64


class FastPath:
    """Answers leased wraps and unwraps, alone and in batches, and derivations from cached secrets."""

    def __init__(
        self,
        refresher: DirectoryRefresher,
        leases: LeaseBook,
        secrets: TenantSecrets,
        recorder: EventRecorder,
        *,
        most_documents: int,
        rates: Rates | None = None,
    ) -> None:
        self._rates = rates
        self._frames: dict[bytes, tuple[int, bytes]] = {}
        self._most = min(most_documents, MOST_AT_ONCE)
        self._refresher = refresher
        self._leases = leases
        self._secrets = secrets
        self._recorder = recorder
        self._decode_wrap = msgspec.json.Decoder(WrapRequest).decode
        self._decode_unwrap = msgspec.json.Decoder(UnwrapRequest).decode
        self._decode_batch_wrap = msgspec.json.Decoder(BatchWrapRequest).decode
        self._decode_batch_unwrap = msgspec.json.Decoder(BatchUnwrapRequest).decode
        self._decode_derive = msgspec.json.Decoder(DeriveRequest).decode

    def answers(self, *, at_once: bool = True) -> dict[bytes, tuple[str, Answer]]:
        """Every hot endpoint: request target to its name and its answer; none where nothing can be answered at once."""
        if not at_once:
            return {}
        base = BASE_PATH.encode("ascii")
        return {
            base + b"document/wrap": ("document/wrap", self.wrap),
            base + b"document/unwrap": ("document/unwrap", self.unwrap),
            base + b"document/batch-wrap": ("document/batch-wrap", self.batch_wrap),
            base + b"document/batch-unwrap": ("document/batch-unwrap", self.batch_unwrap),
            base + b"key/derive-with-secret-path": ("key/derive-with-secret-path", self.derive),
        }

    def wrap(self, body: bytes, ray_id: str) -> bytes | None:
        """``document/wrap`` under a lease that is ready."""
        try:
            request = self._decode_wrap(body)
        except _NOT_READ:
            return None
        tenant = self._refresher.current.tenants.get(request.tenant_id)
        if tenant is None:
            return None
        lease = self._leases.pinned_to_wrap(tenant)
        if lease is None or self._is_limited(request.tenant_id):
            return None
        dek, wrapped = new_leased_dek_base64(lease)
        self._recorder.record(events.WRAP, request, ray_id, operation=lease.done)
        return proxy_api.wrap_body(dek, wrapped)

    def unwrap(self, body: bytes, ray_id: str) -> bytes | None:
        """``document/unwrap`` of an EDEK whose lease is in memory."""
        try:
            request = self._decode_unwrap(body)
            message = _unb64(request.encrypted_document_key, strict_mode=True)
        except (*_NOT_READ, ValueError):
            return None
        tenant = self._refresher.current.tenants.get(request.tenant_id)
        parts = self._parts(message)
        if tenant is None or parts is None:
            return None
        config_id, data, iv, wrapped = parts
        lease = self._leases.pinned_to_unwrap(tenant, config_id, wrapped)
        if lease is None:
            return None
        dek = lease.cipher.open(data, iv)
        if dek is None or self._is_limited(request.tenant_id):
            return None
        self._recorder.record(events.UNWRAP, request, ray_id, operation=lease.done)
        return proxy_api.unwrap_body(_b64(dek, newline=False))

    def _is_limited(self, tenant: str) -> bool:
        """Whether this tenant has asked often enough for now; the other way says so."""
        return self._rates is not None and self._rates.take(tenant) > 0

    def _parts(self, message: bytes) -> tuple[int, bytes, bytes, bytes] | None:
        """Read a leased EDEK, by what is the same in all EDEKs of a lease where that was read before.

        Where config and lease have ids of two bytes, everything but the ciphertext and the IV repeats, and it alone
        decides how an EDEK is read.
        """
        if message[59:61] != _IV_FOLLOWS:
            return edek.leased_parts(message)
        frame = message[:5] + message[53:61] + message[73:]
        known = self._frames.get(frame)
        if known is not None:
            return known[0], message[5:53], message[61:73], known[1]
        parts = edek.leased_parts(message)
        if parts is not None:
            if len(self._frames) >= _MOST_FRAMES:
                self._frames.clear()
            self._frames[frame] = parts.config_id, parts.wrapped_lease
        return parts

    def batch_wrap(self, body: bytes, ray_id: str) -> bytes | None:
        """``document/batch-wrap`` under a lease that is ready."""
        try:
            request = self._decode_batch_wrap(body)
        except _NOT_READ:
            return None
        tenant = self._refresher.current.tenants.get(request.tenant_id)
        ids = dict.fromkeys(request.document_ids)
        if tenant is None or not 0 < len(request.document_ids) <= self._most:
            return None
        lease = self._leases.pinned_to_wrap(tenant)
        if lease is None or lease.wraps_left < len(ids) or self._is_limited(request.tenant_id):
            return None
        keys = {}
        for each in ids:
            dek, wrapped = new_leased_dek_base64(lease)
            keys[each] = WrapResponse(dek.decode("ascii"), wrapped.decode("ascii"))
        self._record_batch(events.WRAP, request, ray_id, lease, list(ids))
        return proxy_api.encode(BatchWrapResponse(keys, {}))

    def batch_unwrap(self, body: bytes, ray_id: str) -> bytes | None:  # noqa: PLR0911 - each way out is a rule
        """``document/batch-unwrap`` of EDEKs that one lease in memory made; a mixed batch goes the other way."""
        try:
            request = self._decode_batch_unwrap(body)
        except _NOT_READ:
            return None
        tenant = self._refresher.current.tenants.get(request.tenant_id)
        if tenant is None or not 0 < len(request.edeks) <= self._most:
            return None
        keys = {}
        lease: Lease | None = None
        for each, text in request.by_id().items():
            try:
                parts = self._parts(_unb64(text, strict_mode=True))
            except ValueError:
                return None
            if parts is None:
                return None
            config_id, data, iv, wrapped = parts
            known = self._leases.pinned_to_unwrap(tenant, config_id, wrapped)
            if known is None or (lease is not None and known is not lease):
                return None
            lease = known
            dek = lease.cipher.open(data, iv)
            if dek is None:
                return None
            keys[each] = UnwrapResponse(edek.to_base64(dek))
        assert lease is not None
        if self._is_limited(request.tenant_id):
            return None
        self._record_batch(events.UNWRAP, request, ray_id, lease, list(keys))
        return proxy_api.encode(BatchUnwrapResponse(keys, {}))

    def _record_batch(
        self, name: str, request: proxy_api.RequestBody, ray_id: str, lease: Lease, ids: list[str]
    ) -> None:
        assert lease.done is not None
        done = msgspec.structs.replace(lease.done, count=len(ids), document_ids=ids)
        self._recorder.record(name, request, ray_id, operation=done)

    def derive(self, body: bytes, ray_id: str) -> bytes | None:
        """``key/derive-with-secret-path`` from secrets that are all in memory."""
        try:
            request = self._decode_derive(body)
        except _NOT_READ:
            return None
        tenant = self._refresher.current.tenants.get(request.tenant_id)
        if tenant is None:
            return None
        response = self._secrets.derive_cached(tenant, request, most=MOST_AT_ONCE)
        if response is None or self._is_limited(request.tenant_id):
            return None
        self._recorder.record(events.DERIVE, request, ray_id, operation=derived(tenant, request, response))
        return proxy_api.encode(response)
