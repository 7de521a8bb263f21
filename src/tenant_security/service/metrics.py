"""Metrics that cost one dictionary update where they are counted and are rendered when somebody asks.

prometheus-client's own counters take a lock and a label lookup, more than the whole hot path may spend; so we count
in plain integers, on the one thread of the event loop, and hand the library finished families at scrape time.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
OTHER: Final = "other"
"""The label value that stands for all that came after a family was full."""

LATENCY_BUCKETS_S: Final = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
)


class Cell:
    """One count, bound to its labels once and then only added to."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Timing:
    """One histogram, bound to its labels once. ``cells`` holds a count for each bucket, the last the sum of seconds."""

    __slots__ = ("_buckets", "cells")

    def __init__(self, buckets: tuple[float, ...]) -> None:
        self._buckets = buckets
        self.cells: list[float] = [0] * (len(buckets) + 2)

    def observe(self, seconds: float) -> None:
        """Record one duration."""
        cells = self.cells
        cells[bisect_left(self._buckets, seconds)] += 1
        cells[-1] += seconds


class Counter:
    """A family of counters. Past ``most`` label sets everything new counts as ``other``: cardinality is bounded."""

    def __init__(self, name: str, help_text: str, labels: Sequence[str], *, most: int = 1000) -> None:
        self.name, self.help_text, self.labels, self._most = name, help_text, tuple(labels), most
        self._cells: dict[tuple[str, ...], Cell] = {}

    def cell(self, *labels: str) -> Cell:
        """Return the count of these labels, to keep and add to."""
        cell = self._cells.get(labels)
        if cell is None:
            key = labels if len(self._cells) < self._most else (OTHER,) * len(self.labels)
            cell = self._cells.setdefault(key, Cell())
        return cell

    def add(self, *labels: str, count: int = 1) -> None:
        """Count one event, or several."""
        self.cell(*labels).value += count

    def value(self, *labels: str) -> int:
        """The count so far."""
        cell = self._cells.get(labels)
        return cell.value if cell is not None else 0

    def collect(self) -> Iterator[Metric]:
        """Render the family."""
        family = CounterMetricFamily(self.name, self.help_text, labels=self.labels)
        for labels, cell in self._cells.items():
            family.add_metric(labels, cell.value)
        yield family


class Histogram:
    """A family of histograms with fixed buckets. Units: seconds."""

    def __init__(
        self,
        name: str,
        help_text: str,
        labels: Sequence[str],
        buckets: Sequence[float] = LATENCY_BUCKETS_S,
        *,
        most: int = 1000,
    ) -> None:
        self.name, self.help_text, self.labels, self._most = name, help_text, tuple(labels), most
        self._buckets = tuple(buckets)
        self._timings: dict[tuple[str, ...], Timing] = {}

    def timing(self, *labels: str) -> Timing:
        """Return the histogram of these labels, to keep and add to."""
        timing = self._timings.get(labels)
        if timing is None:
            key = labels if len(self._timings) < self._most else (OTHER,) * len(self.labels)
            timing = self._timings.setdefault(key, Timing(self._buckets))
        return timing

    def observe(self, seconds: float, *labels: str) -> None:
        """Record one duration."""
        self.timing(*labels).observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """Render the family."""
        family = HistogramMetricFamily(self.name, self.help_text, labels=self.labels)
        bounds = [f"{bound:g}" for bound in self._buckets] + ["+Inf"]
        for labels, timing in self._timings.items():
            cells = timing.cells
            total = 0.0
            rendered = []
            for bound, count in zip(bounds, cells[:-1], strict=True):
                total += count
                rendered.append((bound, total))
            family.add_metric(labels, rendered, cells[-1])
        yield family


Reading = Callable[[], float | dict[tuple[str, ...], float]]
"""Reads one value, or one for each label set, when somebody asks."""


class Read:
    """A family whose values are kept elsewhere and read when somebody asks."""

    def __init__(
        self,
        family: type[GaugeMetricFamily] | type[CounterMetricFamily],
        name: str,
        help_text: str,
        read: Reading,
        labels: Sequence[str] = (),
    ) -> None:
        self._family = family
        self.name, self.help_text, self.labels, self._read = name, help_text, tuple(labels), read

    def collect(self) -> Iterator[Metric]:
        """Render the family."""
        family = self._family(self.name, self.help_text, labels=self.labels)
        value = self._read()
        for labels, each in (value if isinstance(value, dict) else {(): value}).items():
            family.add_metric(labels, each)
        yield family


class Metrics:
    """All families of one daemon, in one registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=False)

    def counter(self, name: str, help_text: str, *labels: str, most: int = 1000) -> Counter:
        """Add a family of counters."""
        made = Counter(name, help_text, labels, most=most)
        self._registry.register(made)
        return made

    def histogram(self, name: str, help_text: str, *labels: str) -> Histogram:
        """Add a family of histograms."""
        made = Histogram(name, help_text, labels)
        self._registry.register(made)
        return made

    def gauge(self, name: str, help_text: str, read: Reading, *labels: str) -> None:
        """Add a value that is read at scrape time."""
        self._registry.register(Read(GaugeMetricFamily, name, help_text, read, labels))

    def tally(self, name: str, help_text: str, read: Reading, *labels: str) -> None:
        """Add a count that is kept elsewhere, only ever grows, and is read at scrape time."""
        self._registry.register(Read(CounterMetricFamily, name, help_text, read, labels))

    def render(self) -> bytes:
        """All families in Prometheus' text format."""
        return generate_latest(self._registry)
