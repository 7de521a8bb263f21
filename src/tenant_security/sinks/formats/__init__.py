"""How an event is written: the original's JSON, OCSF, ECS, CEF, LEEF. Pure: an event in, one line out.

Nothing that an outsider wrote into an event can end a line or a field. Source: docs/events-formats.md.

May import: other parts of ``sinks``, ``wire``.
"""

from collections.abc import Callable, Mapping
from typing import Final

from tenant_security.sinks.formats.ecs import ecs
from tenant_security.sinks.formats.lines import cef, leef
from tenant_security.sinks.formats.native import native
from tenant_security.sinks.formats.ocsf import ocsf
from tenant_security.sinks.stored import StoredEvent

Format = Callable[[StoredEvent], bytes]

JSON_FORMATS: Final[Mapping[str, Format]] = {"native": native, "ocsf": ocsf, "ecs": ecs}
"""Formats that are one object of JSON, by the name that configs have for them."""

LINE_FORMATS: Final[Mapping[str, Format]] = {**JSON_FORMATS, "cef": cef, "leef": leef}
"""All formats: each is one line without a line break."""
