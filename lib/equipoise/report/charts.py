"""The kinds of picture in the report. Each returns inline SVG; titles stand outside, in the page's own type.

Row charts read from top to bottom in the order given. Heights grow with the rows, so that bars and letters keep their size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from equipoise.report.palette import BLUE, GRID, INK, MUTED, ORANGE, PAPER, QUALITATIVE, canvas, to_svg
from equipoise.report.words import number, percent

ROW_INCHES = 0.235
FRAME_INCHES = 0.62
"""Room for the x axis and its label."""

TICK = "|"
SIZES = {TICK: 110, "D": 26}
"""Areas of the marks that do not have the usual one, in square points."""

Text = Callable[[float], str]


@dataclass(frozen=True)
class Series:
    """Values of one thing in every row of a chart."""

    name: str
    values: Sequence[float]
    colour: str
    marker: str = "o"


@dataclass(frozen=True)
class Bubble:
    """A point with a size and a name."""

    name: str
    x: float
    y: float
    size: float


def bubbles(points: Sequence[Bubble], x_label: str, y_label: str, label: str) -> Markup:
    """Named circles whose areas are their sizes."""
    largest = max((p.size for p in points), default=1.0) or 1.0
    reach = max((p.y for p in points), default=1.0) - min((p.y for p in points), default=0.0)
    rising = sorted(points, key=lambda p: (p.y, p.name))
    heights = _spread([p.y for p in rising], 0.055 * reach)
    with canvas(4.6) as (drawing, (axes,)):
        for point, height in zip(rising, heights, strict=True):
            area = 1400.0 * point.size / largest
            axes.scatter([point.x], [point.y], s=area, color=BLUE, alpha=0.35, linewidths=0)
            axes.annotate(point.name, (point.x, height), ha="center", va="center", fontsize=7.6, color=INK)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.margins(x=0.16, y=0.16)
        thin_grid(axes)
        axes.grid(True)
        return to_svg(drawing, label, label)


def bars(
    labels: Sequence[str], parts: Sequence[Series], x_label: str, label: str, *, text: Text = number, is_share: bool = False
) -> Markup:
    """Horizontal bars, stacked when there are several parts; the total stands at the end of each."""
    with canvas(FRAME_INCHES + ROW_INCHES * len(labels) + (0.25 if len(parts) > 1 else 0.0)) as (drawing, (axes,)):
        left = [0.0] * len(labels)
        for part in parts:
            axes.barh(range(len(labels)), part.values, left=left, color=part.colour, height=0.66, label=part.name)
            left = [a + b for a, b in zip(left, part.values, strict=True)]
        for row, total in enumerate(left):
            axes.annotate(text(total), (total, row), (4, 0), textcoords="offset points", va="center", color=MUTED)
        name_rows(axes, labels)
        axes.set_xlabel(x_label)
        axes.set_xlim(0, max([*left, 1e-12]) * 1.14)
        thin_grid(axes, is_share=is_share)
        if len(parts) > 1:
            legend(axes, len(parts))
            if not is_share:
                axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        else:  # the numbers at the ends say it all
            axes.grid(False)
            axes.set_xticks([])
        return to_svg(drawing, label, label)


def dots(labels: Sequence[str], series: Sequence[Series], x_label: str, label: str) -> Markup:
    """One line per row from the smallest to the largest of its shares, a mark for each series."""
    with canvas(FRAME_INCHES + 0.3 + ROW_INCHES * len(labels)) as (drawing, (axes,)):
        columns = list(zip(*(s.values for s in series), strict=True))
        axes.hlines(range(len(labels)), [min(c) for c in columns], [max(c) for c in columns], color=GRID, linewidth=2.4, zorder=1)
        for one in series:
            width = 2.4 if one.marker == TICK else 0.0
            axes.scatter(
                one.values,
                range(len(labels)),
                s=SIZES.get(one.marker, 32),
                color=one.colour,
                marker=one.marker,
                label=one.name,
                zorder=3,
                linewidths=width,
            )
        name_rows(axes, labels)
        axes.set_xlabel(x_label)
        axes.set_xlim(left=0)
        thin_grid(axes, is_share=True)
        legend(axes, len(series))
        return to_svg(drawing, label, label)


def heat(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float | None]],
    label: str,
    *,
    middle: float = 0.0,
    reach: float | None = None,
    text: Text = percent,
    x_label: str = "",
) -> Markup:
    """A grid of cells: orange above `middle`, blue below, stronger the farther away, full colour at `reach`; None stays empty."""
    known = [v for row in values for v in row if v is not None]
    far = reach or max((abs(v - middle) for v in known), default=0.0) or 1.0
    with canvas(FRAME_INCHES + ROW_INCHES * 1.12 * len(rows)) as (drawing, (axes,)):
        for y, line in enumerate(values):
            for x, value in enumerate(line):
                if value is None:
                    continue
                strength = min(abs(value - middle) / far, 1.0)
                colour = ORANGE if value >= middle else BLUE
                axes.add_patch(
                    Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, facecolor=colour, alpha=0.05 + 0.65 * strength, linewidth=0)
                )
                axes.text(x, y, text(value), ha="center", va="center", fontsize=7.2, color=INK)
        name_rows(axes, rows)
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_xticks(range(len(columns)), columns, fontsize=7.6)
        axes.tick_params(axis="x", size=0)
        axes.set_xlabel(x_label)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return to_svg(drawing, label, label)


def areas(
    columns: Sequence[str], series: Sequence[tuple[str, Sequence[float]]], x_label: str, y_label: str, label: str
) -> Markup:
    """Stacked areas of named values over time, the first at the bottom, each named at its right edge."""
    with canvas(4.1) as (drawing, (axes,)):
        low, places, last = [0.0] * len(columns), range(len(columns)), len(columns) - 1
        middles: list[float] = []
        for i, (_, values) in enumerate(series):
            high = [a + b for a, b in zip(low, values, strict=True)]
            axes.fill_between(places, low, high, color=QUALITATIVE[i % len(QUALITATIVE)], alpha=0.72, linewidth=0)
            axes.plot(places, high, color=PAPER, linewidth=0.8)
            middles.append((low[-1] + high[-1]) / 2)
            low = high
        for i, y in enumerate(_spread(middles, max(low) * 0.052)):
            axes.annotate(
                series[i][0],
                (last, y),
                (6, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.4,
                fontweight="bold",
                color=QUALITATIVE[i % len(QUALITATIVE)],
                annotation_clip=False,
            )
        axes.set_xlim(0, last)
        axes.set_ylim(0, max(low))
        axes.set_xticks(places, columns, fontsize=7.6)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:g} %"))
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.spines["left"].set_visible(False)
        return to_svg(drawing, label, label)


def _spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Heights near the wanted ones, rising, at least `gap` apart."""
    placed: list[float] = []
    for y in wanted:
        placed.append(max(y, placed[-1] + gap) if placed else y)
    overflow = placed[-1] - max(wanted[-1], 0) if placed else 0.0
    for i in range(len(placed) - 1, -1, -1):
        limit = placed[i + 1] - gap if i + 1 < len(placed) else placed[i] - overflow
        placed[i] = min(placed[i], limit)
    return placed


