"""What a campaign has done, one line of JSON each: appended as it happens, so that a kill loses nothing that matters.

The first line says what the campaign is. Each further line is one row's outcome, with its old EDEK and its new one;
none of it is secret. A row whose line was lost is rekeyed once more, which is harmless: its key stays the same.
"""

import os
from pathlib import Path
from typing import BinaryIO, Final, Self

import msgspec

VERSION: Final = 1
REKEYED: Final = "rekeyed"
STORING: Final = "storing"
"""The new EDEK is about to be put into the row. What came of it follows, unless the campaign was killed in between."""
FAILED: Final = "failed"
CHANGED: Final = "changed"
"""The row was changed by somebody else between being read and being written; it was left as it is."""


class Campaign(msgspec.Struct, frozen=True):
    """What a journal belongs to."""

    source: str
    new_tenant: str | None
    version: int = VERSION


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of one row."""

    key: str
    outcome: str
    tenant: str
    was: str
    now: str | None = None
    code: int | None = None
    message: str | None = None


class JournalError(ValueError):
    """The journal is not one of this campaign."""


class Journal:
    """Owner: one campaign at a time."""

    def __init__(self, path: Path, campaign: Campaign) -> None:
        self._path = path
        self._campaign = campaign
        self._done: dict[str, int] = {}
        self._storing: dict[str, int] = {}
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        existed = self._path.exists()
        self._file = self._path.open("r+b" if existed else "w+b")
        if existed:
            try:
                self._read(self._file)
            except JournalError:
                self._file.close()
                raise
        if not self._file.tell():
            self._append(self._campaign)
        return self

    def __exit__(self, *_exception: object) -> None:
        assert self._file is not None
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    @property
    def rekeyed(self) -> int:
        """How many rows are rekeyed."""
        return len(self._done)

    def is_done(self, key: str, edek: str) -> bool:
        """Whether a row is rekeyed already. Raises: JournalError when the row had another EDEK then."""
        outcome = self._outcome(self._done.get(key))
        if outcome is None:
            return False
        if edek not in {outcome.was, outcome.now}:
            raise JournalError(f"row {key} is not what it was when {self._path} was begun: use a new journal")
        return True

    def new_edek(self, key: str) -> str | None:
        """The new EDEK of a row; None where it was not rekeyed."""
        outcome = self._outcome(self._done.get(key))
        return None if outcome is None else outcome.now

    def begun(self, key: str) -> str | None:
        """The new EDEK that was being put into a row when the campaign was killed."""
        outcome = self._outcome(self._storing.get(key))
        return None if outcome is None else outcome.now

    def record(self, outcome: Outcome) -> None:
        """Append one outcome. It survives the end of this process from here on."""
        self._note(outcome, self._append(outcome))

    def _note(self, outcome: Outcome, at: int) -> None:
        self._storing.pop(outcome.key, None)
        if outcome.outcome == REKEYED:
            self._done[outcome.key] = at
        elif outcome.outcome == STORING:
            self._storing[outcome.key] = at

    def _append(self, line: msgspec.Struct) -> int:
        assert self._file is not None
        at = self._file.seek(0, os.SEEK_END)
        self._file.write(msgspec.json.encode(line) + b"\n")
        self._file.flush()
        return at

    def _outcome(self, at: int | None) -> Outcome | None:
        if at is None:
            return None
        assert self._file is not None
        self._file.seek(at)
        return msgspec.json.decode(self._file.readline(), type=Outcome)

    def _read(self, file: BinaryIO) -> None:
        """Read what was done; a last line that was cut off by a kill is removed."""
        at, first = 0, True
        for line in file:
            if not line.endswith(b"\n"):
                break
            try:
                if first:
                    self._check(msgspec.json.decode(line, type=Campaign))
                else:
                    self._note(msgspec.json.decode(line, type=Outcome), at)
            except msgspec.DecodeError:
                raise JournalError(f"{self._path} is not a journal of a campaign") from None
            at, first = at + len(line), False
        file.seek(at)
        file.truncate()

    def _check(self, found: Campaign) -> None:
        if found != self._campaign:
            raise JournalError(
                f"{self._path} is the journal of another campaign ({found.source}, to "
                f"{found.new_tenant or 'the same tenants'}): name another one"
            )
