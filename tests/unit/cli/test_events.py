"""``events list``, ``replay`` and ``tail`` at a spool that a logdriver has left."""

import asyncio
import json

import pytest
from tests.unit.cli.test_snapshot import run
from tests.unit.logdriver.test_delivery import line

from tenant_security.cli import events
from tenant_security.errors import SettingsError
from tenant_security.logdriver.dead_letters import DeadLetters, ReplayRequest, replayed
from tenant_security.logdriver.lane import STDOUT, LaneKey
from tenant_security.logdriver.room import Room
from tenant_security.logdriver.spool import Spool
from tenant_security.spool.disk import LocalDisk
from tenant_security.wire.stored_events import read_incoming

NOW_MS = 1_795_512_600_000
TOO_ODD = "The receiver says that the event is too odd."


@pytest.fixture
def place(tmp_path):
    """A spool with three events in its journal, and one dead letter of each of three sinks of two tenants."""
    incoming = [read_incoming(line(1, "acme")), read_incoming(line(2, "acme")), read_incoming(line(3, "other"))]

    async def fill():
        spool = Spool(tmp_path / "spool", Room())
        spool.open()
        spool.add_lane(STDOUT, 0, first=False)
        writing = asyncio.create_task(spool.run())
        await spool.store(incoming)
        writing.cancel()
        spool.close()

    asyncio.run(fill())
    dead = DeadLetters(tmp_path / "spool", LocalDisk())
    dead.add(LaneKey("acme", 7), "SPLUNK", [(line(1, "acme"), TOO_ODD)], NOW_MS)
    dead.add(LaneKey("acme", 8), "WEBHOOK", [(line(2, "acme"), TOO_ODD)], NOW_MS)
    dead.add(LaneKey("other", 9), "S3", [(line(3, "other"), TOO_ODD)], NOW_MS)
    return tmp_path / "spool"


@pytest.fixture
def ask(place, capsys):
    """Run a command at the spool; return its exit code, what it printed and what it complained of."""

    def asked(*arguments):
        capsys.readouterr()
        code = run(*arguments, "--spool", place, app=events.app)
        return code, *capsys.readouterr()

    return asked


def serials(lines):
    return [json.loads(each)["sequence"] for each in lines]


def left(place):
    return {path.relative_to(place): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_a_summary_names_every_tenant_and_sink_and_a_tenants_list_every_event(ask):
    code, out, _ = ask("list")
    assert code == 0
    assert out.splitlines() == [
        f"1 of tenant 'acme', sink 7 (SPLUNK): {TOO_ODD}",
        f"1 of tenant 'acme', sink 8 (WEBHOOK): {TOO_ODD}",
        f"1 of tenant 'other', sink 9 (S3): {TOO_ODD}",
    ]
    code, out, _ = ask("list", "--tenant", "acme")
    assert code == 0
    assert [each.partition(TOO_ODD)[0] for each in out.splitlines()] == [
        "2026-11-24T09:30:00.000Z sink 7: ",
        "2026-11-24T09:30:00.000Z sink 8: ",
    ]
    assert serials(each.partition(TOO_ODD)[2] for each in out.splitlines()) == [1, 2]


def test_json_is_one_object_for_each_event_with_the_event_in_it(ask):
    code, out, _ = ask("list", "--json")
    found = [json.loads(each) for each in out.splitlines()]
    assert code == 0
    assert [(each["tenantId"], each["sinkConfigId"], each["why"]) for each in found] == [
        ("acme", 7, TOO_ODD),
        ("acme", 8, TOO_ODD),
        ("other", 9, TOO_ODD),
    ]
    assert [each["event"]["sequence"] for each in found] == [1, 2, 3]
    assert len(ask("list", "--json", "--tenant", "other")[1].splitlines()) == 1


def test_looking_changes_nothing_in_the_spool(ask, place):
    before = left(place)
    ask("list")
    ask("list", "--json")
    ask("tail", "--no-follow")
    assert left(place) == before


@pytest.mark.parametrize(("chosen", "sink", "sent"), [((), None, [1, 2]), (("--sink", "8"), 8, [2])])
def test_replay_asks_the_logdriver_which_then_sends_those_again(ask, place, chosen, sink, sent):
    code, out, _ = ask("replay", "acme", *chosen)
    said = "2 events" if len(sent) == 2 else "1 event"
    assert (code, out) == (0, f"The logdriver was asked to send {said} again.\n")

    dead = DeadLetters(place, LocalDisk())
    ((_, request),) = dead.asked()
    assert request == ReplayRequest("acme", sink)
    again, kept = replayed(dead, request, {LaneKey("acme", 7), LaneKey("acme", 8)})
    assert serials(each.line for each in again) == sent
    assert [each.sink for each in again] == [each + 6 for each in sent]
    assert len(kept) == 2 - len(sent)


@pytest.mark.parametrize("arguments", [("nobody",), ("acme", "--sink", "99")])
def test_what_is_not_there_cannot_be_sent_again(ask, place, arguments):
    code, out, err = ask("replay", *arguments)
    assert (code, out) == (1, "")
    assert "events list" in err
    assert DeadLetters(place, LocalDisk()).asked() == []


def test_tail_prints_what_the_journal_holds(ask):
    assert serials(ask("tail", "--no-follow")[1].splitlines()) == [1, 2, 3]
    assert serials(ask("tail", "--no-follow", "--tenant", "other")[1].splitlines()) == [3]


def test_a_spool_without_dead_letters_says_so(tmp_path, capsys):
    (tmp_path / "journal").mkdir()
    assert run("list", "--spool", tmp_path, app=events.app) == 0
    assert capsys.readouterr().out == "There are no dead letters.\n"
    assert run("list", "--tenant", "acme", "--spool", tmp_path, app=events.app) == 0
    assert capsys.readouterr().out == "There are no dead letters of tenant 'acme'.\n"
    assert run("list", "--json", "--spool", tmp_path, app=events.app) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("arguments", [("list",), ("replay", "acme"), ("tail", "--no-follow")])
def test_an_empty_or_missing_directory_says_what_to_do(tmp_path, there, arguments):
    spool = tmp_path / "nothing"
    if there:
        spool.mkdir()
    with pytest.raises(SettingsError, match="--spool or LOGDRIVER_SPOOL_DIRECTORY"):
        run(*arguments, "--spool", spool, app=events.app)
    assert spool.exists() == there
    assert not there or list(spool.iterdir()) == []


@pytest.mark.parametrize("arguments", [("list",), ("replay", "acme"), ("tail", "--no-follow")])
def test_somebody_elses_spool_says_who_may_look(place, monkeypatch, arguments):
    monkeypatch.setattr(events.os, "access", lambda *_: False)
    with pytest.raises(SettingsError, match="as the user that the logdriver runs as"):
        run(*arguments, "--spool", place, app=events.app)
