"""What a benchmark says: a figure, its goal, the ratio of one run, its spread, and whether the goal is reached.

``python -m bench.table FIGURES.json`` prints saved figures as the Markdown table of docs/performance.md.
"""

import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table


class Row(NamedTuple):
    """One figure. ``values`` are those of the interleaved rounds; the median counts."""

    figure: str
    goal: str
    limit: float
    at_least: bool
    values: Sequence[float]
    detail: str
    unit: str = "x"

    @property
    def median(self) -> float:
        """The figure."""
        return statistics.median(self.values)

    @property
    def passed(self) -> bool:
        """Whether the goal is reached."""
        return self.median >= self.limit if self.at_least else self.median <= self.limit


def print_rows(rows: Sequence[Row]) -> None:
    """Print one table."""
    table = Table("Figure", "Goal", "Measured", "Spread", "", "Raw", title="Benchmarks: ratios of one interleaved run")
    for row in rows:
        spread = f"{min(row.values):.2f}-{max(row.values):.2f}" if len(row.values) > 1 else ""
        verdict = "[green]pass[/]" if row.passed else "[red]short[/]"
        table.add_row(row.figure, row.goal, f"{row.median:.2f} {row.unit}", spread, verdict, row.detail)
    Console().print(table)


def save_rows(rows: Sequence[Row], path: Path) -> None:
    """Keep the figures as JSON, for the plot and for comparing runs."""
    path.write_text(
        json.dumps([{**row._asdict(), "median": row.median, "passed": row.passed} for row in rows], indent=1) + "\n"
    )


def markdown(figures: Sequence[Row]) -> str:
    """Return the figures as a Markdown table."""
    lines = ["| figure | goal | measured | spread | | raw |", "| --- | --- | --- | --- | --- | --- |"]
    for row in figures:
        spread = f"{min(row.values):.2f}–{max(row.values):.2f}" if len(row.values) > 1 else ""  # noqa: RUF001 - a range
        verdict = "reached" if row.passed else "**short**"
        measured = f"{row.median:,.2f} {row.unit}".removesuffix(".00 ").strip()
        lines.append(f"| {row.figure.strip()} | {row.goal} | {measured} | {spread} | {verdict} | {row.detail} |")
    return "\n".join(lines)


def main() -> None:
    """Print saved figures as Markdown."""
    saved = json.loads(Path(sys.argv[1]).read_text())
    sys.stdout.write(markdown([Row(**{name: each[name] for name in Row._fields}) for each in saved]) + "\n")


if __name__ == "__main__":
    main()
