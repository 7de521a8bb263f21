"""An event as it comes from the spool: its line, and what it says.

Source: docs/formats.md, "Security events".
"""

from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from tenant_security.wire.events import NativeEvent

_decoder: Final = msgspec.json.Decoder(NativeEvent)

_CUT: Final = "..."


class StoredEvent(NamedTuple):
    """One event. Units: ``time_ms`` is Unix milliseconds: when it happened, as it says."""

    line: bytes
    said: NativeEvent
    time_ms: int

    @property
    def outcome(self) -> str | None:
        """``success`` or ``failure`` of what the proxy did; None where the application reported the event."""
        return self.said.operation.outcome if self.said.operation else None


def read_event(line: bytes) -> StoredEvent | None:
    """Read one line of the native form; None when it is none."""
    try:
        said = _decoder.decode(line)
        moment = datetime.fromisoformat(said.timestamp)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        return None
    if moment.tzinfo is None:
        return None
    if b"\n" in line or b"\r" in line:
        # JSON may hold line breaks between its members; a line may not.
        line = msgspec.json.format(line, indent=-1)
    return StoredEvent(line, said, round(moment.timestamp() * 1000))


def shortened(event: StoredEvent, most: int) -> StoredEvent:
    """Return the event with every text cut to so many characters and the lists in it to as many entries.

    It says ``"truncated": true``. What identifies it stays whole: its id, tenant, time and place in the sequence.
    """
    said = event.said
    fields = {
        name: _cut(value, most) if isinstance(value, str) else value
        for name, value in msgspec.structs.asdict(said.icl_fields).items()
    }
    custom = {_cut(name, most): _cut(value, most) for name, value in list(said.custom_fields.items())[:most]}
    operation = said.operation
    if operation:
        operation = msgspec.structs.replace(
            operation,
            document_ids=_cut_list(operation.document_ids, most),
            secret_paths=_cut_list(operation.secret_paths, most),
        )
    cut = msgspec.structs.replace(
        said,
        icl_fields=type(said.icl_fields)(**fields),
        custom_fields=custom,
        operation=operation,
        truncated=True,
    )
    return StoredEvent(msgspec.json.encode(cut), cut, event.time_ms)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most] + _CUT


def _cut_list(texts: list[str] | None, most: int) -> list[str] | None:
    return None if texts is None else [_cut(text, most) for text in texts[:most]]
