"""The model card, as the model carries it, and how its training went."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import markdown  # type: ignore[import-untyped]
from markupsafe import Markup

from equipoise.report.page import Block, Figure, NumberTable, Prose, Section, empty
from equipoise.report.palette import BLUE, GREY
from equipoise.report.score_charts import Curve, curve
from equipoise.report.words import number

ANCHOR, TITLE = "model", "Model card"
FEWEST_PASSES, POINTS = 2, 100
FOLDED = "Show"
"""Heading of a code block, which is folded away."""

UNTRUSTED = (
    "html",
    "link",
    "reference",
    "short_reference",
    "image_link",
    "image_reference",
    "short_image_ref",
    "autolink",
    "automail",
)
"""Inline forms of Markdown that could bring foreign HTML or addresses into the page."""


def section(model_id: str | None, card: str | None, log: str | None = None) -> Section:
    """MODEL_CARD.md of the current model, under the curves of its training where `log`, its metrics.jsonl, is still there."""
    if not card or not card.strip():
        return empty(ANCHOR, TITLE, "The current model has no MODEL_CARD.md.")
    lead = f"Model {model_id}, in the words it was published with." if model_id else "In the words the model was published with."
    return Section(ANCHOR, TITLE, (lead,), (*curves(log or ""), Prose(to_html(card))))


def curves(log: str) -> list[Block]:
    """Loss by step, in training and on validation; nothing without two passes. Of a step that was made again, the last counts."""
    found: dict[str, dict[int, float]] = {"train": {}, "validation": {}}
    for line in log.splitlines():
        record = json.loads(line)
        if record["kind"] in found and math.isfinite(record["loss"]):
            found[record["kind"]][int(record["step"])] = float(record["loss"])
    passes = sorted(found["validation"].items())
    if len(passes) < FEWEST_PASSES:
        return []
    best = min(passes, key=lambda p: p[1])
    title = (
        f"Training: the validation loss went from {number(passes[0][1])} to {number(best[1])} nats at step {best[0]:,}"
        if best[0]
        else f"Training: no step made the validation loss of {number(best[1])} nats lower"
    )
    lines = [_line("validation", passes, BLUE, dotted=True)]
    if found["train"]:
        lines.insert(0, _line("batches of training", _thinned(sorted(found["train"].items())), GREY))
    svg = curve(lines, "step", "loss, nats", title)
    note = "The weighted sum that is trained on. A batch is few examples, with dropout: compare the passes with one another."
    rows = [(f"{step:,}", number(loss)) for step, loss in passes]
    return [Figure(title, svg, note, NumberTable("Validation loss by step", ("step", "loss, nats"), rows))]


def _line(name: str, points: Sequence[tuple[float, float]], colour: str, *, dotted: bool = False) -> Curve:
    blank: list[float | None] = [None] * len(points)
    labels = [f"{y:.3f}" if dotted and i in (0, len(points) - 1) else "" for i, (_, y) in enumerate(points)]
    return Curve(name, [x for x, _ in points], [y for _, y in points], labels, blank, blank, colour)


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[float, float]]:
    """Means of runs of steps, POINTS of them at most."""
    run = -(-len(points) // POINTS)
    parts = [points[i : i + run] for i in range(0, len(points), run)]
    return [(sum(x for x, _ in p) / len(p), sum(y for _, y in p) / len(p)) for p in parts]


def to_html(text: str) -> Markup:
    """Markdown as HTML; HTML and links in it are shown as text, never interpreted."""
    maker = markdown.Markdown(extensions=["tables", "sane_lists", "fenced_code"])
    maker.preprocessors.deregister("html_block")
    for pattern in UNTRUSTED:
        maker.inlinePatterns.deregister(pattern)
    html = (
        maker.convert(text).replace("<pre>", f"<details><summary>{FOLDED}</summary><pre>").replace("</pre>", "</pre></details>")
    )
    return Markup(html)
