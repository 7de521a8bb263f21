"""Draws saved figures as an SVG: each as a bar against its goal. ``python -m bench.plot FIGURES.json OUT.svg``."""

import json
import sys
from html import escape
from pathlib import Path
from typing import Any

_ROW, _LEFT, _BAR, _RIGHT = 26, 380, 300, 190
_GOOD, _SHORT, _GOAL = "#2f7d4f", "#b5542c", "#555555"
_MOST = 2.0


def _share(figure: dict[str, Any]) -> float:
    """How well a figure does against its goal: 1 is exactly reached, more is better."""
    value, limit = figure["median"], figure["limit"]
    if figure["at_least"]:
        return float(value / limit)
    return _MOST if value == 0 else float(min(limit / value, 1000.0)) if limit else 0.0


def _row(number: int, figure: dict[str, Any]) -> str:
    y = 44 + number * _ROW
    width = _BAR / _MOST * min(_share(figure), _MOST)
    colour = _GOOD if figure["passed"] else _SHORT
    said = f"{figure['median']:.2f} {figure['unit']} ({figure['goal']})".replace("  ", " ")
    return (
        f'<text x="{_LEFT - 10}" y="{y + 14}" text-anchor="end">{escape(figure["figure"].strip())}</text>'
        f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="18" rx="3" fill="{colour}"/>'
        f'<text x="{_LEFT + _BAR + 10}" y="{y + 14}">{escape(said)}</text>'
    )


def draw(figures: list[dict[str, Any]]) -> str:
    """Return the picture."""
    height = 60 + len(figures) * _ROW
    goal_x = _LEFT + _BAR / _MOST
    rows = "\n".join(_row(number, figure) for number, figure in enumerate(figures))
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _BAR + _RIGHT}" height="{height}"
 font-family="system-ui, sans-serif" font-size="13">
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="{goal_x}" y="24" text-anchor="middle" fill="{_GOAL}">goal</text>
{rows}
<line x1="{goal_x}" y1="30" x2="{goal_x}" y2="{height - 10}" stroke="{_GOAL}" stroke-dasharray="4 3"/>
</svg>
"""


def main() -> None:
    """Draw."""
    source, target = map(Path, sys.argv[1:])
    target.write_text(draw(json.loads(source.read_text())))


if __name__ == "__main__":
    main()
