"""Titles and axis labels of a drawing, broken into lines where they would run into their neighbours or out of the picture."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.textpath import TextPath

POINTS = 72.0
"""Points in an inch."""

APART = 8.0
"""Points kept free beside a title or a label."""


def fit(drawing: Drawing) -> None:
    """Lays the drawing out and breaks what is too wide; the drawing grows by the lines that are added.

    A title begins at the left of its axes and may reach to the next axes or the drawing's end; a label of the x axis is centred
    below its axes and may reach half the way to the next axes, or to the drawing's ends.
    """
    engine = drawing.get_layout_engine()
    if engine is None:
        raise ValueError("drawing without a layout engine: expected one of palette.canvas")
    engine.execute(drawing)
    width = drawing.get_figwidth() * POINTS
    panels = [axes for axes in drawing.axes if axes.axison]
    spans = [_span(axes, width) for axes in panels]
    grown = [0.0, 0.0]
    for place, (axes, (left, right)) in enumerate(zip(panels, spans, strict=True)):
        before = (spans[place - 1][1] + left) / 2 if place else 0.0
        following = spans[place + 1][0] if place + 1 < len(spans) else width
        after = (right + following) / 2 if place + 1 < len(spans) else width
        title = axes.set_title(axes.get_title(loc="left"), loc="left")
        grown[0] = max(grown[0], _broken(title, following - left - APART))
        middle = (left + right) / 2
        grown[1] = max(grown[1], _broken(axes.xaxis.label, 2 * min(middle - before, after - middle) - APART))
    if any(grown):
        drawing.set_figheight(drawing.get_figheight() + sum(grown) / POINTS)


def _span(axes: Axes, width: float) -> tuple[float, float]:
    """Left and right end of the axes themselves, in points."""
    box = axes.get_position()
    return box.x0 * width, box.x1 * width


def _broken(text: Text, room: float) -> float:
    """Breaks the text into lines of `room` points at most, a longer word alone; points of height that this adds."""
    words, font = text.get_text().split(), text.get_fontproperties()
    lines: list[str] = []
    for word in words:
        if lines and _width(f"{lines[-1]} {word}", font) <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    if len(lines) > 1:
        text.set_text("\n".join(lines))
    return max(0, len(lines) - 1) * 1.25 * font.get_size_in_points()


def _width(text: str, font: FontProperties) -> float:
    return float(TextPath((0.0, 0.0), text, size=font.get_size_in_points(), prop=font).get_extents().width)
