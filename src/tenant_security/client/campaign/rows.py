"""What a campaign works through: rows with an EDEK, in CSV or JSON lines."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple, Protocol

from tenant_security.client.streams import whole_file


class Row(NamedTuple):
    """One EDEK. ``key`` names the row in its source and never changes."""

    key: str
    tenant_id: str
    edek: str


class Source(Protocol):
    """Where rows come from, and where new EDEKs go. ``stores`` says whether :meth:`store` changes anything."""

    stores: bool

    def rows(self) -> Iterator[Row]:
        """Read all rows, from the beginning. Raises: ValueError that says what is wrong with which row."""
        ...

    def store(self, row: Row, edek: str) -> bool:
        """Put the new EDEK in the old one's place at once, where the source can; False: the row has changed."""
        ...

    def finish(self, new_edek: Callable[[str], str | None]) -> None:
        """Write what could not be stored at once, asking for the new EDEK of each row's key."""
        ...


class Columns(NamedTuple):
    """What the columns, or members, are called. ``tenant`` is a column, or None where all rows are one tenant's."""

    edek: str = "edek"
    tenant: str | None = "tenant"
    one_tenant: str | None = None

    def row(self, key: str, cells: dict[str, object]) -> Row:
        """Read one row's cells. Raises: ValueError."""
        edek = cells.get(self.edek)
        tenant = self.one_tenant if self.one_tenant is not None else cells.get(self.tenant or "")
        if not isinstance(edek, str) or not edek:
            raise ValueError(f"row {key} has no EDEK in {self.edek!r}")
        if not isinstance(tenant, str) or not tenant:
            raise ValueError(f"row {key} has no tenant in {self.tenant!r}: name the column, or one tenant for all")
        return Row(key, tenant, edek)


class CsvFile:
    """A CSV file with a header line. The result is a copy with the new EDEKs, written when all is done."""

    stores = False

    def __init__(self, path: Path, out: Path, columns: Columns) -> None:
        self._path = path
        self._out = out
        self._columns = columns

    def rows(self) -> Iterator[Row]:
        """Read all rows; a row's key is its number, from 1."""
        with self._path.open(newline="", encoding="utf-8-sig") as file:
            for number, cells in enumerate(self._reader(file), start=1):
                if None in cells.values() or "" in cells:
                    raise ValueError(f"row {number} of {self._path} has not as many cells as the first line")
                yield self._columns.row(str(number), dict(cells))

    def store(self, _row: Row, _edek: str) -> bool:
        """Nothing yet: a file is written whole."""
        return True

    def finish(self, new_edek: Callable[[str], str | None]) -> None:
        """Write the copy."""
        with self._path.open(newline="", encoding="utf-8-sig") as file, whole_file(self._out) as sink:
            reader = self._reader(file)
            text = _Utf8(sink)
            writer = csv.DictWriter(text, reader.fieldnames or [], lineterminator="\n")
            writer.writeheader()
            for number, cells in enumerate(reader, start=1):
                writer.writerow({**cells, self._columns.edek: new_edek(str(number)) or cells[self._columns.edek]})

    def _reader(self, file: IO[str]) -> "csv.DictReader[str]":
        reader = csv.DictReader(file, restkey="", strict=True)
        if self._columns.edek not in (reader.fieldnames or []):
            raise ValueError(f"{self._path} has no column {self._columns.edek!r} in its first line")
        return reader


class JsonLines:
    """One JSON object per line. The result is a copy with the new EDEKs, written when all is done."""

    stores = False

    def __init__(self, path: Path, out: Path, columns: Columns) -> None:
        self._path = path
        self._out = out
        self._columns = columns

    def rows(self) -> Iterator[Row]:
        """Read all rows; a row's key is its line's number, from 1."""
        for number, cells in self._objects():
            yield self._columns.row(str(number), cells)

    def store(self, _row: Row, _edek: str) -> bool:
        """Nothing yet: a file is written whole."""
        return True

    def finish(self, new_edek: Callable[[str], str | None]) -> None:
        """Write the copy."""
        with whole_file(self._out) as sink:
            for number, cells in self._objects():
                edek = new_edek(str(number)) or cells[self._columns.edek]
                sink.write(json.dumps({**cells, self._columns.edek: edek}, ensure_ascii=False).encode() + b"\n")

    def _objects(self) -> Iterator[tuple[int, dict[str, object]]]:
        with self._path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    cells = json.loads(line)
                except ValueError:
                    cells = None
                if not isinstance(cells, dict):
                    raise ValueError(  # noqa: TRY004 - it is the file that is wrong, not a caller
                        f"line {number} of {self._path} is not a JSON object"
                    )
                yield number, cells


class _Utf8:
    """Text to a binary file."""

    def __init__(self, sink: IO[bytes]) -> None:
        self._sink = sink

    def write(self, text: str) -> int:
        return self._sink.write(text.encode())
