"""SQLAlchemy column types: what is stored is encrypted, what the model holds is not.

    class Customer(Base):
        ssn: Mapped[str] = mapped_column(EncryptedText(client))
        email: Mapped[str] = mapped_column(DeterministicText(client, FieldForm.TSC, "customers", "email"))

Whose key is used says :func:`tenant_security.client.acting_for`. Every value that is read or written asks the proxy
once; with an asynchronous engine that holds up the event loop, so encrypt by hand there.
"""

from typing import Any

from sqlalchemy import ColumnElement, LargeBinary, bindparam
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import operators
from sqlalchemy.types import TypeDecorator, TypeEngine

from tenant_security.client.deterministic import EncryptedField, Field
from tenant_security.client.sync_client import TenantSecurityClient
from tenant_security.client.tenancy import current_metadata
from tenant_security.crypto.deterministic import FieldForm

_NULL_CHECKS = {operators.is_, operators.is_not}


class _NoComparison(TypeEngine.Comparator[Any]):
    """Lets through what asks for NULL: the same value never has the same bytes, so nothing else could be true."""

    def operate(self, op: Any, *other: Any, **kwargs: Any) -> ColumnElement[Any]:
        if op in _NULL_CHECKS or (op in {operators.eq, operators.ne} and other == (None,)):
            return super().operate(op, *other, **kwargs)
        raise TypeError("an encrypted column cannot be compared: use DeterministicBytes or DeterministicText for it")


class EncryptedBytes(TypeDecorator[bytes]):
    """Bytes that are encrypted with a key of their own; the column holds them with their EDEK."""

    impl = LargeBinary
    cache_ok = True
    comparator_factory = _NoComparison

    def __init__(self, client: TenantSecurityClient) -> None:
        super().__init__()
        self.client = client

    def process_bind_param(self, value: Any, dialect: Dialect) -> bytes | None:  # noqa: ARG002 - SQLAlchemy's interface
        """Encrypt what is written."""
        return None if value is None else self.client.encrypt_attached(self.encode(value), current_metadata())

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002
        """Decrypt what is read."""
        return None if value is None else self.decode(self.client.decrypt_attached(bytes(value), current_metadata()))

    def encode(self, value: Any) -> bytes:
        """Turn the model's value into bytes."""
        return bytes(value)

    def decode(self, value: bytes) -> Any:
        """Turn bytes into the model's value."""
        return value


class EncryptedText(EncryptedBytes):
    """Text that is encrypted with a key of its own."""

    cache_ok = True

    def encode(self, value: Any) -> bytes:
        """UTF-8."""
        return str(value).encode()

    def decode(self, value: bytes) -> Any:
        """UTF-8."""
        return value.decode()


class _SearchComparison(TypeEngine.Comparator[Any]):
    """Turns ``column == value`` into a search for every ciphertext that the value may have."""

    def operate(self, op: Any, *other: Any, **kwargs: Any) -> ColumnElement[Any]:
        if op in _NULL_CHECKS or other == (None,):
            return super().operate(op, *other, **kwargs)
        kind = self.type
        if op in {operators.eq, operators.ne} and isinstance(kind, DeterministicBytes):
            terms = [bindparam(None, term, LargeBinary) for term in kind.search_terms(other[0])]
            found = operators.in_op if op is operators.eq else operators.not_in_op
            return super().operate(found, terms, **kwargs)
        raise TypeError("a deterministic column can be compared for equality only")


class DeterministicBytes(TypeDecorator[bytes]):
    """Bytes that always encrypt to the same bytes, so that ``column == value`` finds them while a secret rotates too.

    Whoever reads the table sees which rows hold the same value. ``form`` says which family's bytes are written.
    """

    impl = LargeBinary
    cache_ok = True
    comparator_factory = _SearchComparison

    def __init__(self, client: TenantSecurityClient, form: FieldForm, secret_path: str, derivation_path: str) -> None:
        super().__init__()
        self.client = client
        self.form = form
        self.secret_path = secret_path
        self.derivation_path = derivation_path

    def process_bind_param(self, value: Any, dialect: Dialect) -> bytes | None:  # noqa: ARG002
        """Encrypt what is written."""
        if value is None:
            return None
        return self.client.deterministic(self.form).encrypt(self._field(value), current_metadata()).ciphertext

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002
        """Decrypt what is read."""
        if value is None:
            return None
        field = EncryptedField(bytes(value), self.secret_path, self.derivation_path)
        return self.decode(self.client.deterministic(self.form).decrypt(field, current_metadata()).value)

    def search_terms(self, value: Any) -> list[bytes]:
        """Every ciphertext that this value may have."""
        return self.client.deterministic(self.form).search_terms(self._field(value), current_metadata())

    def encode(self, value: Any) -> bytes:
        """Turn the model's value into bytes."""
        return bytes(value)

    def decode(self, value: bytes) -> Any:
        """Turn bytes into the model's value."""
        return value

    def _field(self, value: Any) -> Field:
        return Field(self.encode(value), self.secret_path, self.derivation_path)


class DeterministicText(DeterministicBytes):
    """Text that always encrypts to the same bytes."""

    cache_ok = True

    def encode(self, value: Any) -> bytes:
        """UTF-8."""
        return str(value).encode()

    def decode(self, value: bytes) -> Any:
        """UTF-8."""
        return value.decode()
