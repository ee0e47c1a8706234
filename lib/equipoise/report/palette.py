"""Colours of the report, and how a matplotlib figure becomes inline SVG that follows the page's light or dark scheme.

Every colour is drawn with its light value and then replaced by a CSS variable, so one figure serves both schemes.
The hues are those of Okabe & Ito, "Color Universal Design" (2008), which colour-blind readers can tell apart,
darkened or lightened per scheme until they stand out from the page.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from equipoise.report.fit import fit

INK, MUTED, GRID, PAPER = "#1d2530", "#5d6b7c", "#dde3ea", "#fdfdfc"
BLUE, ORANGE, GREEN, PINK = "#0b66ad", "#c65102", "#04805d", "#a93d7f"
SKY, AMBER, BROWN, GREY = "#3d9fd9", "#b98600", "#7d5a3c", "#8a96a3"

VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    PAPER: "paper",
    BLUE: "blue",
    ORANGE: "orange",
    GREEN: "green",
    PINK: "pink",
    SKY: "sky",
    AMBER: "amber",
    BROWN: "brown",
    GREY: "grey",
}
"""Colour as drawn → name of the CSS variable that holds it per scheme."""

QUALITATIVE = (BLUE, ORANGE, GREEN, PINK, SKY, AMBER, BROWN)
"""Colours for categories, most distinct first; GREY is kept for "everything else"."""

WIDTH_INCHES = 8.0
STYLE = {
    "svg.fonttype": "none",  # text stays text: selectable, in the page's font
    "text.parse_math": False,  # names may hold dollar signs: two of them are not mathematics
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


@contextmanager
def canvas(height: float, columns: int = 1, *, share_y: bool = False) -> Iterator[tuple[Drawing, list[Axes]]]:
    """A drawing of full page width, `height` in inches, with its axes from left to right; drawn in the report's style."""
    with rc_context(STYLE):
        drawing = Drawing(figsize=(WIDTH_INCHES, height), layout="constrained")
        axes = drawing.subplots(1, columns, squeeze=False, sharey=share_y)
        yield drawing, list(axes[0])


CLEANING = (
    (re.compile(r"<metadata>.*?</metadata>", re.S), ""),
    (re.compile(r"<defs>\s*<style.*?</style>\s*</defs>", re.S), ""),  # its rule for * would reach the whole page
    (re.compile(r'<g id="[^"]*"/>'), ""),
    (re.compile(r'<g id="[^"]*">'), "<g>"),  # repeated from figure to figure
    (re.compile(r" font-family: [^;\"]*;"), ""),  # the page's own
    (re.compile(r' transform="rotate\(-0 [^"]*\)"'), ""),
    (re.compile(r"\s*\n\s*"), "\n"),
)
"""What matplotlib writes that an inline figure must not or need not have."""


def to_svg(drawing: Drawing, label: str, salt: str) -> Markup:
    """The drawing as an inline SVG element; `salt` keeps the ids of two figures on a page apart, `label` is read aloud."""
    fit(drawing)
    target = io.StringIO()
    with rc_context({**STYLE, "svg.hashsalt": salt}):
        drawing.savefig(target, format="svg", transparent=True, metadata={"Date": None})
    text = target.getvalue()
    text = text[text.index("<svg") :]
    head = re.search(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', text, re.S)
    assert head is not None, "matplotlib's SVG has a viewBox"
    text = f'<svg viewBox="{head[1]}" role="img" aria-label="{escape(label)}">' + text[head.end() :]
    for pattern, replacement in CLEANING:
        text = pattern.sub(replacement, text)
    for colour, name in VARIABLES.items():
        text = text.replace(colour, f"var(--{name})")
    return Markup(text)
