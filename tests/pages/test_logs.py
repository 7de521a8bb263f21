"""The page of log lines is what the daemons log, and nothing else."""

import re

import pytest
from tests.pages.messages import SERVICES, UnfindableError, all_messages, messages_of
from tests.pages.pages import ROOT

PAGE = (ROOT / "docs/logs.md").read_text("utf-8")
TITLES = {"Proxy": "proxy", "Logdriver": "logdriver", "Broker": "broker", "Bridge": "bridge"}
ROW = re.compile(
    r"^\| `([^`]+)` \| (error|warning|info|debug) \| ([^|]*) \| ([^|]+) \| ([^|]*) \| ([^|]*) \|$", re.MULTILINE
)


def rows() -> dict[tuple[str, str, str], tuple[set[str], str, str]]:
    """What the page says: members, when to alert, what to do."""
    found = {}
    for section in PAGE.split("\n## ")[1:]:
        service = TITLES.get(section.partition("\n")[0], "")
        for text, level, members, _, alert, do in ROW.findall(section):
            found[text, level, service] = set(re.findall(r"`(\w+)`", members)), alert.strip(), do.strip()
    return found


def test_every_message_has_its_row_with_its_members_and_no_other_has() -> None:
    page = rows()
    for each in all_messages():
        service = each.package if each.package in SERVICES else ""
        members, _, _ = page.pop((each.text, each.level, service))
        assert members >= each.members if each.more else members == each.members, each.text
    assert page == {}


def test_an_alert_says_what_to_do_and_an_error_is_one() -> None:
    for (text, level, _), (_, alert, do) in rows().items():
        assert do or not alert, text
        assert level != "error" or alert or "test" in text, text


def test_members_that_several_lines_have_are_explained() -> None:
    explained = {
        name for row in re.findall(r"^\| (`.+?) \| ", PAGE, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    messages = all_messages()
    often = {name for each in messages for name in each.members if sum(name in m.members for m in messages) > 2}
    assert often - {"tenants", "snapshot", "version", "pid", "seconds", "ops"} <= explained


def test_a_message_that_is_put_together_is_refused() -> None:
    with pytest.raises(UnfindableError):
        list(messages_of('log.info(f"tenant {name} is gone")', "proxy"))
    (found,) = messages_of('self._log.warning("gone", tenant_id=name, **more)', "proxy")
    assert (found.text, found.level, found.members, found.more) == ("gone", "warning", {"tenant_id"}, True)
    assert list(messages_of('math.log(2)\nconsole.info("x")', "proxy")) == []
