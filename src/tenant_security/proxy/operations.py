"""What each endpoint promises: does it, records it for the tenant whatever the outcome, and returns the answer.

Recording is not a layer around these methods: each takes who asks (the request's ``iclFields``) and cannot answer
without having recorded. A new endpoint cannot forget its event.
"""

import asyncio
from typing import Final

import msgspec

from tenant_security.directory.tenants import Assignment, Tenant
from tenant_security.errors import Code, TenantSecurityError
from tenant_security.proxy.batch import check_size, for_each
from tenant_security.proxy.events import EventRecorder
from tenant_security.proxy.keys import Keys, UnwrappedDek, WrappedDek
from tenant_security.proxy.tenant_secrets import TenantSecrets, derived
from tenant_security.wire import edek, events, proxy_api
from tenant_security.wire.events import Operation
from tenant_security.wire.proxy_api import (
    BatchUnwrapRequest,
    BatchUnwrapResponse,
    BatchWrapRequest,
    BatchWrapResponse,
    DeriveRequest,
    RekeyRequest,
    ReportOperationsRequest,
    RequestBody,
    SecurityEventRequest,
    UnwrapRequest,
    UnwrapResponse,
    WrapRequest,
    WrapResponse,
    error_of,
)

_PAUSE_EVERY: Final = 500
"""After so many keys made without waiting the event loop gets a turn."""


class BatchLimits(msgspec.Struct, frozen=True):
    """Bounds of one batch. Units: documents; KMS calls of one request under way together."""

    most_documents: int = 10_000
    at_once: int = 32


