"""The model card, as the model carries it."""

from __future__ import annotations

import markdown  # type: ignore[import-untyped]
from markupsafe import Markup

from equipoise.report.page import Prose, Section, empty

ANCHOR, TITLE = "model", "Model card"
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


def section(model_id: str | None, card: str | None) -> Section:
    """MODEL_CARD.md of the current model."""
    if not card or not card.strip():
        return empty(ANCHOR, TITLE, "The current model has no MODEL_CARD.md.")
    lead = f"Model {model_id}, in the words it was published with." if model_id else "In the words the model was published with."
    return Section(ANCHOR, TITLE, (lead,), (Prose(to_html(card)),))


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
