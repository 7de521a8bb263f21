"""The keys that the proxy gives: every endpoint as one flow."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, NamedTuple, TypedDict, TypeVar

import msgspec

from tenant_security.client.connection import Connection
from tenant_security.client.errors import ClientError, error_of
from tenant_security.client.metadata import Metadata
from tenant_security.errors import Code
from tenant_security.outbound.flow import Flow
from tenant_security.wire import proxy_api as api

T = TypeVar("T")

_DEK_BYTES: Final = 32

Dek = Annotated[bytearray, msgspec.Meta(min_length=_DEK_BYTES, max_length=_DEK_BYTES)]
"""Read from base64 straight into memory that can be overwritten."""
Edek = Annotated[str, msgspec.Meta(min_length=1)]


class WrappedKey(msgspec.Struct, frozen=True, gc=False):
    """A DEK, and the same wrapped."""

    dek: Dek
    edek: Edek

    def __repr__(self) -> str:
        return "<WrappedKey>"


class UnwrappedKey(msgspec.Struct, frozen=True, gc=False):
    """A DEK."""

    dek: Dek

    def __repr__(self) -> str:
        return "<UnwrappedKey>"


class _WrappedKeys(msgspec.Struct, frozen=True):
    keys: dict[str, WrappedKey]
    failures: dict[str, api.ErrorResponse]


class _UnwrappedKeys(msgspec.Struct, frozen=True):
    keys: dict[str, UnwrappedKey]
    failures: dict[str, api.ErrorResponse]


class FieldKey(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A key for deterministic fields, derived from one tenant secret."""

    derived_key: bytearray
    tenant_secret_id: Annotated[int, msgspec.Meta(ge=1, lt=2**32)]
    current: bool

    def __repr__(self) -> str:
        return f"<FieldKey {self.tenant_secret_id}>"


class FieldKeys(msgspec.Struct, frozen=True, rename="camel"):
    """Keys by secret path and derivation path, the current secret's first."""

    has_primary_config: bool
    derived_keys: dict[str, dict[str, list[FieldKey]]]


class Uses(NamedTuple):
    """How often a cached key was used."""

    encrypted: int
    decrypted: int


class Keys:
    """Asks the proxy for keys."""

    def __init__(self, connection: Connection) -> None:
        self._ask = connection.ask

    def wrap(self, metadata: Metadata) -> Flow[WrappedKey]:
        """Get a new DEK and the same wrapped."""
        body = api.WrapRequest(**_said(metadata))
        return (yield from self._ask("document/wrap", body, WrappedKey))

    def unwrap(self, edek: str, metadata: Metadata) -> Flow[UnwrappedKey]:
        """Get the DEK of an EDEK."""
        body = api.UnwrapRequest(**_said(metadata), encrypted_document_key=edek)
        return (yield from self._ask("document/unwrap", body, UnwrappedKey))

    def batch_wrap(self, ids: Sequence[str], metadata: Metadata) -> Flow[dict[str, WrappedKey | ClientError]]:
        """Get a new DEK for every id."""
        body = api.BatchWrapRequest(**_said(metadata), document_ids=list(ids))
        answer = yield from self._ask("document/batch-wrap", body, _WrappedKeys)
        return {each: _outcome(each, answer.keys, answer.failures) for each in ids}

    def batch_unwrap(self, edeks: Mapping[str, str], metadata: Metadata) -> Flow[dict[str, UnwrappedKey | ClientError]]:
        """Get the DEK of every EDEK."""
        body = api.BatchUnwrapRequest(**_said(metadata), edeks=dict(edeks))
        answer = yield from self._ask("document/batch-unwrap", body, _UnwrappedKeys)
        return {each: _outcome(each, answer.keys, answer.failures) for each in edeks}

    def rekey(self, edek: str, new_tenant_id: str, metadata: Metadata) -> Flow[WrappedKey]:
        """Have the same DEK wrapped for ``new_tenant_id``, which may be the same tenant."""
        body = api.RekeyRequest(**_said(metadata), encrypted_document_key=edek, new_tenant_id=new_tenant_id)
        return (yield from self._ask("document/rekey", body, WrappedKey))

    def derive(self, paths: Mapping[str, Sequence[str]], metadata: Metadata) -> Flow[FieldKeys]:
        """Get the keys for deterministic fields at these secret paths and derivation paths."""
        body = api.DeriveRequest(
            **_said(metadata),
            paths={path: sorted(set(derivations)) for path, derivations in paths.items()},
            derivation_type="sha512",
            secret_type="deterministic",  # noqa: S106 - the type's name
        )
        return (yield from self._ask("key/derive-with-secret-path", body, FieldKeys))

    def report_event(self, name: str, at_ms: int, metadata: Metadata) -> Flow[None]:
        """Report a security event. It is not repeated once it may have been taken."""
        body = api.SecurityEventRequest(
            tenant_id=metadata.tenant_id,
            icl_fields=metadata.icl_fields(name),
            custom_fields=dict(metadata.custom_fields),
            timestamp_millis=at_ms,
        )
        yield from self._ask("event/security-event", body, msgspec.Raw, repeatable=False)

    def report_operations(self, uses: Mapping[str, Uses], metadata: Metadata) -> Flow[None]:
        """Tell how often cached keys were used, by EDEK."""
        counts = {edek: api.OperationCounts(each.encrypted, each.decrypted) for edek, each in uses.items()}
        body = api.ReportOperationsRequest(**_said(metadata), operations=counts)
        yield from self._ask("document/report-operations", body, msgspec.Raw, repeatable=False)


class _Said(TypedDict):
    tenant_id: str
    icl_fields: api.IclFields
    custom_fields: dict[str, str]


def _said(metadata: Metadata) -> _Said:
    return {
        "tenant_id": metadata.tenant_id,
        "icl_fields": metadata.icl_fields(),
        "custom_fields": dict(metadata.custom_fields),
    }


def _outcome(each: str, keys: Mapping[str, T], failures: Mapping[str, api.ErrorResponse]) -> T | ClientError:
    failure = failures.get(each)
    if failure is not None:
        return error_of(failure.code, failure.message)
    key = keys.get(each)
    if key is None:
        return error_of(Code.UNKNOWN_ERROR, "The proxy's answer says nothing of this document")
    return key
