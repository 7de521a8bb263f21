"""What each event is in the words of others: one table for OCSF, ECS and severities.

Source: docs/formats.md, "Security events"; OCSF schema 1.8.0, classes 3001, 3002, 3004, 6003, 6005; ECS 8.11, "ECS
categorization fields". docs/events-formats.md shows the table.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final, NamedTuple

from tenant_security.sinks.stored import StoredEvent
from tenant_security.wire import events


class OcsfClass(IntEnum):
    """The classes that we use, by their number; the thousands are the category."""

    ACCOUNT_CHANGE = 3001
    AUTHENTICATION = 3002
    ENTITY_MANAGEMENT = 3004
    API_ACTIVITY = 6003
    DATASTORE_ACTIVITY = 6005


OTHER: Final = 99
"""An OCSF activity that the class has no number for."""


class Meaning(NamedTuple):
    """One event. ``failed`` events say by their name that somebody was refused something."""

    title: str
    ocsf_class: OcsfClass
    activity: int
    ecs_category: str
    ecs_type: str
    failed: bool = False


_ACCOUNT, _LOGIN = OcsfClass.ACCOUNT_CHANGE, OcsfClass.AUTHENTICATION
_ENTITY, _API, _STORE = OcsfClass.ENTITY_MANAGEMENT, OcsfClass.API_ACTIVITY, OcsfClass.DATASTORE_ACTIVITY

_RETENTION: Final = Meaning("Retention policy enforced", _STORE, 7, "database", "change")
_BACKUP: Final = Meaning("Backup created", _STORE, 1, "database", "access")

MEANINGS: Final[Mapping[str, Meaning]] = {
    events.WRAP: Meaning("Data key wrapped", _API, 1, "api", "creation"),
    events.UNWRAP: Meaning("Data key unwrapped", _API, 2, "api", "access"),
    events.REKEY: Meaning("Data key rekeyed", _API, 3, "api", "change"),
    events.DERIVE: Meaning("Key derived", _API, 2, "api", "access"),
    events.REPORT: Meaning("Data key operations reported", _API, OTHER, "api", "info"),
    events.TEST: Meaning("Test of a sink", _API, OTHER, "api", "info"),
    "DATA_IMPORT": Meaning("Data imported", _STORE, 5, "database", "change"),
    "DATA_EXPORT": Meaning("Data exported", _STORE, 1, "database", "access"),
    "DATA_ENCRYPT": Meaning("Data encrypted", _STORE, 9, "database", "change"),
    "DATA_DECRYPT": Meaning("Data decrypted", _STORE, 10, "database", "access"),
    "DATA_CREATE": Meaning("Data created", _STORE, 6, "database", "change"),
    "DATA_DELETE": Meaning("Data deleted", _STORE, 7, "database", "change"),
    "DATA_DENY_ACCESS": Meaning("Access to data denied", _STORE, 1, "database", "access", failed=True),
    "DATA_CHANGE_PERMISSIONS": Meaning("Permissions of data changed", _STORE, 2, "database", "change"),
    "PERIODIC_ENFORCE_RETENTION_POLICY": _RETENTION,
    "PERIODIC_CREATE_BACKUP": _BACKUP,
    # One published client leaves the prefix out.
    "ENFORCE_RETENTION_POLICY": _RETENTION,
    "CREATE_BACKUP": _BACKUP,
    "USER_LOGIN": Meaning("User logged in", _LOGIN, 1, "authentication", "start"),
    "USER_LOGOUT": Meaning("User logged out", _LOGIN, 2, "authentication", "end"),
    "USER_TIMEOUT_SESSION": Meaning("Session timed out", _LOGIN, 2, "authentication", "end"),
    "USER_REJECT_LOGIN": Meaning("Login rejected", _LOGIN, 1, "authentication", "start", failed=True),
    "USER_LOCKOUT": Meaning("User locked out", _ACCOUNT, 9, "iam", "user", failed=True),
    "USER_ADD": Meaning("User added", _ACCOUNT, 1, "iam", "creation"),
    "USER_SUSPEND": Meaning("User suspended", _ACCOUNT, 5, "iam", "change"),
    "USER_REMOVE": Meaning("User removed", _ACCOUNT, 6, "iam", "deletion"),
    "USER_CHANGE_PERMISSIONS": Meaning("Permissions of a user changed", _ACCOUNT, OTHER, "iam", "change"),
    "USER_EXPIRE_PASSWORD": Meaning("Password expired", _ACCOUNT, OTHER, "iam", "change"),
    "USER_RESET_PASSWORD": Meaning("Password reset", _ACCOUNT, 4, "iam", "change"),
    "USER_CHANGE_PASSWORD": Meaning("Password changed", _ACCOUNT, 3, "iam", "change"),
    "USER_ENABLE_TWO_FACTOR": Meaning("Second factor enabled", _ACCOUNT, 10, "iam", "change"),
    "USER_DISABLE_TWO_FACTOR": Meaning("Second factor disabled", _ACCOUNT, 11, "iam", "change"),
    "USER_CHANGE_EMAIL": Meaning("E-mail address changed", _ACCOUNT, OTHER, "iam", "change"),
    "USER_REQUEST_EMAIL_VERIFICATION": Meaning("E-mail verification requested", _ACCOUNT, OTHER, "iam", "info"),
    "USER_VERIFY_EMAIL": Meaning("E-mail address verified", _ACCOUNT, OTHER, "iam", "change"),
    "ADMIN_ADD": Meaning("Administrator added", _ACCOUNT, 1, "iam", "creation"),
    "ADMIN_REMOVE": Meaning("Administrator removed", _ACCOUNT, 6, "iam", "deletion"),
    "ADMIN_CHANGE_PERMISSIONS": Meaning("Permissions of an administrator changed", _ACCOUNT, OTHER, "iam", "change"),
    "ADMIN_CHANGE_SETTING": Meaning("Setting changed", _ENTITY, 3, "configuration", "change"),
}
"""Every event that proxies and published clients name."""

UNNAMED: Final = Meaning("Event of the application", _API, OTHER, "api", "info")
"""What an application calls as it likes."""


def meaning(event: StoredEvent) -> Meaning:
    """Return what an event means by its name."""
    return MEANINGS.get(event.said.icl_fields.event, UNNAMED)


def succeeded(event: StoredEvent) -> bool | None:
    """Whether it worked; None where nothing says so."""
    if event.outcome is not None:
        return event.outcome == events.SUCCESS
    return False if meaning(event).failed else None


def provider(event: StoredEvent) -> str:
    """Who says so. An application may report an event under any name; only the proxy's own carry an operation."""
    return "proxy" if event.said.operation else "application"
