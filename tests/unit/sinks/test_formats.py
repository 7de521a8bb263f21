"""Every format holds the event whole, and nothing that an outsider wrote breaks out of its field or line."""

import io
import json
import re
from collections.abc import Mapping

import msgspec
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.sinks.conftest import event
from tests.unit.sinks.ocsf_schema import faults

from tenant_security.sinks.formats import JSON_FORMATS, LINE_FORMATS
from tenant_security.sinks.formats.meanings import MEANINGS, OcsfClass
from tenant_security.sinks.formats.parquet import parquet
from tenant_security.sinks.stored import StoredEvent, read_event
from tenant_security.wire.events import Operation

NASTY = st.text(max_size=60) | st.sampled_from(
    [
        "a\nCEF:0|evil|x|1|1|x|10|",
        "a\r\nb",
        "x suser=root",
        "x\\",
        "x\\=y",
        "|||",
        "a\tusrName=root",
        "\x1b[2J",
        "\u2028\u2029\u0085",
        "\u202eevil",
        '"}],"x":[{"',
        "</script>",
        "<13>1 - - - - - -",
        ']"\\',
    ]
)


@st.composite
def stored(draw: st.DrawFn) -> StoredEvent:
    operation = draw(
        st.none()
        | st.builds(
            Operation,
            outcome=st.sampled_from(["success", "failure"]),
            code=st.none() | st.integers(100, 401),
            kms_config_id=st.none() | st.integers(0, 2**31),
            document_ids=st.none() | st.lists(NASTY, max_size=3),
        )
    )
    line = event(
        draw(st.integers(0, 2**40)),
        name=draw(st.sampled_from(sorted(MEANINGS)) | NASTY.filter(bool)),
        operation=operation,
        custom=draw(st.dictionaries(NASTY, NASTY, max_size=3)),
        requesting_id=draw(NASTY.filter(bool)),
        source_ip=draw(st.none() | st.sampled_from(["192.0.2.7", "2001:db8::1", "not an address"]) | NASTY),
        data_label=draw(st.none() | NASTY),
        object_id=draw(st.none() | NASTY),
        request_id=draw(st.none() | NASTY),
    )
    found = read_event(line)
    assert found is not None
    return found


@given(stored())
def test_every_format_is_one_line_of_text(said: StoredEvent) -> None:
    for written in LINE_FORMATS.values():
        line = written(said)
        assert b"\n" not in line
        assert b"\r" not in line
        line.decode()


@given(stored())
def test_lines_hold_nothing_that_drives_a_terminal(said: StoredEvent) -> None:
    for name in LINE_FORMATS:
        text = LINE_FORMATS[name](said).decode().replace("\t", "")
        assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", text)


@given(stored())
def test_json_formats_are_one_object_that_names_the_event(said: StoredEvent) -> None:
    for name, written in JSON_FORMATS.items():
        document = json.loads(written(said))
        found = {
            "native": lambda it: (it["eventId"], it["tenantId"]),
            "ocsf": lambda it: (it["metadata"]["uid"], it["metadata"]["tenant_uid"]),
            "ecs": lambda it: (it["event"]["id"], it["organization"]["id"]),
        }[name](document)
        assert found == (said.said.event_id, said.said.tenant_id)


def cleaned(text: str) -> str:
    return re.sub("[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", " ", text)


def read_cef(line: bytes) -> tuple[list[str], dict[str, str]]:
    """Read CEF by the letter of its rules."""
    text = line.decode()
    cut, escaped, bars = 0, False, 0
    for cut, letter in enumerate(text):  # noqa: B007 - where it stopped is what is wanted
        if escaped:
            escaped = False
        elif letter == "\\":
            escaped = True
        elif letter == "|":
            bars += 1
            if bars == 7:
                break
    assert bars == 7
    pairs: dict[str, str] = {}
    found = list(re.finditer(r"(?:^| )([A-Za-z0-9]+)=", text[cut + 1 :]))
    rest = text[cut + 1 :]
    for at, match in enumerate(found):
        end = found[at + 1].start() if at + 1 < len(found) else len(rest)
        assert match[1] not in pairs, f"{match[1]} comes twice"
        value = rest[match.end() : end]
        pairs[match[1]] = re.sub(r"\\(.)", lambda it: {"n": "\n", "r": "\r"}.get(it[1], it[1]), value, flags=re.DOTALL)
    return text[:cut].split("|"), pairs


@given(stored())
def test_what_stands_in_cef_is_what_was_said_and_nothing_else(said: StoredEvent) -> None:
    _, pairs = read_cef(LINE_FORMATS["cef"](said))
    fields = said.said.icl_fields
    assert pairs["suid"] == cleaned(fields.requesting_id)
    assert pairs["act"] == cleaned(fields.event)
    assert pairs["externalId"] == said.said.event_id
    assert pairs["cs1"] == said.said.tenant_id
    for label, key, value in (
        ("dataLabel", "cs2", fields.data_label),
        ("objectId", "cs3", fields.object_id),
        ("requestId", "cs4", fields.request_id),
    ):
        assert pairs.get(key) == (None if value is None else cleaned(value))
        assert (pairs.get(f"{key}Label") == label) == (value is not None)
    known = {"rt", "externalId", "act", "outcome", "suid", "src", "deviceExternalId", "deviceFacility", "cnt", "reason"}
    assert set(pairs) <= known | {
        f"{kind}{n}{label}" for kind in ("cs", "cn") for n in range(7) for label in ("", "Label")
    }