def lines(
    columns: Sequence[str],
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    label: str,
    *,
    is_share: bool = False,
    level: tuple[str, float] | None = None,
) -> Markup:
    """Lines over time, a mark at each value; NaN leaves a gap. `level`: a dashed line that says what would be expected."""
    with canvas(2.7) as (drawing, (axes,)):
        for one in series:
            axes.plot(range(len(columns)), one.values, color=one.colour, marker=one.marker, markersize=4.5, label=one.name)
        if level is not None:
            axes.axhline(level[1], color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)), label=level[0])
        axes.set_ylim(bottom=0)
        axes.margins(y=0.12)
        axes.set_xticks(range(len(columns)), columns, fontsize=7.6)
        axes.grid(axis="y")
        axes.spines["left"].set_visible(False)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:g} %" if is_share else tick(v)))
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        if len(series) + (level is not None) > 1:
            legend(axes, len(series) + (level is not None))
        return to_svg(drawing, label, label)


def columns(
    labels: Sequence[str], parts: Sequence[Series], x_label: str, y_label: str, label: str, height: float = 2.6
) -> Markup:
    """Upright bars of counts, stacked when there are several parts: a histogram whose labels name the bins."""
    with canvas(height) as (drawing, (axes,)):
        low = [0.0] * len(labels)
        for part in parts:
            axes.bar(range(len(labels)), part.values, bottom=low, color=part.colour, width=0.86, label=part.name)
            low = [a + b for a, b in zip(low, part.values, strict=True)]
        axes.set_xticks(range(len(labels)), labels, fontsize=8.0)
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))
        axes.grid(axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        if len(parts) > 1:
            legend(axes, len(parts))
        return to_svg(drawing, label, label)


def name_rows(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.45, -0.55)
    axes.spines["left"].set_visible(False)


def at_the_edge(axes: Axes, row: float, text: str, colour: str | None) -> None:
    """A row's number right of the picture: bold in its colour, or plain and muted without one."""
    axes.annotate(
        text,
        (1.0, row),
        (2, 0),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        va="center",
        ha="left",
        fontsize=8.0,
        fontweight="bold" if colour else "normal",
        color=colour or MUTED,
    )


def thin_grid(axes: Axes, *, is_share: bool = False) -> None:
    axes.grid(axis="x")
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="x", size=0)
    if is_share:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{tick(100 * v)} %"))
    else:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: tick(v)))


def tick(value: float) -> str:
    """A number on an axis: thousands apart, no powers of ten, no needless noughts."""
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6f}".rstrip("0").rstrip(".")
    return text.replace("-", "−") if text not in ("-0", "") else "0"


def legend(axes: Axes, entries: int) -> None:
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=entries,
        borderaxespad=0.2,
        handletextpad=0.4,
        columnspacing=1.4,
        handlelength=1.1,
    )
