"""Django fields: what is stored is encrypted, what the model holds is not.

    TENANT_SECURITY = {"URL": "https://proxy.internal:7777", "API_KEY": os.environ["API_KEY"]}

    class Customer(models.Model):
        ssn = EncryptedTextField()

Whose key is used says :func:`tenant_security.client.acting_for`, or :class:`TenantMiddleware` for every request. A
value is decrypted when it is first looked at, not when the row is read; :func:`open_all` decrypts many rows with one
request. Values cannot be searched for, except for NULL.
"""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import FieldError, ImproperlyConfigured
from django.db import models
from django.db.models.query_utils import DeferredAttribute
from django.utils.module_loading import import_string

from tenant_security.client.metadata import Metadata
from tenant_security.client.sync_client import TenantSecurityClient
from tenant_security.client.tenancy import acting_for, current_metadata

_SETTING: Final = "TENANT_SECURITY"


@cache
def default_client() -> TenantSecurityClient:
    """The client that ``settings.TENANT_SECURITY`` describes, one for the process.

    ``URL`` and ``API_KEY`` are required; ``CLIENT`` may name a function that returns a client in their place, and
    ``OPTIONS`` holds the client's other arguments.
    """
    told = getattr(settings, _SETTING, None)
    if not isinstance(told, dict):
        raise ImproperlyConfigured(f"settings.{_SETTING} must be a dict with URL and API_KEY")
    if "CLIENT" in told:
        made: TenantSecurityClient = import_string(told["CLIENT"])()
        return made
    if missing := sorted({"URL", "API_KEY"} - told.keys()):
        raise ImproperlyConfigured(f"settings.{_SETTING} lacks {missing[0]}")
    return TenantSecurityClient(told["URL"], told["API_KEY"], **told.get("OPTIONS", {}))


class TenantMiddleware:
    """Works for a tenant while a request lasts: the one that the function named by ``METADATA`` in the setting returns.

    The function takes the request and returns :class:`Metadata`, or None for requests of nobody.
    """

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self._get_response = get_response
        told = getattr(settings, _SETTING, None) or {}
        if "METADATA" not in told:
            raise ImproperlyConfigured(
                f"settings.{_SETTING} lacks METADATA, the function that says whose request it is"
            )
        self._metadata: Callable[[Any], Metadata | None] = import_string(told["METADATA"])

    def __call__(self, request: Any) -> Any:
        """Serve one request."""
        metadata = self._metadata(request)
        if metadata is None:
            return self._get_response(request)
        with acting_for(metadata):
            return self._get_response(request)


class Sealed:
    """A value as it lies in the database, not decrypted yet. What ``values()`` returns; :meth:`open` decrypts it."""

    def __init__(self, ciphertext: bytes, field: "EncryptedBinaryField") -> None:
        self.ciphertext = ciphertext
        self._field = field

    def open(self) -> Any:
        """Decrypt it, for whom the application works now."""
        return self._field.decode(default_client().decrypt_attached(self.ciphertext, current_metadata()))

    def __repr__(self) -> str:
        return f"<Sealed, {len(self.ciphertext)} bytes>"


class _DecryptedOnAccess(DeferredAttribute):
    """Decrypts a value when it is first looked at, and keeps it."""

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        value = super().__get__(instance, cls)
        if isinstance(value, Sealed):
            value = value.open()
            instance.__dict__[self.field.attname] = value
        return value

    def __set__(self, instance: Any, value: Any) -> None:
        # Its presence is what makes Python ask __get__ before it looks at the instance.
        instance.__dict__[self.field.attname] = value


class EncryptedBinaryField(models.BinaryField):
    """Bytes that are encrypted with a key of their own; the column holds them with their EDEK."""

    descriptor_class = _DecryptedOnAccess

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("editable", True)
        super().__init__(*args, **kwargs)

    def encode(self, value: Any) -> bytes:
        """Turn the model's value into bytes."""
        return bytes(value)

    def decode(self, value: bytes) -> Any:
        """Turn bytes into the model's value."""
        return value

    def from_db_value(self, value: Any, _expression: Any, _connection: Any) -> Sealed | None:
        """Keep what was read as it is, until it is looked at."""
        return None if value is None else Sealed(bytes(value), self)

    def pre_save(self, model_instance: Any, add: bool) -> Any:
        """Write back as it is what nobody has looked at."""
        kept = model_instance.__dict__.get(self.attname)
        return kept if isinstance(kept, Sealed) else super().pre_save(model_instance, add)

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        """Encrypt what is written."""
        if value is None:
            return None
        if hasattr(value, "resolve_expression"):
            raise FieldError("an encrypted field cannot be written by an expression: its value must be here")
        if isinstance(value, Sealed):
            return connection.Database.Binary(value.ciphertext)
        return connection.Database.Binary(default_client().encrypt_attached(self.encode(value), current_metadata()))

    def get_lookup(self, lookup_name: str) -> Any:
        """Let through what asks for NULL: nothing else could ever be true."""
        if lookup_name != "isnull":
            raise FieldError("an encrypted field cannot be searched; store a deterministic field beside it")
        return super().get_lookup(lookup_name)

    def value_to_string(self, obj: Any) -> str:
        """Refuse: a fixture would hold the plaintext."""
        raise FieldError(
            f"{self.name} is encrypted and is not serialised; leave it out, or read it by hand: {type(obj)}"
        )


class EncryptedTextField(EncryptedBinaryField):
    """Text that is encrypted with a key of its own."""

    def encode(self, value: Any) -> bytes:
        """UTF-8."""
        return str(value).encode()

    def decode(self, value: bytes) -> Any:
        """UTF-8."""
        return value.decode()

    def to_python(self, value: Any) -> Any:
        """Forms and ``clean()`` see text."""
        return value if value is None or isinstance(value, str) else str(value)

    def formfield(self, **kwargs: Any) -> Any:
        """A text input."""
        return models.Field.formfield(self, **kwargs)


def open_all(instances: Iterable[Any], *names: str) -> None:
    """Decrypt these fields of many instances with one request, before they are looked at one by one.

    Raises: KmsError, ServiceError, DocumentError: the first that one of them meets.
    """
    sealed: dict[str, tuple[Any, EncryptedBinaryField, bytes]] = {}
    for number, instance in enumerate(instances):
        for name in names:
            field = instance._meta.get_field(name)  # noqa: SLF001 - Django's own way
            value = instance.__dict__.get(field.attname)
            if isinstance(value, Sealed):
                sealed[f"{number}.{name}"] = (instance, field, value.ciphertext)
    values = {each: ciphertext for each, (_, _, ciphertext) in sealed.items()}
    opened = default_client().decrypt_attached_batch(values, current_metadata()).all_or_raise()
    for each, (instance, field, _) in sealed.items():
        instance.__dict__[field.attname] = field.decode(opened[each])
