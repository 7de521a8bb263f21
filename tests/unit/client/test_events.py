"""Security events: every published name, with the time at which it happened."""

from datetime import UTC, datetime

import pytest

from tenant_security.client import (
    AdminEvent,
    CustomEvent,
    DataEvent,
    Metadata,
    PeriodicEvent,
    SecurityEventError,
    UserEvent,
)
from tenant_security.outbound.flow import Reason

PUBLISHED = {
    "ADMIN_": "ADD REMOVE CHANGE_PERMISSIONS CHANGE_SETTING",
    "DATA_": "IMPORT EXPORT ENCRYPT DECRYPT CREATE DELETE DENY_ACCESS CHANGE_PERMISSIONS",
    "PERIODIC_": "ENFORCE_RETENTION_POLICY CREATE_BACKUP",
    "USER_": "ADD SUSPEND REMOVE LOGIN TIMEOUT_SESSION LOCKOUT LOGOUT CHANGE_PERMISSIONS EXPIRE_PASSWORD "
    "RESET_PASSWORD CHANGE_PASSWORD REJECT_LOGIN ENABLE_TWO_FACTOR DISABLE_TWO_FACTOR CHANGE_EMAIL "
    "REQUEST_EMAIL_VERIFICATION VERIFY_EMAIL",
}


def test_every_published_name_is_there():
    ours = {each.value for kind in (AdminEvent, DataEvent, PeriodicEvent, UserEvent) for each in kind}
    assert ours == {prefix + name for prefix, names in PUBLISHED.items() for name in names.split()}


def test_an_event_arrives_with_everything_it_says(memory):
    metadata = Metadata("t", requesting_id="r", object_id="o", custom_fields={"k": "v"})
    when = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
    memory.client().log_events([UserEvent.LOGIN.at(metadata, when), CustomEvent("PRINT_OUT").at(metadata)])
    login, custom = memory.events
    assert (login.name, login.tenant_id, login.at_ms) == ("USER_LOGIN", "t", 1795512600000)
    assert (login.fields.object_id, login.custom_fields) == ("o", {"k": "v"})
    assert custom.name == "CUSTOM_PRINT_OUT"


def test_an_unknown_tenants_event_is_taken(real):
    real.log_event(DataEvent.EXPORT.at(Metadata("nobody", requesting_id="r")))


def test_all_events_are_tried_before_a_fault_is_raised(memory):
    from tenant_security.errors import Code

    memory.fail_next(*[Code.SECURITY_EVENT_REJECTED] * 3)
    events = [AdminEvent.ADD.at(Metadata(str(each), requesting_id="r")) for each in range(3)]
    with pytest.raises(SecurityEventError):
        memory.client(retry=None).log_events(events * 3)
    assert len(memory.events) >= 8


@pytest.mark.parametrize("name", ["", "lower", "_A", "A-B", "A1", "A B"])
def test_a_custom_name_is_checked(name):
    with pytest.raises(ValueError, match="upper-case"):
        CustomEvent(name)


def test_a_time_needs_its_zone_and_its_century():
    metadata = Metadata("t", requesting_id="r")
    with pytest.raises(ValueError, match="time zone"):
        UserEvent.LOGIN.at(metadata, datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(ValueError, match="1970"):
        UserEvent.LOGIN.at(metadata, datetime(1969, 1, 1, tzinfo=UTC))


async def test_the_asynchronous_client_does_the_same(memory):
    async with memory.async_client() as client:
        await client.log_event(UserEvent.LOGIN.at(Metadata("t", requesting_id="r")))
        await client.log_events([UserEvent.LOGOUT.at(Metadata("t", requesting_id="r"))])
    assert [each.name for each in memory.events] == ["USER_LOGIN", "USER_LOGOUT"]
    assert Reason
