"""Deterministic fields: encrypt, decrypt, rotate, and the values to search for.

A field's key comes from a secret of the tenant's (``secret_path`` says which) and from the field's own name
(``derivation_path``). While a secret is being rotated there are two: the current one encrypts, both decrypt and are
searched for.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeVar

import msgspec

from tenant_security.client.documents import BatchResult
from tenant_security.client.errors import ClientCode, ClientError, document_error
from tenant_security.client.keys import FieldKey, FieldKeys, Keys
from tenant_security.client.metadata import Metadata
from tenant_security.crypto.deterministic import (
    KEY_BYTES,
    FieldForm,
    MalformedFieldError,
    open_field,
    seal_field,
    secret_id_of,
)
from tenant_security.errors import Fixer
from tenant_security.outbound.flow import Flow

T = TypeVar("T")

_NO_PRIMARY: Final = "The tenant has no primary KMS configuration, so nothing can be encrypted for it"


class Field(msgspec.Struct, frozen=True):
    """A value and where its key comes from: ``secret_path`` and ``derivation_path``, the same at every use of it."""

    value: bytes
    secret_path: str
    derivation_path: str

    def __repr__(self) -> str:
        return f"<Field {self.secret_path!r}, {self.derivation_path!r}>"


class EncryptedField(msgspec.Struct, frozen=True):
    """A deterministic field as it is stored, and where its key comes from."""

    ciphertext: bytes
    secret_path: str
    derivation_path: str


class _Opened(NamedTuple):
    value: bytes
    is_current: bool
    """Whether encrypting the value again would give the same bytes."""


class DeterministicFields:
    """Flows over fields in one form."""

    def __init__(self, keys: Keys, form: FieldForm) -> None:
        self._keys = keys
        self._form = form

    def encrypt(self, field: Field, metadata: Metadata) -> Flow[EncryptedField]:
        """Encrypt a field."""
        return (yield from self.encrypt_batch({"": field}, metadata)).all_or_raise()[""]

    def decrypt(self, field: EncryptedField, metadata: Metadata) -> Flow[Field]:
        """Decrypt a field of either form."""
        return (yield from self.decrypt_batch({"": field}, metadata)).all_or_raise()[""]

    def rotate(self, field: EncryptedField, metadata: Metadata) -> Flow[EncryptedField]:
        """Encrypt a field anew under the current secret; one that already is comes back as it is."""
        return (yield from self.rotate_batch({"": field}, metadata)).all_or_raise()[""]

    def search_terms(self, field: Field, metadata: Metadata) -> Flow[list[bytes]]:
        """Return every ciphertext that a stored field with this value may have."""
        return (yield from self.search_terms_batch({"": field}, metadata)).all_or_raise()[""]

    def encrypt_batch(self, fields: Mapping[str, Field], metadata: Metadata) -> Flow[BatchResult[EncryptedField]]:
        """Encrypt many fields."""
        code = ClientCode.DETERMINISTIC_FIELD_ENCRYPT_FAILED
        keys = yield from self._derived(fields, metadata)

        def encrypt(field: Field) -> EncryptedField:
            return self._encrypt(field, _encrypting_key(keys, field, code))

        return _each(fields, encrypt, keys)

    def decrypt_batch(self, fields: Mapping[str, EncryptedField], metadata: Metadata) -> Flow[BatchResult[Field]]:
        """Decrypt many fields of either form."""
        keys = yield from self._derived(fields, metadata)
        code = ClientCode.DETERMINISTIC_FIELD_DECRYPT_FAILED

        def decrypt(field: EncryptedField) -> Field:
            return Field(self._open(field, keys, code).value, field.secret_path, field.derivation_path)

        return _each(fields, decrypt, keys)

    def rotate_batch(
        self, fields: Mapping[str, EncryptedField], metadata: Metadata
    ) -> Flow[BatchResult[EncryptedField]]:
        """Rotate many fields. A field of the other form is written anew in this one."""
        keys = yield from self._derived(fields, metadata)
        code = ClientCode.DETERMINISTIC_ROTATE_FAILED

        def rotate(field: EncryptedField) -> EncryptedField:
            key = _encrypting_key(keys, field, code)
            opened = self._open(field, keys, code)
            if opened.is_current:
                return field
            return self._encrypt(Field(opened.value, field.secret_path, field.derivation_path), key)

        return _each(fields, rotate, keys)

    def search_terms_batch(self, fields: Mapping[str, Field], metadata: Metadata) -> Flow[BatchResult[list[bytes]]]:
        """Return the search terms of many fields."""
        keys = yield from self._derived(fields, metadata)
        code = ClientCode.DETERMINISTIC_GENERATE_SEARCH_TERMS_FAILED

        def terms(field: Field) -> list[bytes]:
            return [self._encrypt(field, key).ciphertext for key in _keys_of(keys, field, code)]

        return _each(fields, terms, keys)

    def _derived(
        self, fields: Mapping[str, Field] | Mapping[str, EncryptedField], metadata: Metadata
    ) -> Flow[FieldKeys]:
        if not fields:
            return FieldKeys(has_primary_config=True, derived_keys={})
        paths: dict[str, list[str]] = {}
        for field in fields.values():
            paths.setdefault(field.secret_path, []).append(field.derivation_path)
        return (yield from self._keys.derive(paths, metadata))

    def _encrypt(self, field: Field, key: FieldKey) -> EncryptedField:
        sealed = seal_field(key.derived_key, key.tenant_secret_id, field.value, self._form)
        return EncryptedField(sealed, field.secret_path, field.derivation_path)

    def _open(self, field: EncryptedField, keys: FieldKeys, code: ClientCode) -> _Opened:
        try:
            number = secret_id_of(field.ciphertext)
        except MalformedFieldError as wrong:
            raise document_error(ClientCode.DETERMINISTIC_HEADER_ERROR, f"Cannot read the field: {wrong}") from None
        key = next((each for each in _keys_of(keys, field, code) if each.tenant_secret_id == number), None)
        if key is None:
            raise document_error(
                code,
                f"Cannot decrypt the field: tenant secret {number} is not, or is no longer, one of this tenant at this "
                "secret path",
            )
        other = FieldForm.ALLOY if self._form is FieldForm.TSC else FieldForm.TSC
        for form in (self._form, other):
            value = open_field(key.derived_key, field.ciphertext, form)
            if value is not None:
                return _Opened(value, is_current=key.current and form is self._form)
        raise document_error(
            code, "Cannot decrypt the field: it was changed, or it was written with another derivation path or tenant"
        )


def _keys_of(keys: FieldKeys, field: Field | EncryptedField, code: ClientCode) -> list[FieldKey]:
    found = keys.derived_keys.get(field.secret_path, {}).get(field.derivation_path, [])
    if not found or any(len(each.derived_key) != KEY_BYTES for each in found):
        why = "the tenant has no secret at this secret path" if not found else "the proxy's key has a wrong length"
        raise document_error(code, f"There is no key for the field: {why}")
    return found


def _encrypting_key(keys: FieldKeys, field: Field | EncryptedField, code: ClientCode) -> FieldKey:
    if not keys.has_primary_config:
        fault = document_error(code, _NO_PRIMARY)
        fault.fixer = Fixer.TENANT
        raise fault
    for key in _keys_of(keys, field, code):
        if key.current:
            return key
    raise document_error(code, "The tenant has no current secret at this secret path")


G = TypeVar("G")


def _each(fields: Mapping[str, G], work: Callable[[G], T], keys: FieldKeys) -> BatchResult[T]:
    """Do the work for every field, then overwrite the keys."""
    successes: dict[str, T] = {}
    failures: dict[str, ClientError] = {}
    for each, field in fields.items():
        try:
            successes[each] = work(field)
        except ClientError as fault:
            failures[each] = fault
    for derivations in keys.derived_keys.values():
        for found in derivations.values():
            for key in found:
                key.derived_key[:] = bytes(len(key.derived_key))
    return BatchResult(successes, failures)
