"""Pictures: well-formed SVG that carries its numbers and follows the page's colours."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from itertools import pairwise

import pytest
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.transforms import BboxBase

from equipoise.report import charts, score_charts
from equipoise.report.charts import Series
from equipoise.report.fit import fit
from equipoise.report.palette import BLUE, GREEN, ORANGE, VARIABLES, canvas
from equipoise.report.score_charts import Curve, Panel, Whisker

NAMES = ["a & <b>", "second"]
PICTURES: dict[str, Callable[[], Markup]] = {
    "bars": lambda: charts.bars(NAMES, [Series("x", [1.0, 2.0], BLUE), Series("y", [0.0, 3.0], GREEN)], "users", "Bars"),
    "dots": lambda: charts.dots(
        NAMES, [Series("x", [0.1, 0.2], BLUE), Series("y", [0.3, 0.1], ORANGE, charts.TICK)], "share", "Dots"
    ),
    "heat": lambda: charts.heat(NAMES, ["w1", "w2"], [[0.5, None], [-0.5, 0.0]], "Heat"),
    "areas": lambda: charts.areas(["w1", "w2"], [("a", [0.1, 0.2]), ("b", [0.2, 0.1])], "window", "share", "Areas"),
    "columns": lambda: charts.columns(NAMES, [Series("x", [3.0, 4.0], BLUE)], "bin", "users", "Columns"),
    "whiskers": lambda: score_charts.whiskers(
        NAMES, [Panel("NDCG", "", [Whisker(0.2215, 0.21, 0.23, best=True), None])], "Whiskers", zero=True
    ),
    "curve": lambda: score_charts.curve(
        [Curve("c", [0.1, 0.2], [0.3, 0.2], ["λ=0", "λ=1"], [0.2, None], [0.4, None])], "x", "y", "Curve"
    ),
}


def tight(axes: Axes) -> BboxBase:
    box = axes.get_tightbbox()
    assert box is not None
    return box


@pytest.mark.parametrize("name", PICTURES)
def test_svg_is_whole_named_and_follows_the_scheme(name: str) -> None:
    svg = str(PICTURES[name]())
    root = ET.fromstring(svg.replace("<svg ", '<svg xmlns:xlink="http://www.w3.org/1999/xlink" ', 1))
    assert root.get("role") == "img" and root.get("aria-label")
    assert not [c for c in VARIABLES if c in svg], "colours are variables"
    assert set(re.findall(r"#[0-9a-f]{6}(?=[;\"])", svg)) <= {"#ffffff", "#000000"} - {"#ffffff"}, "and no other colour is drawn"
    assert "<style" not in svg and "font-family" not in svg
    used = set(re.findall(r'url\(#([^)]+)\)|xlink:href="#([^"]+)"', svg))
    assert {"".join(u) for u in used} == {e.get("id") for e in root.iter() if e.get("id")}, "ids are those that are used"


def test_the_same_picture_is_the_same_text_and_two_pictures_share_no_id() -> None:
    def ids(svg: Markup) -> set[str]:
        return set(re.findall(r' id="([^"]+)"', svg))

    assert PICTURES["dots"]() == PICTURES["dots"]()
    assert not ids(PICTURES["dots"]()) & ids(PICTURES["curve"]())


@pytest.mark.parametrize("name", ["toys_$0_$10", "$5_$ DEALS", "$\\frac$"])
def test_dollars_in_names_are_dollars(name: str) -> None:
    """Two of them are mathematics to matplotlib: letters in italics, or an error that ends the report."""
    assert f">{name}</text>" in str(charts.bars([name], [Series(name, [1.0], BLUE)], "users", name))
    assert f">{name}</text>" in str(charts.bubbles([charts.Bubble(name, 0.1, 0.2, 3.0)], "x", "y", "Bubbles"))


def test_bars_end_where_their_parts_add_up_to() -> None:
    svg = charts.bars(
        ["only"], [Series("x", [1.5], BLUE), Series("y", [2.5], GREEN)], "users", "Bars", text=lambda v: f"sum {v:g}"
    )
    assert "sum 4" in svg


def test_the_best_value_alone_is_bold_and_green() -> None:
    rows = [Whisker(0.2215, 0.21, 0.23, best=True), Whisker(0.2081, 0.2, 0.21)]
    svg = str(score_charts.whiskers(["a", "b"], [Panel("NDCG", "", rows)], "x"))
    texts = dict(re.findall(r'<text style="([^"]+)"[^>]*>(0\.2[0-9]{3})</text>', svg))
    bold = [value for style, value in texts.items() if "var(--green)" in style and "font-weight" in style]
    assert bold == ["0.2215"] and "0.2081" in texts.values()


@pytest.mark.parametrize("wanted", [[0.1, 0.11, 0.9], [0.5, 0.5, 0.5], [0.01, 0.99, 1.0]])
def test_labels_stay_apart_and_in_order(wanted: list[float]) -> None:
    placed = charts._spread(wanted, 0.05)
    assert all(b - a >= 0.05 - 1e-12 for a, b in pairwise(placed))
    assert placed[-1] <= max(wanted) + 1e-12


@pytest.mark.parametrize(
    ("value", "text"),
    [(1_500_000, "1,500,000"), (0.05, "0.05"), (-0.2, "−0.2"), (0.0, "0"), (-0.0, "0"), (2.5, "2.5"), (17, "17")],
)
def test_ticks(value: float, text: str) -> None:
    assert charts.tick(value) == text


def test_long_titles_and_labels_break_before_their_neighbours_and_inside_the_picture() -> None:
    rows = [Whisker(0.2, 0.1, 0.3), Whisker(0.3, 0.2, 0.4)]
    long = "Precision of the places that explore, difference"
    with canvas(2.0, 3, share_y=True) as (drawing, panels):
        height = drawing.get_figheight()
        for axes in panels:
            axes.set_title(long)
            axes.set_xlabel("category in the next window · cell: its share after the row's category ÷ its share of everybody's")
        fit(drawing)
        assert drawing.get_figheight() > height, "the lines have their own room"
        drawing.draw_without_rendering()
        below = [(box.x0, box.x1) for box in (axes.xaxis.label.get_window_extent() for axes in panels)]
        for axes in panels:
            axes.xaxis.label.set_visible(False)  # the box of the axes with their titles alone
        ends = [(box.x0, box.x1) for box in (tight(axes) for axes in panels)]
        assert all(left[1] <= right[0] for left, right in pairwise(ends)) and ends[-1][1] <= drawing.bbox.x1
        assert below[0][0] >= 0 and all(a[1] <= b[0] for a, b in pairwise(below)) and below[-1][1] <= drawing.bbox.x1
        assert " ".join(panels[0].get_title(loc="left").split()) == long
    svg = str(score_charts.whiskers(["a", "b"], [Panel(long, "", rows)] * 3, "x"))
    assert f">{long}</text>" not in svg and ">Precision of the" in svg


def test_what_fits_stays_on_its_line() -> None:
    with canvas(2.0, 2) as (drawing, panels):
        panels[0].set_title("Recall@10")
        panels[0].set_xlabel("more is better →")
        fit(drawing)
        assert (panels[0].get_title(loc="left"), panels[0].get_xlabel()) == ("Recall@10", "more is better →")
        assert drawing.get_figheight() == 2.0
