"""Pictures of what is watched: a number day by day, inside or outside what it usually is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import matplotlib.dates as mdates
from markupsafe import Markup

from equipoise.report.palette import BLUE, GRID, MUTED, ORANGE, canvas, to_svg


@dataclass(frozen=True)
class Watched:
    """One day: what was seen, where warn begins below and above (None: nowhere), and whether it is outside."""

    day: date
    value: float
    low: float | None
    high: float | None
    outside: bool


def watched(days: Sequence[Watched], y_label: str, label: str) -> Markup:
    """A line over a band; days outside it are orange."""
    with canvas(2.5) as (drawing, (axes,)):
        x = [d.day for d in days]
        reach = max([d.value for d in days] + [d.high for d in days if d.high is not None])
        known = [d for d in days if d.low is not None or d.high is not None]
        if known:
            low = [d.low if d.low is not None else 0.0 for d in known]
            high = [d.high if d.high is not None else reach for d in known]
            axes.fill_between([d.day for d in known], low, high, color=GRID, alpha=0.7, linewidth=0, label="usual")  # type: ignore[arg-type]
        axes.plot(x, [d.value for d in days], color=BLUE, linewidth=1.6, marker="o", markersize=3.4, label="seen")  # type: ignore[arg-type]
        wrong = [d for d in days if d.outside]
        axes.scatter([d.day for d in wrong], [d.value for d in wrong], color=ORANGE, s=42, zorder=4)  # type: ignore[arg-type]
        axes.xaxis.set_major_locator(mdates.WeekdayLocator(byweekday=mdates.MO))
        axes.xaxis.set_major_formatter(mdates.DateFormatter("%d %b"))
        axes.set_ylabel(y_label)
        axes.set_ylim(bottom=0)
        axes.tick_params(colors=MUTED)
        axes.grid(True, axis="y")
        return to_svg(drawing, label, label)
