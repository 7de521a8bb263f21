"""The parts of ``sinks.md`` and ``events-formats.md`` that the code itself knows."""

from typing import Final

from tenant_security.sinks.formats import LINE_FORMATS
from tenant_security.sinks.formats.meanings import MEANINGS, UNNAMED, Meaning
from tenant_security.sinks.limits import LIMITS
from tenant_security.sinks.sink import Limits
from tenant_security.sinks.stored import StoredEvent, read_event
from tenant_security.wire.events import EventRecord, Operation, native_json
from tenant_security.wire.proxy_api import IclFields

_KIB: Final = 1024
_HOUR_S: Final = 3600


def example() -> StoredEvent:
    """The event of all examples."""
    fields = IclFields(
        requesting_id="user-7", data_label="PII", source_ip="203.0.113.9", object_id="invoice-31", request_id="req-5f1e"
    )
    record = EventRecord(
        2,
        5,
        1_795_512_600_123,
        "DEK_UNWRAP",
        "acme",
        "8d38a43cd33d3553",
        "44ec5abb00000008",
        fields,
        {"team": "a=b"},
        Operation(outcome="failure", code=206, kms_config_id=511, kms_config_version=3, leased=False),
    )
    event = read_event(native_json(record))
    assert event is not None
    return event


def examples() -> str:
    """One event in every format."""
    titles = {"native": "native", "ocsf": "ocsf", "ecs": "ecs", "cef": "cef", "leef": "leef (tabs between attributes)"}
    parts = []
    for name, title in titles.items():
        language = "json" if name in ("native", "ocsf", "ecs") else "text"
        parts += [f"**{title}**", "", f"```{language}", LINE_FORMATS[name](example()).decode(), "```", ""]
    return "\n".join(parts).rstrip()


def meanings_table() -> str:
    """Which event is what in OCSF and ECS."""
    rows = ["| event | OCSF class and activity | ECS category, type | failure |", "| --- | --- | --- | --- |"]
    rows += [_meaning(f"`{name}`", each) for name, each in MEANINGS.items()]
    return "\n".join([*rows, _meaning("anything else", UNNAMED)])


def limits_table() -> str:
    """What each kind of sink takes."""
    head = "| type | events in a batch | bytes in a batch | bytes of an event | age | gzip | partial | `Retry-After` |"
    rows = [f"{head} success | repeats | assurance |", f"|{' --- |' * 11}"]
    rows += [_limits(name, each) for name, each in LIMITS.items()]
    return "\n".join(rows)


def _meaning(name: str, each: Meaning) -> str:
    title = each.ocsf_class.name.replace("_", " ").capitalize()
    ocsf = f"{title} {each.ocsf_class.value}, {each.activity}"
    return f"| {name} | {ocsf} | {each.ecs_category}, {each.ecs_type} | {'always' if each.failed else ''} |"


def _limits(name: str, each: Limits) -> str:
    age = "any" if each.past_s is None else f"{each.past_s / _HOUR_S:g} h"
    cells = (
        f"`{name}`",
        f"{each.most_events:,}",
        _size(each.most_bytes),
        _size(each.most_event_bytes),
        age,
        _yes(chosen=each.gzip),
        each.partial.value,
        _yes(chosen=each.retry_after),
        each.success,
        each.repeats,
        each.assurance.value,
    )
    return f"| {' | '.join(cells)} |"


def _size(count: int) -> str:
    for unit, name in ((_KIB * _KIB, "MiB"), (_KIB, "KiB"), (1_000_000, "MB"), (1_000, "kB")):
        if count % unit == 0:
            return f"{count // unit} {name}"
    return f"{count:,}"


def _yes(*, chosen: bool) -> str:
    return "yes" if chosen else "no"
