"""What the logdriver says of itself when somebody asks: gauges at scrape time and the lines of ``/health``."""

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from tenant_security import __version__
from tenant_security.directory.refresher import DirectoryRefresher
from tenant_security.logdriver.dead_letters import DeadLetters
from tenant_security.logdriver.delivery import Delivery
from tenant_security.logdriver.lane import STDOUT, Lane
from tenant_security.logdriver.repeats import Repeats
from tenant_security.logdriver.spool import Spool
from tenant_security.service.metrics import Metrics
from tenant_security.service.ops import STATUS, Check, Health, Stage
from tenant_security.wire.service_api import MOST_TENANTS_REPORTED
from tenant_security.wire.service_api import Delivery as Said

_WHY_LETTERS: Final = 200
_WORST: Final = 20
"""How many tenants are named in metrics and on the health page: those whose events wait longest."""


class Parts(NamedTuple):
    """The parts of a logdriver that have something to say. ``reached``: of each proxy, whether it answers."""

    stage: Callable[[], Stage]
    refresher: DirectoryRefresher
    spool: Spool
    delivery: Delivery
    dead: DeadLetters
    repeats: Repeats
    reached: dict[str, bool]


def oldest_first(spool: Spool, now_ms: int) -> list[tuple[float, Lane]]:
    """Every lane in which something waits, with how long. Units: seconds."""
    waits = [(max(0.0, (now_ms - each.since_ms) / 1000), each) for each in spool.lanes.values() if each.waiting]
    return sorted(waits, key=lambda each: each[0], reverse=True)


def add_gauges(metrics: Metrics, parts: Parts) -> None:
    """Register every value that is read at scrape time."""
    spool, refresher = parts.spool, parts.refresher
    add, tally = metrics.gauge, metrics.tally

    def worst() -> dict[tuple[str, ...], float]:
        found: dict[tuple[str, ...], float] = {}
        for age, lane in oldest_first(spool, _now_ms())[:_WORST]:
            found[lane.key.tenant or "stdout", str(lane.key.sink)] = age
        return found

    add("tsl_ready", "1 while events are taken", lambda: parts.stage() is Stage.READY)
    add(
        "tsl_oldest_waiting_seconds",
        "How long the oldest event waits that a sink has not taken",
        lambda: max((age for age, _ in oldest_first(spool, _now_ms())), default=0.0),
    )
    add("tsl_worst_waiting_seconds", "The same for the tenants whose events wait longest", worst, "tenant", "sink")
    add("tsl_lanes", "Sinks of all tenants, standard output included", lambda: len(spool.lanes))
    add("tsl_lanes_waiting", "Sinks for which something waits", lambda: sum(x.waiting for x in spool.lanes.values()))
    add("tsl_lanes_in_trouble", "Sinks that do not take events now", lambda: len(parts.delivery.troubles))
    slots = parts.delivery.slots
    add(
        "tsl_sends",
        "Sends under way: quick, slow (for more than two seconds), or to a sink in trouble",
        lambda: {
            ("quick",): float(slots.quick),
            ("slow",): float(slots.slow),
            ("in_trouble",): float(slots.failing),
        },
        "pace",
    )
    add("tsl_spool_bytes", "What waits on the disk, and the journal", lambda: spool.used_bytes)
    add("tsl_spool_capacity_bytes", "How much may wait on the disk", lambda: spool.room.disk_bytes)
    add(
        "tsl_memory_bytes",
        "What waits in memory",
        lambda: sum(each.memory_bytes for each in spool.lanes.values()),
    )
    add("tsl_spool_full", "1 while no event is taken because there is no room", lambda: bool(spool.full))
    add(
        "tsl_proxies",
        "Proxies that events are fetched from, by whether they answer",
        lambda: {
            ("yes",): float(sum(parts.reached.values())),
            ("no",): float(len(parts.reached) - sum(parts.reached.values())),
        },
        "answers",
    )
    add("tsl_directory_tenants", "Tenants in the directory", lambda: len(refresher.current))
    add(
        "tsl_directory_age_seconds",
        "Seconds since the tenants were last read and found good; -1 for never",
        lambda: _age_s(refresher),
    )
    tally("tsl_stored_events", "Events that were put on the disk", lambda: spool.counts.stored)
    tally("tsl_shed_events", "Events that were given up because there was no room", lambda: spool.counts.shed)
    tally("tsl_repeated_events", "Events that proxies sent again and that were there", lambda: parts.repeats.dropped)
    tally("tsl_write_failures", "Failed writes to the disk", lambda: spool.counts.write_failures)
    tally("tsl_damaged_places", "Places of the spool that could not be read", lambda: damaged(spool))
    tally(
        "tsl_dead_letter_segments_dropped",
        "Files of dead letters that were given up for their tenant's bound",
        lambda: parts.dead.dropped_segments,
    )


