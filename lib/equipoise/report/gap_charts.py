"""Pictures of differences that are in favour of something, against it, or undecided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from equipoise.report.charts import FRAME_INCHES, ROW_INCHES, at_the_edge, name_rows, thin_grid
from equipoise.report.palette import GREEN, GREY, MUTED, ORANGE, canvas, to_svg
from equipoise.report.words import signed


@dataclass(frozen=True)
class Gap:
    """A gain as a share of what it is measured against, above 0 in favour, with its 95 % interval; None: no interval."""

    value: float
    low: float | None
    high: float | None

    @property
    def sure(self) -> int:
        """1 in favour beyond doubt, −1 against beyond doubt, 0 undecided."""
        if self.low is None or self.high is None:
            return 0
        return 1 if self.low > 0 else -1 if self.high < 0 else 0


COLOURS = {1: GREEN, 0: GREY, -1: ORANGE}


def gaps(labels: Sequence[str], panels: Sequence[tuple[str, Sequence[Gap | None]]], label: str) -> Markup:
    """A panel per thing compared with, a row per label: green in favour, grey undecided, orange against; per cent, 0 is drawn."""
    with canvas(FRAME_INCHES + 0.25 + ROW_INCHES * len(labels), len(panels), share_y=True) as (drawing, all_axes):
        for axes, (title, rows) in zip(all_axes, panels, strict=True):
            for place, gap in enumerate(rows):
                if gap is not None:
                    _draw(axes, place, gap)
            axes.axvline(0.0, color=MUTED, linewidth=0.9)
            axes.set_title(title)
            axes.set_xlabel("per cent better →")
            thin_grid(axes, is_share=True)
            axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
            axes.spines["left"].set_visible(False)
            axes.margins(x=0.12)
        name_rows(all_axes[0], labels)
        return to_svg(drawing, label, label)


def _draw(axes: Axes, place: int, gap: Gap) -> None:
    colour = COLOURS[gap.sure]
    if gap.low is not None and gap.high is not None:
        axes.hlines(place, gap.low, gap.high, color=colour, linewidth=2.4, alpha=0.55)
    axes.scatter([gap.value], [place], s=38, color=colour, zorder=3, linewidths=0)
    at_the_edge(axes, place, signed(gap.value), colour if gap.sure else None)