@given(stored())
def test_what_stands_in_leef_is_what_was_said_and_nothing_else(said: StoredEvent) -> None:
    text = LINE_FORMATS["leef"](said).decode()
    header, _, rest = text.partition("|x09|")
    assert header.count("|") == 4
    pairs: Mapping[str, str] = dict(pair.split("=", 1) for pair in rest.split("\t"))
    assert len(pairs) == rest.count("\t") + 1

    def clean(value: str) -> str:
        return cleaned(value).replace("\n", " ").replace("\r", " ")

    assert pairs["usrName"] == clean(said.said.icl_fields.requesting_id)
    assert pairs["eventId"] == said.said.event_id
    assert pairs.get("dataLabel") == (
        None if said.said.icl_fields.data_label is None else clean(said.said.icl_fields.data_label)
    )


@given(stored())
def test_ocsf_has_what_its_class_requires(said: StoredEvent) -> None:
    assert faults(json.loads(LINE_FORMATS["ocsf"](said))) == []


@pytest.mark.parametrize("name", sorted(MEANINGS))
def test_every_named_event_is_sound_ocsf_and_ecs(name: str) -> None:
    said = read_event(event(name=name))
    assert said is not None
    assert faults(json.loads(LINE_FORMATS["ocsf"](said))) == []
    about = json.loads(LINE_FORMATS["ecs"](said))["event"]
    [category], [kind] = about["category"], about["type"]
    assert kind in EXPECTED_TYPES[category]


# Source: ECS 8.11, "event.category", the expected event types of each.
EXPECTED_TYPES = {
    "api": {"access", "admin", "allowed", "change", "creation", "deletion", "denied", "end", "info", "start", "user"},
    "authentication": {"start", "end", "info"},
    "configuration": {"access", "change", "creation", "deletion", "info"},
    "database": {"access", "change", "info", "error"},
    "iam": {"admin", "change", "creation", "deletion", "group", "info", "user"},
}


def test_an_application_cannot_pass_its_report_off_as_the_proxys_own() -> None:
    faked = read_event(event(name="DEK_UNWRAP"))
    own = read_event(event(name="DEK_UNWRAP", operation=Operation(outcome="success")))
    assert faked is not None
    assert own is not None
    for said, who in ((faked, "application"), (own, "proxy")):
        assert json.loads(LINE_FORMATS["ocsf"](said))["metadata"]["log_provider"] == who
        assert json.loads(LINE_FORMATS["ecs"](said))["event"]["provider"] == who
        assert f"deviceFacility={who}" in LINE_FORMATS["cef"](said).decode()
        assert f"reportedBy={who}" in LINE_FORMATS["leef"](said).decode()


def test_an_address_that_is_none_is_no_address_field() -> None:
    for address in ("10.0.0.256", "fe80::1%eth0", "proxy-7", "1.2.3.4, 5.6.7.8"):
        said = read_event(event(source_ip=address))
        assert said is not None
        assert "ip" not in json.loads(LINE_FORMATS["ecs"](said))["source"]
        assert json.loads(LINE_FORMATS["ocsf"](said))["src_endpoint"] == {"name": address}
        assert "src" not in read_cef(LINE_FORMATS["cef"](said))[1]


def test_line_breaks_between_members_do_not_make_two_lines() -> None:
    loose = msgspec.json.format(event(1), indent=2)
    assert b"\n" in loose
    said = read_event(loose)
    assert said is not None
    assert b"\n" not in LINE_FORMATS["native"](said)
    assert msgspec.json.decode(said.line) == msgspec.json.decode(loose)


def test_outcomes_are_told_only_where_they_are_known() -> None:
    def outcomes(**about: object) -> tuple[object, ...]:
        said = read_event(event(**about))
        assert said is not None
        return (
            json.loads(LINE_FORMATS["ocsf"](said))["status_id"],
            json.loads(LINE_FORMATS["ecs"](said))["event"]["outcome"],
            read_cef(LINE_FORMATS["cef"](said))[1].get("outcome"),
        )

    assert outcomes(name="DEK_WRAP", operation=Operation(outcome="success")) == (1, "success", "success")
    assert outcomes(name="DEK_WRAP", operation=Operation(outcome="failure", code=206)) == (2, "failure", "failure")
    assert outcomes(name="DATA_DENY_ACCESS") == (2, "failure", "failure")
    assert outcomes(name="CUSTOM_THING") == (0, "unknown", None)


@settings(max_examples=25)
@given(stored())
def test_parquet_leaves_nothing_out(said: StoredEvent) -> None:
    text = LINE_FORMATS["ocsf"](said)
    event = json.loads(text)
    content = parquet([text, text], OcsfClass(event["class_uid"]))
    rows = pq.read_table(io.BytesIO(content)).to_pylist()
    assert len(rows) == 2
    unmapped = dict(rows[0].pop("unmapped"))
    assert {name: value if isinstance(value, str) else json.dumps(value) for name, value in unmapped.items()} == {
        name: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for name, value in event.pop("unmapped").items()
    }
    assert without_none(rows[0]) == event


def without_none(value: object) -> object:
    if isinstance(value, dict):
        return {name: without_none(each) for name, each in value.items() if each is not None}
    return [without_none(each) for each in value] if isinstance(value, list) else value
