"""Adds up what several workers counted, in Prometheus' text format. Pure.

Counters and histograms are summed, and a worker that is gone stays in the sum: a total that fell whenever a worker is
replaced would read as a restart of everything, and every rate drawn from it would show a spike.

A gauge is summed, or stands for its worst worker, as :data:`GAUGES` says; one that is not named there gets the label
``worker``, which is never wrong.

Source: Prometheus documentation, "Exposition formats", text-based format 0.0.4.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec
from prometheus_client.utils import floatToGoString

GAUGES: Final[Mapping[str, Callable[[Iterable[float]], float]]] = {
    "tsp_ready": max,
    "tsp_build_info": max,
    "tsp_revoked": max,
    "tsp_directory_from_copy": max,
    "tsp_directory_tenants": min,
    "tsp_directory_version": min,
    "tsp_directory_quarantined_tenants": max,
    "tsp_directory_rollbacks": max,
    "tsp_directory_age_seconds": max,
    "tsp_directory_refresh_failures": max,
    "tsp_leases": sum,
    "tsp_open_configs": sum,
    "tsp_tenant_secret_paths": sum,
    "tsp_kms_calls_in_flight": sum,
    "tsp_kms_calls_waiting": sum,
    "tsp_kms_configs_not_asked": max,
    "tsp_kms_idle_connections": sum,
    "tsp_name_lookups_in_flight": sum,
    "tsp_shared_values": sum,
    "tsp_outbox_events": sum,
    "tsp_outbox_capacity_events": sum,
    "tsp_connections": sum,
}
"""How a gauge of several workers becomes one: by the sum of what each holds, or by the worker that is worst off."""

_COUNTED: Final = frozenset({"counter", "histogram"})


class Family(msgspec.Struct):
    """One family. ``samples`` maps a sample's name and labels, as they were written, to its value."""

    head: list[str]
    kind: str = "untyped"
    samples: dict[str, float] = {}


def parse(text: bytes) -> dict[str, Family]:
    """Read the families of one worker. Raises: ValueError when this is not the format that we write."""
    families: dict[str, Family] = {}
    current: Family | None = None
    for line in text.decode().splitlines():
        if line.startswith("#"):
            _, what, name, rest = (*line.split(" ", 3), "")[:4]
            current = families.setdefault(name, Family([]))
            current.head.append(line)
            if what == "TYPE":
                current.kind = rest
        elif line:
            sample, _, value = line.rpartition(" ")
            if current is None or not sample:
                raise ValueError("a sample stands outside of a family")
            current.samples[sample] = float(value)
    return families


def render(families: Iterable[Family]) -> bytes:
    """Write families."""
    lines: list[str] = []
    for family in families:
        lines += family.head
        lines += [f"{sample} {_number(value)}" for sample, value in family.samples.items()]
    return "".join(f"{line}\n" for line in lines).encode()


class Totals:
    """What all workers of a supervisor have counted, those included that are gone.

    Workers are named by a serial that no other worker gets. Owner: the supervisor's event loop.
    """

    def __init__(self) -> None:
        self._gone: dict[str, Family] = {}
        self._last: dict[int, dict[str, Family]] = {}

    def saw(self, serial: int, text: bytes) -> None:
        """Note what a worker says now. Raises: ValueError."""
        self._last[serial] = parse(text)

    def lost(self, serial: int) -> None:
        """Keep the counts of a worker that is gone, as they were when it was last seen."""
        for name, family in self._last.pop(serial, {}).items():
            if family.kind in _COUNTED:
                _add(self._gone.setdefault(name, Family(family.head, family.kind, {})), family)

    def render(self, numbers: Mapping[int, int]) -> bytes:
        """Write the sums. ``numbers`` maps the serials of the workers whose gauges count to the workers' numbers."""
        families = {name: Family(each.head, each.kind, dict(each.samples)) for name, each in self._gone.items()}
        gauges: dict[str, dict[str, list[float]]] = {}
        for serial, seen in self._last.items():
            for name, family in seen.items():
                total = families.setdefault(name, Family(family.head, family.kind, {}))
                if family.kind in _COUNTED:
                    _add(total, family)
                elif serial in numbers:
                    label = None if name in GAUGES else numbers[serial]
                    for sample, value in family.samples.items():
                        gauges.setdefault(name, {}).setdefault(_labelled(sample, label), []).append(value)
        for name, samples in gauges.items():
            one = GAUGES.get(name, max)
            families[name].samples = {sample: float(one(values)) for sample, values in samples.items()}
        return render(families.values())


def _number(value: float) -> str:
    return str(floatToGoString(value))  # type: ignore[no-untyped-call]


def _add(total: Family, family: Family) -> None:
    for sample, value in family.samples.items():
        total.samples[sample] = total.samples.get(sample, 0.0) + value


def _labelled(sample: str, worker: int | None) -> str:
    if worker is None:
        return sample
    name, brace, labels = sample.partition("{")
    return f'{name}{{worker="{worker}",{labels}' if brace else f'{name}{{worker="{worker}"}}'
