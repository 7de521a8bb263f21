"""What the configs of all sinks have in common. Source: docs/sinks.md, "What every config holds"."""

from typing import Annotated, Final, Literal

import msgspec

from tenant_security.secret import Secret
from tenant_security.wire.name_patterns import names

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=512, pattern=r"^[^\x00-\x1f\x7f]+\Z")]
"""A text that is written by a human and is not secret; one line."""

Pattern = Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f*]*\*?\Z")]
"""An event's name, or how it begins and then ``*``."""

JsonFormat = Literal["native", "ocsf", "ecs"]
"""How an event looks to a sink that takes JSON."""

LineFormat = Literal["native", "ocsf", "ecs", "cef", "leef"]
"""How an event looks to a sink that takes lines."""


_ALL: Final = ("*",)


class EventFilter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Which events are sent: those that ``only`` names and ``never`` does not, with that ``outcome``."""

    only: Annotated[tuple[Pattern, ...], msgspec.Meta(min_length=1, max_length=100)] = _ALL
    """Names such as ``DEK_UNWRAP``; ``USER_*`` stands for all that begin so."""
    never: Annotated[tuple[Pattern, ...], msgspec.Meta(max_length=100)] = ()
    """Names that are left out, even where ``only`` names them."""
    outcome: Literal["any", "success", "failure"] = "any"
    """Of the events that the proxy makes itself; what the application reports has no outcome, and passes."""

    def passes(self, name: str, outcome: str | None) -> bool:
        """Whether an event is to be sent. ``outcome`` is None where the application reported it."""
        if self.outcome != "any" and outcome is not None and outcome != self.outcome:
            return False
        return (self.only == _ALL or names(self.only, name)) and not (self.never and names(self.never, name))


class SinkMembers(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", tag_field="type", kw_only=True
):
    """What every config holds. A tenant with several sinks has a config for each."""

    version: int
    """Counts the versions of this config."""
    filter: EventFilter = EventFilter()
    """Which events this sink gets."""
    leased_keys: Literal["each", "counts"] = "each"
    """Whether every use of a leased key is an event, or those of a minute are one event with their number."""


def check_header(secret: Secret[str], member: str) -> None:
    """Check that a secret may stand in a header. Raises: ValueError that names the member."""
    text = secret.reveal()
    if not text.isascii() or not text.isprintable() or text != text.strip():
        raise ValueError(f"{member} holds a character that it cannot hold, such as a space at its end or a line break")