class Operations:
    """The endpoints of ``/api/1/`` without HTTP. Every method returns the body of a success or raises a fault."""

    def __init__(self, keys: Keys, secrets: TenantSecrets, recorder: EventRecorder, limits: BatchLimits) -> None:
        self._keys = keys
        self._secrets = secrets
        self._recorder = recorder
        self._limits = limits

    async def wrap(self, request: WrapRequest, ray_id: str) -> bytes:
        """``document/wrap``."""
        try:
            wrapped = await self._keys.wrap(self._keys.tenant(request.tenant_id))
        except Exception as fault:
            self._failed(events.WRAP, request, ray_id, fault, about=self._keys.concerned(request.tenant_id))
            raise
        self._recorder.record(events.WRAP, request, ray_id, operation=_done(wrapped.assignment, leased=wrapped.leased))
        return _wrap_body(wrapped)

    async def unwrap(self, request: UnwrapRequest, ray_id: str) -> bytes:
        """``document/unwrap``."""
        try:
            tenant = self._keys.tenant(request.tenant_id)
            unwrapped = await self._keys.unwrap(tenant, request.encrypted_document_key)
        except Exception as fault:
            about = self._keys.concerned(request.tenant_id, request.encrypted_document_key)
            self._failed(events.UNWRAP, request, ray_id, fault, about=about)
            raise
        done = _done(unwrapped.assignment, leased=unwrapped.leased)
        self._recorder.record(events.UNWRAP, request, ray_id, operation=done)
        return proxy_api.unwrap_body(edek.to_base64(unwrapped.dek).encode("ascii"))

    async def rekey(self, request: RekeyRequest, ray_id: str) -> bytes:
        """``document/rekey``: the same DEK, from the one tenant's KMS to the other's."""
        try:
            tenant = self._keys.tenant(request.tenant_id)
            unwrapped = await self._keys.unwrap(tenant, request.encrypted_document_key)
            wrapped = await self._keys.wrap(self._keys.tenant(request.new_tenant_id), unwrapped.dek)
        except Exception as fault:
            about = self._keys.concerned(request.tenant_id, request.encrypted_document_key)
            self._failed(events.REKEY, request, ray_id, fault, about=about, new_tenant_id=request.new_tenant_id)
            raise
        done = _done(unwrapped.assignment, leased=unwrapped.leased, new_tenant_id=request.new_tenant_id)
        self._recorder.record(events.REKEY, request, ray_id, operation=done)
        if request.new_tenant_id != request.tenant_id:
            arrived = _done(wrapped.assignment, leased=wrapped.leased, previous_tenant_id=request.tenant_id)
            self._recorder.record(events.REKEY, request, ray_id, tenant_id=request.new_tenant_id, operation=arrived)
        return _wrap_body(wrapped)

    async def batch_wrap(self, request: BatchWrapRequest, ray_id: str) -> bytes:
        """``document/batch-wrap``: repeated ids collapse to one."""
        try:
            check_size(len(request.document_ids), self._limits.most_documents, "documentIds")
            ids = dict.fromkeys(request.document_ids)
            tenant = self._keys.tenant(request.tenant_id)
            primary = self._keys.primary(tenant)
            if primary.leasing:
                outcomes = await self._wrap_leased(tenant, ids)
            else:
                outcomes = await for_each(ids, lambda _id: self._keys.wrap(tenant), at_once=self._limits.at_once)
        except Exception as fault:
            about = self._keys.concerned(request.tenant_id)
            self._failed(events.WRAP, request, ray_id, fault, about=about, count=len(set(request.document_ids)))
            raise
        self._record_batch(events.WRAP, request, ray_id, outcomes)
        keys = {each: _wrap_response(made) for each, made in outcomes.items() if isinstance(made, WrappedDek)}
        return proxy_api.encode(BatchWrapResponse(keys, _failures(outcomes)))

    async def _wrap_leased(self, tenant: Tenant, ids: dict[str, None]) -> dict[str, WrappedDek | TenantSecurityError]:
        """Wrap one after the other: after the first only the lease's end can make one wait for the KMS."""
        outcomes: dict[str, WrappedDek | TenantSecurityError] = {}
        failed: TenantSecurityError | None = None
        for count, each in enumerate(ids, start=1):
            if failed is None:
                try:
                    outcomes[each] = await self._keys.wrap(tenant)
                except TenantSecurityError as fault:
                    failed = fault
            if failed is not None:
                outcomes[each] = failed
            if count % _PAUSE_EVERY == 0:
                await asyncio.sleep(0)
        return outcomes

    async def batch_unwrap(self, request: BatchUnwrapRequest, ray_id: str) -> bytes:
        """``document/batch-unwrap``."""
        try:
            check_size(len(request.edeks), self._limits.most_documents, "edeks")
            edeks = request.by_id()
            tenant = self._keys.tenant(request.tenant_id)
            outcomes = await for_each(
                edeks, lambda each: self._keys.unwrap(tenant, edeks[each]), at_once=self._limits.at_once
            )
        except Exception as fault:
            self._failed(events.UNWRAP, request, ray_id, fault, count=len(request.edeks))
            raise
        self._record_batch(events.UNWRAP, request, ray_id, outcomes)
        keys = {
            each: UnwrapResponse(edek.to_base64(made.dek))
            for each, made in outcomes.items()
            if isinstance(made, UnwrappedDek)
        }
        return proxy_api.encode(BatchUnwrapResponse(keys, _failures(outcomes)))

    async def derive(self, request: DeriveRequest, ray_id: str) -> bytes:
        """``key/derive-with-secret-path``."""
        secret_paths = list(request.paths)
        try:
            self._secrets.check(request)
            tenant = self._keys.tenant(request.tenant_id)
            response = await self._secrets.derive(tenant, request)
        except Exception as fault:
            about = self._keys.concerned(request.tenant_id)
            self._failed(events.DERIVE, request, ray_id, fault, about=about, secret_paths=secret_paths)
            raise
        self._recorder.record(events.DERIVE, request, ray_id, operation=derived(tenant, request, response))
        return proxy_api.encode(response)

    async def security_event(self, request: SecurityEventRequest, ray_id: str) -> bytes:
        """``event/security-event``: succeeds for unknown tenants too, the event is only queued."""
        name = request.name
        if not name:
            raise TenantSecurityError(
                Code.INVALID_REQUEST_BODY, "The event's name is missing: set iclFields.event, or event beside it"
            )
        if not self._recorder.record(name, request, ray_id, time_ms=request.timestamp_millis):
            raise TenantSecurityError(
                Code.SECURITY_EVENT_REJECTED,
                "The event could not be queued: the outbox is full because no logdriver takes events from it",
                retry_after_s=1,
            )
        return proxy_api.NULL

    async def report_operations(self, request: ReportOperationsRequest, ray_id: str) -> bytes:
        """``document/report-operations``: how often the application used DEKs that it cached; nothing is unwrapped."""
        check_size(len(request.operations), self._limits.most_documents, "operations")
        for text, counts in request.operations.items():
            operation = Operation(
                outcome=events.SUCCESS,
                count=counts.wraps + counts.unwraps,
                kms_config_id=_config_id(text),
                wraps=counts.wraps,
                unwraps=counts.unwraps,
            )
            self._recorder.record(events.REPORT, request, ray_id, operation=operation)
        return proxy_api.NULL

    def _record_batch(
        self,
        name: str,
        request: RequestBody,
        ray_id: str,
        outcomes: dict[str, WrappedDek | TenantSecurityError] | dict[str, UnwrappedDek | TenantSecurityError],
    ) -> None:
        """One event for each outcome that occurs in the batch, naming the documents that it happened to."""
        groups: dict[tuple[int, int, bool, int | None], tuple[Assignment | None, list[str]]] = {}
        for each, made in outcomes.items():
            if isinstance(made, TenantSecurityError):
                groups.setdefault((0, 0, False, int(made.code)), (None, []))[1].append(each)
            else:
                config = made.assignment.config
                groups.setdefault((config.id, config.version, made.leased, None), (made.assignment, []))[1].append(each)
        for (_, _, leased, code), (assignment, ids) in groups.items():
            if assignment is not None:
                operation = _done(assignment, leased=leased, document_ids=ids)
            else:
                about = self._keys.concerned(request.tenant_id) if name == events.WRAP else None
                operation = Operation(
                    outcome=events.FAILURE,
                    count=len(ids),
                    code=code,
                    kms_config_id=about.config.id if about is not None else None,
                    kms_config_version=about.config.version if about is not None else None,
                    document_ids=ids,
                )
            self._recorder.record(name, request, ray_id, operation=operation)

    def _failed(
        self,
        name: str,
        request: RequestBody,
        ray_id: str,
        fault: Exception,
        *,
        about: Assignment | None = None,
        count: int = 1,
        new_tenant_id: str | None = None,
        secret_paths: list[str] | None = None,
    ) -> None:
        code = fault.code if isinstance(fault, TenantSecurityError) else Code.UNKNOWN_ERROR
        operation = Operation(
            outcome=events.FAILURE,
            count=count,
            code=int(code),
            kms_config_id=about.config.id if about is not None else None,
            kms_config_version=about.config.version if about is not None else None,
            new_tenant_id=new_tenant_id,
            secret_paths=secret_paths,
        )
        self._recorder.record(name, request, ray_id, operation=operation)