def deliveries(parts: Parts) -> tuple[Said, ...]:
    """Say how tenants' events wait, those that wait longest first, for the broker's fleet page."""
    found: dict[str, Said] = {}
    for age_s, lane in oldest_first(parts.spool, _now_ms()):
        tenant, trouble = lane.key.tenant, parts.delivery.troubles.get(lane)
        if not tenant or (tenant not in found and len(found) >= MOST_TENANTS_REPORTED):
            continue
        before = found.get(tenant) or Said(tenant, 0, age_s)
        found[tenant] = Said(
            tenant,
            before.waiting + 1,
            max(before.lag_s, age_s),
            before.failed + (trouble is not None),
            before.last_error or (trouble.why[:_WHY_LETTERS] if trouble is not None else ""),
        )
    return tuple(found.values())


def damaged(spool: Spool) -> int:
    """Places where something unreadable was met since the start."""
    places = spool.journal.damage.places + spool.counts.damaged
    return places + sum(each.damaged_places for each in spool.lanes.values())


def health_of(parts: Parts) -> Health:
    """Say how the logdriver is."""
    spool, state = parts.spool, parts.refresher.state
    waiting = oldest_first(spool, _now_ms())
    troubled = [lane for _, lane in waiting if lane in parts.delivery.troubles]
    sinks = {
        "waiting": len(waiting),
        "oldestSeconds": round(waiting[0][0], 1) if waiting else 0.0,
        "inTrouble": len(parts.delivery.troubles),
        "troubles": [_trouble(parts, lane) for lane in troubled[:_WORST]],
    }
    disk = {
        "bytes": spool.used_bytes,
        "capacityBytes": spool.room.disk_bytes,
        "whenFull": spool.room.when_full.value,
        "shed": spool.counts.shed,
        "damagedPlaces": damaged(spool),
        "full": spool.full or None,
    }
    proxies = {"answer": sorted(k for k, v in parts.reached.items() if v), "silent": _silent(parts)}
    tenants = {
        "tenants": len(parts.refresher.current),
        "ageSeconds": round(_age_s(parts.refresher), 1),
        "quarantined": len(parts.refresher.current.quarantined),
        "lastError": state.last_error,
    }
    checks = [
        Check("tenants", "DOWN" if state.successes == 0 and not state.remembered else _warn(state.last_error), tenants),
        Check("spool", "DOWN" if spool.full else _warn(spool.counts.shed or damaged(spool)), disk),
        Check("proxies", _warn(_silent(parts)), proxies),
        Check("sinks", _warn(parts.delivery.troubles), sinks),
    ]
    return Health(STATUS[parts.stage()], __version__, checks)


def _trouble(parts: Parts, lane: Lane) -> dict[str, object]:
    trouble = parts.delivery.troubles[lane]
    return {
        "tenant": lane.key.tenant if lane.key != STDOUT else "standard output",
        "sink": lane.key.sink,
        "reason": trouble.why,
        "forSeconds": round(time.time() - trouble.since_s, 1),
        "failures": trouble.failures,
    }


def _silent(parts: Parts) -> list[str]:
    return sorted(name for name, answers in parts.reached.items() if not answers)


def _warn(trouble: object) -> str:
    return "WARN" if trouble else "UP"


def _age_s(refresher: DirectoryRefresher) -> float:
    age = refresher.state.age_s(time.time())
    return -1.0 if age is None else age


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
