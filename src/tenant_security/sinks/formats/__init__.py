"""How an event is written: the original's JSON, OCSF, ECS, CEF, LEEF. Pure: an event in, one line out.

Nothing that an outsider wrote into an event can end a line or a field. Source: docs/events-formats.md.
"""

from collections.abc import Callable, Mapping
from typing import Final

from tenant_security.sinks.formats.native import native
from tenant_security.sinks.stored import StoredEvent

Format = Callable[[StoredEvent], bytes]

JSON_FORMATS: Final[Mapping[str, Format]] = {"native": native}
"""Formats that are one object of JSON, by the name that configs have for them."""

LINE_FORMATS: Final[Mapping[str, Format]] = JSON_FORMATS
"""All formats: each is one line without a line break."""
