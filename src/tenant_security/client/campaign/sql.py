"""Rows of a database, by a query of the operator's; new EDEKs go back by an update of the operator's.

The query's rows are first written to a file beside the journal: reading and writing do not then share a transaction,
the database is not held open for hours, and a campaign that goes on goes on with the same rows.
"""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import CursorResult, Engine, create_engine, text

from tenant_security.client.campaign.rows import Row
from tenant_security.client.streams import whole_file

_AT_ONCE = 1_000


class _Kept(msgspec.Struct, frozen=True):
    """One row as it was read. ``id`` is what the update is given; ``binary`` says that the column holds bytes."""

    id: int | str
    tenant: str
    edek: str
    binary: bool = False


class SqlTable:
    """``query`` selects ``id``, ``tenant`` and ``edek`` (the tenant may be left out when all rows are of one).

    ``update`` is given ``:id``, ``:edek`` and ``:was``, and changes a row only while it still holds ``:was``. A column
    with bytes is given bytes.
    """

    stores = True

    def __init__(self, url: str, query: str, update: str, kept: Path, one_tenant: str | None = None) -> None:
        if any(f":{name}" not in update for name in ("id", "edek", "was")):
            raise ValueError(
                "the update must use :id, :edek and :was, such as "
                "'UPDATE documents SET edek = :edek WHERE id = :id AND edek = :was'"
            )
        self._engine: Engine = create_engine(url)
        self._query = query
        self._update = text(update)
        self._kept = kept
        self._one_tenant = one_tenant

    def rows(self) -> Iterator[Row]:
        """Read all rows as they were when the campaign began; a row's key is its id."""
        for each in self._all():
            yield Row(str(each.id), each.tenant, each.edek)

    def store(self, row: Row, edek: str) -> bool:
        """Change one row in a transaction of its own; False when it no longer holds the old EDEK."""
        kept = self._ids[row.key]
        values: dict[str, Any] = {"id": kept[0], "edek": edek, "was": row.edek}
        if kept[1]:
            values |= {name: base64.b64decode(values[name]) for name in ("edek", "was")}
        with self._engine.begin() as connection:
            changed: CursorResult[Any] = connection.execute(self._update, values)
            if changed.rowcount > 1:
                raise ValueError(
                    f"the update would change {changed.rowcount} rows for the id {row.key!r}; it must be one"
                )
            return changed.rowcount == 1

    def finish(self, _new_edek: Callable[[str], str | None]) -> None:
        """Nothing is left to write."""
        self._engine.dispose()

    def _all(self) -> Iterator[_Kept]:
        if not self._kept.exists():
            self._read()
        self._ids: dict[str, tuple[int | str, bool]] = {}
        with self._kept.open("rb") as file:
            for line in file:
                kept = msgspec.json.decode(line, type=_Kept)
                self._ids[str(kept.id)] = (kept.id, kept.binary)
                yield kept

    def _read(self) -> None:
        seen: set[str] = set()
        with self._engine.connect() as connection, whole_file(self._kept) as file:
            found = connection.execution_options(stream_results=True, yield_per=_AT_ONCE).execute(text(self._query))
            for cells in found.mappings():
                kept = self._cells(dict(cells))
                if str(kept.id) in seen:
                    raise ValueError(f"the query returns the id {kept.id!r} twice")
                seen.add(str(kept.id))
                file.write(msgspec.json.encode(kept) + b"\n")

    def _cells(self, cells: dict[str, Any]) -> _Kept:
        missing = {"id", "edek"} | (set() if self._one_tenant else {"tenant"})
        if absent := sorted(each for each in missing if cells.get(each) in {None, ""}):
            raise ValueError(f"the query must return id, tenant and edek in every row; one has no {absent[0]!r}")
        number, edek = cells["id"], cells["edek"]
        binary = isinstance(edek, bytes | bytearray | memoryview)
        return _Kept(
            number if isinstance(number, int) else str(number),
            self._one_tenant or str(cells["tenant"]),
            base64.b64encode(bytes(edek)).decode("ascii") if binary else str(edek),
            binary,
        )
