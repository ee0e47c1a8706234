"""Pictures of how good methods are: dots with intervals, and curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from equipoise.report.charts import FRAME_INCHES, ROW_INCHES, at_the_edge, legend, name_rows, thin_grid
from equipoise.report.palette import BLUE, GREEN, GREY, INK, MUTED, ORANGE, canvas, to_svg
from equipoise.report.words import number

FAR = 3.0
"""Interquartile ranges beyond the quartiles at which a value is off the scale."""

FEWEST_PANELS = 2
"""A panel alone would stretch over the page; the rest stays empty."""


@dataclass(frozen=True)
class Whisker:
    """One method's value with its interval; `ours` is coloured, `best` bold; `mark` is a second value to compare with."""

    value: float
    low: float | None = None
    high: float | None = None
    ours: bool = False
    best: bool = False
    mark: float | None = None


@dataclass(frozen=True)
class Panel:
    """One metric over all methods; None where the method has no value for it."""

    title: str
    x_label: str
    rows: Sequence[Whisker | None]
    reference: float | None = None
    """Value of a thin line to compare the rows with."""


@dataclass(frozen=True)
class Curve:
    """A line through points (x, y), each with its own label; y_low and y_high are interval ends or None."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    labels: Sequence[str]
    y_low: Sequence[float | None]
    y_high: Sequence[float | None]
    colour: str = BLUE


def whiskers(methods: Sequence[str], panels: Sequence[Panel], label: str, *, zero: bool = False, alike: bool = False) -> Markup:
    """A panel per metric, a row per method: dot for the value, line for its 95 % interval, the best in bold.

    `zero` draws nought, `alike` gives all panels the same range.
    """
    wide = max(len(panels), FEWEST_PANELS)
    with canvas(FRAME_INCHES + 0.25 + ROW_INCHES * len(methods), wide, share_y=True) as (drawing, all_axes):
        ends = [scale(panel.rows, (0.0,) if zero else (), far=math.inf if alike else FAR) for panel in panels]
        if alike:
            ends = [(min(low for low, _ in ends), max(high for _, high in ends))] * len(panels)
        for axes, panel, (low, high) in zip(all_axes, panels, ends, strict=False):
            for row, one in enumerate(panel.rows):
                if one is not None:
                    _whisker(axes, row, one, low, high)
            if zero:
                axes.axvline(0.0, color=MUTED, linewidth=0.9)
            if panel.reference is not None:
                axes.axvline(panel.reference, color=MUTED, linewidth=0.9, linestyle=(0, (2, 3)))
            axes.set_title(panel.title)
            axes.set_xlabel(panel.x_label)
            axes.set_xlim(low, high)
            thin_grid(axes)
            axes.xaxis.set_major_locator(MaxNLocator(3 if wide > 2 else 5, steps=[1, 2, 5, 10]))
            axes.spines["left"].set_visible(False)
        for axes in all_axes[len(panels) :]:
            axes.set_axis_off()
        name_rows(all_axes[0], methods)
        return to_svg(drawing, label, label)


def scale(rows: Sequence[Whisker | None], wanted: Sequence[float] = (), far: float = FAR) -> tuple[float, float]:
    """Ends of the axis: room for all values but far outliers, which would squeeze the others (Tukey's outer fences, 1977).

    Ours, the best and `wanted` are always inside.
    """
    known = [one for one in rows if one is not None]
    if not known:
        return 0.0, 1.0
    values = np.array([one.value for one in known])
    first, third = np.quantile(values, (0.25, 0.75))
    reach = far * max(float(third - first), 1e-12)
    kept = [one for one in known if first - reach <= one.value <= third + reach or one.ours or one.best]
    ends = [v for one in kept for v in (one.value, one.low, one.high, one.mark) if v is not None] + list(wanted)
    low, high = min(ends), max(ends)
    room = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room


def _whisker(axes: Axes, row: int, one: Whisker, low: float, high: float) -> None:
    colour = BLUE if one.ours else GREY
    if not low <= one.value <= high:  # off the scale: an arrow at the edge; its number still stands beside it
        inset = 0.015 * (high - low)
        edge, marker = (low + inset, "<") if one.value < low else (high - inset, ">")
        axes.scatter([edge], [row], s=30, color=colour, marker=marker, linewidths=0)
    else:
        if one.low is not None and one.high is not None:
            axes.hlines(row, one.low, one.high, color=colour, linewidth=2.0, alpha=0.55)
        axes.scatter([one.value], [row], s=36, color=colour, zorder=3, linewidths=0)
    if one.mark is not None:
        axes.scatter([one.mark], [row], s=120, color=ORANGE, marker="|", linewidths=1.8, zorder=4)
    at_the_edge(axes, row, number(one.value), GREEN if one.best else None)


def curve(lines: Sequence[Curve], x_label: str, y_label: str, label: str, *, diagonal: bool = False) -> Markup:
    """Points joined in order, with whiskers, each labelled beside it; `diagonal` draws y = x from 0 to 1."""
    with canvas(3.9) as (drawing, (axes,)):
        if diagonal:
            axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (3, 3)))
        for line in lines:
            for x, low, high in zip(line.x, line.y_low, line.y_high, strict=True):
                if low is not None and high is not None:
                    axes.vlines(x, low, high, color=line.colour, alpha=0.35, linewidth=2.0)
            dotted = any(line.labels)
            rises = (line.y[-1] - line.y[0]) * (line.x[-1] - line.x[0]) >= 0
            side, align = (-1, "right") if rises else (1, "left")  # on the side where the line is not
            axes.plot(
                line.x, line.y, color=line.colour, linewidth=1.6, marker="o" if dotted else None, markersize=5.5, label=line.name
            )
            for x, y, name in zip(line.x, line.y, line.labels, strict=True):
                axes.annotate(name, (x, y), (side * 6, 4), textcoords="offset points", ha=align, color=INK, fontsize=8.4)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.grid(True)
        axes.margins(x=0.02 if diagonal else 0.1, y=0.02 if diagonal else 0.12)
        if len(lines) > 1:
            legend(axes, len(lines))
        return to_svg(drawing, label, label)