def _done(
    assignment: Assignment,
    *,
    leased: bool,
    document_ids: list[str] | None = None,
    new_tenant_id: str | None = None,
    previous_tenant_id: str | None = None,
) -> Operation:
    return Operation(
        outcome=events.SUCCESS,
        count=1 if document_ids is None else len(document_ids),
        kms_config_id=assignment.config.id,
        kms_config_version=assignment.config.version,
        leased=leased,
        document_ids=document_ids,
        new_tenant_id=new_tenant_id,
        previous_tenant_id=previous_tenant_id,
    )


def _wrap_body(wrapped: WrappedDek) -> bytes:
    dek, wrapped_dek = edek.to_base64(wrapped.dek), edek.to_base64(wrapped.edek)
    return proxy_api.wrap_body(dek.encode("ascii"), wrapped_dek.encode("ascii"))


def _wrap_response(wrapped: WrappedDek) -> WrapResponse:
    return WrapResponse(edek.to_base64(wrapped.dek), edek.to_base64(wrapped.edek))


def _failures(
    outcomes: dict[str, WrappedDek | TenantSecurityError] | dict[str, UnwrappedDek | TenantSecurityError],
) -> dict[str, proxy_api.ErrorResponse]:
    return {each: error_of(made) for each, made in outcomes.items() if isinstance(made, TenantSecurityError)}


def _config_id(edek_base64: str) -> int | None:
    try:
        return edek.decode_base64(edek_base64).config_id
    except TenantSecurityError:
        return None
