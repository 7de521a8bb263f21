"""The ways in which a snapshot can fail: as a whole, as a change to what is in use, or in one entry."""

from enum import Enum


class Part(Enum):
    """Which part of a snapshot made it unacceptable."""

    FILE = "file"
    FORMAT = "format"
    ROOT = "root"
    MANIFEST = "manifest"
    HEAD = "head"
    IDENTITY = "identity"


class SnapshotRefusedError(Exception):
    """A whole snapshot is not accepted; what is in use stays in use.

    The message says what is wrong and what to do, for the operator's log and health page.
    """

    def __init__(self, part: Part, reason: str) -> None:
        super().__init__(f"The snapshot is refused because of its {part.value}: {reason}")
        self.part = part
        self.reason = reason


class WholeNeededError(SnapshotRefusedError):
    """Changes cannot be applied to what is in use. Asking for the whole snapshot helps."""

    def __init__(self, reason: str) -> None:
        super().__init__(Part.FORMAT, reason)


class RevokedError(SnapshotRefusedError):
    """The vendor has revoked this service, in a document that verifies. It must not serve on with what it has."""

    def __init__(self, reason: str) -> None:
        super().__init__(Part.IDENTITY, reason)


class BadEntryError(Exception):
    """One entry breaks a rule; its tenant is quarantined and nobody else notices."""
