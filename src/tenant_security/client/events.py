"""Security events that an application reports to its tenants: every published name, and your own.

    client.log_event(UserEvent.LOGIN.at(metadata))

Source: docs/client/cookbook.md, "Report security events".
"""

import re
import time
from datetime import datetime
from enum import Enum
from typing import Final

import msgspec

from tenant_security.client.keys import Keys
from tenant_security.client.metadata import Metadata
from tenant_security.outbound.flow import Flow

_CUSTOM: Final = re.compile(r"[A-Z][A-Z_]*")


class SecurityEvent(msgspec.Struct, frozen=True):
    """Something that happened. Units: ``at_ms`` is Unix milliseconds."""

    name: str
    metadata: Metadata
    at_ms: int

    def report(self, keys: Keys) -> Flow[None]:
        """Tell the proxy. Raises: SecurityEventError, ServiceError."""
        return keys.report_event(self.name, self.at_ms, self.metadata)


class _Named(Enum):
    """A published name; the member's value is what goes over the wire."""

    def at(self, metadata: Metadata, when: datetime | None = None) -> SecurityEvent:
        """Say that it happened: now, or when it did."""
        return _event(self.value, metadata, when)


class AdminEvent(_Named):
    """What administrators did."""

    ADD = "ADMIN_ADD"
    REMOVE = "ADMIN_REMOVE"
    CHANGE_PERMISSIONS = "ADMIN_CHANGE_PERMISSIONS"
    CHANGE_SETTING = "ADMIN_CHANGE_SETTING"


class DataEvent(_Named):
    """What happened to data."""

    IMPORT = "DATA_IMPORT"
    EXPORT = "DATA_EXPORT"
    ENCRYPT = "DATA_ENCRYPT"
    DECRYPT = "DATA_DECRYPT"
    CREATE = "DATA_CREATE"
    DELETE = "DATA_DELETE"
    DENY_ACCESS = "DATA_DENY_ACCESS"
    CHANGE_PERMISSIONS = "DATA_CHANGE_PERMISSIONS"


class PeriodicEvent(_Named):
    """What happens on a schedule."""

    ENFORCE_RETENTION_POLICY = "PERIODIC_ENFORCE_RETENTION_POLICY"
    CREATE_BACKUP = "PERIODIC_CREATE_BACKUP"


class UserEvent(_Named):
    """What users did, and what was done to them."""

    ADD = "USER_ADD"
    SUSPEND = "USER_SUSPEND"
    REMOVE = "USER_REMOVE"
    LOGIN = "USER_LOGIN"
    TIMEOUT_SESSION = "USER_TIMEOUT_SESSION"
    LOCKOUT = "USER_LOCKOUT"
    LOGOUT = "USER_LOGOUT"
    CHANGE_PERMISSIONS = "USER_CHANGE_PERMISSIONS"
    EXPIRE_PASSWORD = "USER_EXPIRE_PASSWORD"  # noqa: S105 - an event's name
    RESET_PASSWORD = "USER_RESET_PASSWORD"  # noqa: S105
    CHANGE_PASSWORD = "USER_CHANGE_PASSWORD"  # noqa: S105
    REJECT_LOGIN = "USER_REJECT_LOGIN"
    ENABLE_TWO_FACTOR = "USER_ENABLE_TWO_FACTOR"
    DISABLE_TWO_FACTOR = "USER_DISABLE_TWO_FACTOR"
    CHANGE_EMAIL = "USER_CHANGE_EMAIL"
    REQUEST_EMAIL_VERIFICATION = "USER_REQUEST_EMAIL_VERIFICATION"
    VERIFY_EMAIL = "USER_VERIFY_EMAIL"


class CustomEvent(msgspec.Struct, frozen=True):
    """An event of your own: upper-case letters and underscores, such as ``CustomEvent("SCREENSHOT_NOT_ALLOWED")``."""

    name: str

    def __post_init__(self) -> None:
        if _CUSTOM.fullmatch(self.name) is None:
            raise ValueError("a custom event's name has upper-case letters and underscores, and begins with a letter")

    def at(self, metadata: Metadata, when: datetime | None = None) -> SecurityEvent:
        """Say that it happened: now, or when it did."""
        return _event(f"CUSTOM_{self.name}", metadata, when)


def _event(name: str, metadata: Metadata, when: datetime | None) -> SecurityEvent:
    if when is None:
        return SecurityEvent(name, metadata, time.time_ns() // 1_000_000)
    if when.tzinfo is None:
        raise ValueError("the time of an event needs a time zone")
    at_ms = int(when.timestamp() * 1000)
    if at_ms < 0:
        raise ValueError("an event cannot have happened before 1970")
    return SecurityEvent(name, metadata, at_ms)
