"""Who may do something scarce now, who waits and who is turned away: fair between those who ask. Pure."""

from collections import OrderedDict
from enum import Enum
from typing import Generic, TypeVar

import msgspec

Ticket = TypeVar("Ticket")


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """How much room there is. Units: counts. An owner is a tenant; a group is whatever its owners' calls go to."""

    running: int
    """At a time, of all."""
    per_owner: int
    """At a time, of one owner in one group; more of them wait."""
    per_group: int
    """At a time, of one group."""
    waiting: int
    """That wait, of all; more are turned away."""
    waiting_per_owner: int
    """That wait, of one owner in one group; more are turned away."""

    def __post_init__(self) -> None:
        if min(self.running, self.per_owner, self.per_group) < 1 or min(self.waiting, self.waiting_per_owner) < 0:
            raise ValueError("bounds must be positive")


class Verdict(Enum):
    """What the bulkhead says to a call."""

    GO = "go"
    WAIT = "wait"
    FULL = "full"


class _Lane(Generic[Ticket]):
    """One owner's calls in one group: how many run and who waits, first come first."""

    __slots__ = ("running", "waiting")

    def __init__(self) -> None:
        self.running = 0
        self.waiting: OrderedDict[Ticket, None] = OrderedDict()


Place = tuple[str, bytes]
"""An owner in a group."""


class _Group:
    """All calls to one thing: how many run, and which lanes could go but for that."""

    __slots__ = ("lanes", "parked", "running")

    def __init__(self) -> None:
        self.lanes = 0
        self.running = 0
        self.parked: OrderedDict[Place, None] = OrderedDict()


class Bulkhead(Generic[Ticket]):
    """Decides who may call now, who waits and who is turned away.

    Within a lane the first to come is the first to go. When the overall bound is reached, lanes take turns, so an
    owner with a long queue does not keep out one with a single call; and when a group is at its bound, so do its
    owners. Who has no calls leaves no trace.

    Shape: between two calls to its methods no waiting ticket could go: its lane is at its bound, or its group, or all.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self._lanes: dict[Place, _Lane[Ticket]] = {}
        self._groups: dict[bytes, _Group] = {}
        self._turns: OrderedDict[Place, None] = OrderedDict()
        self.running = 0
        self.waiting = 0

    def __len__(self) -> int:
        """How many lanes have calls now."""
        return len(self._lanes)

    def enter(self, owner: str, ticket: Ticket, group: bytes = b"") -> Verdict:
        """Take a place or a place in the queue. After GO the caller must :meth:`leave`."""
        room, place = self._room, (owner, group)
        lane = self._lanes.get(place) or _Lane[Ticket]()
        calls = self._groups.get(group) or _Group()
        if lane.running < room.per_owner and calls.running < room.per_group and self.running < room.running:
            self._keep(place, lane, calls)
            self._start(lane, calls)
            return Verdict.GO
        if len(lane.waiting) >= room.waiting_per_owner or self.waiting >= room.waiting:
            return Verdict.FULL
        self._keep(place, lane, calls)
        lane.waiting[ticket] = None
        self.waiting += 1
        self._line_up(place, lane)
        return Verdict.WAIT

    def leave(self, owner: str, group: bytes = b"") -> Ticket | None:
        """Give a place back. Returns the ticket that has it now, if one waited for it."""
        place = owner, group
        lane, calls = self._lanes[place], self._groups[group]
        lane.running -= 1
        calls.running -= 1
        self.running -= 1
        self._unpark(calls)
        self._line_up(place, lane)
        self._tidy(place, lane)
        return self._next()

    def abandon(self, owner: str, ticket: Ticket, group: bytes = b"") -> None:
        """Leave the queue without having had a turn."""
        place = owner, group
        lane, calls = self._lanes[place], self._groups[group]
        del lane.waiting[ticket]
        self.waiting -= 1
        if not lane.waiting:
            calls.parked.pop(place, None)
            if place in self._turns:
                del self._turns[place]
                self._unpark(calls)
        self._tidy(place, lane)

    def _next(self) -> Ticket | None:
        """Give a free place to whose turn it is."""
        while self._turns:
            place, _ = self._turns.popitem(last=False)
            lane, calls = self._lanes[place], self._groups[place[1]]
            if calls.running >= self._room.per_group:
                calls.parked[place] = None
                continue
            ticket, _ = lane.waiting.popitem(last=False)
            self.waiting -= 1
            self._start(lane, calls)
            self._line_up(place, lane)
            return ticket
        return None

    def _start(self, lane: _Lane[Ticket], calls: _Group) -> None:
        lane.running += 1
        calls.running += 1
        self.running += 1

    def _keep(self, place: Place, lane: _Lane[Ticket], calls: _Group) -> None:
        if place not in self._lanes:
            self._lanes[place] = lane
            self._groups[place[1]] = calls
            calls.lanes += 1

    def _line_up(self, place: Place, lane: _Lane[Ticket]) -> None:
        """Put a lane that could use a place at the end of the turns, unless it waits for its group or is in them."""
        if lane.waiting and lane.running < self._room.per_owner and place not in self._turns:
            calls = self._groups[place[1]]
            if calls.parked or calls.running >= self._room.per_group:
                calls.parked.setdefault(place, None)
            else:
                self._turns[place] = None

    def _unpark(self, calls: _Group) -> None:
        """A group has room for one more: let one of the lanes that waited for it take part in the turns."""
        if calls.parked and calls.running < self._room.per_group:
            place, _ = calls.parked.popitem(last=False)
            self._turns.setdefault(place, None)

    def _tidy(self, place: Place, lane: _Lane[Ticket]) -> None:
        if not lane.running and not lane.waiting:
            del self._lanes[place]
            calls = self._groups[place[1]]
            calls.lanes -= 1
            if not calls.lanes:
                del self._groups[place[1]]
