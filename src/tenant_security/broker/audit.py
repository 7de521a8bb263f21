"""What was done, by whom, in a chain of hashes: a row that is changed, removed or slipped in shows.

Shape: ``hash`` = SHA-256(``previous`` || the row as JSON). ``previous`` is the hash of the row before; the first
row's is 32 zero bytes. Rows are numbered from 1 for each vendor, without gaps.

Who can rewrite the whole table can rewrite the whole chain; what holds them is a hash that was noted elsewhere, which
``audit verify --expect`` compares and every security event stream may carry.

Source: docs/broker/audit.md.
"""

import hashlib
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

import msgspec

GENESIS: Final = bytes(32)

ActorKind = Literal["person", "service", "author", "api-key", "operator", "system"]


class Actor(msgspec.Struct, frozen=True):
    """Who does something. ``operator`` is whoever runs the broker's own commands, ``system`` the broker itself."""

    kind: ActorKind
    id: str
    name: str


SYSTEM: Final = Actor("system", "broker", "the broker")


class AuditRow(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was done. ``tenant`` is a tenant's id, or empty; ``detail`` is JSON and holds no secret."""

    vendor: str
    seq: int
    at_ms: int
    actor_kind: str
    actor_id: str
    actor_name: str
    action: str
    tenant: str
    target: str
    detail: str

    def chained(self, previous: bytes) -> bytes:
        """Return this row's hash, 32 bytes."""
        return hashlib.sha256(previous + msgspec.json.encode(self)).digest()


class StoredRow(NamedTuple):
    """A row as it lies in the table."""

    row: AuditRow
    previous: bytes
    hash: bytes


class BrokenChain(NamedTuple):
    """The first row that does not fit, and why."""

    seq: int
    why: str


def first_break(rows: Iterable[StoredRow], *, after: bytes = GENESIS, next_seq: int = 1) -> BrokenChain | None:
    """Replay rows in order and return the first that was altered, or None when the chain is whole."""
    previous = after
    for stored in rows:
        if stored.row.seq != next_seq:
            return BrokenChain(next_seq, f"row {next_seq} is missing: the next one is {stored.row.seq}")
        if stored.previous != previous:
            return BrokenChain(next_seq, "it does not follow the row before it")
        if stored.row.chained(previous) != stored.hash:
            return BrokenChain(next_seq, "its content was changed after it was written")
        previous = stored.hash
        next_seq += 1
    return None
