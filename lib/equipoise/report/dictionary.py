"""The data dictionary: one section per table of the catalogue, as Markdown and as HTML.

`python -m equipoise.report.dictionary` writes docs/data_dictionary.md; a test says that the committed page is the generated one.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from equipoise.report.page import render
from equipoise.tables import CATALOGUE, Table

LAYERS = {
    "silver": "Cleaned input: what happened, to whom, with what.",
    "ops": "The runs themselves: what ran, what was rejected, what is published.",
    "feature": "What the learner and the ranking read.",
    "gold": "What people query. Every row also says its as-of date, its run, its model and whether the data are synthetic.",
}
"""Layers in the order that data flows through them, each with its purpose."""

INTRODUCTION = (
    "Made from the catalogue in `lib/equipoise/tables`; do not edit by hand: `python -m equipoise.report.dictionary` writes "
    "it again.",
    "A table lives at `<warehouse>/<layer>/<name>`. Columns are NOT NULL unless a meaning of null is given. *Slice* names the "
    "columns whose values a run replaces as a whole; *all* means that a run replaces every row.",
    "`make sql` opens a session with every table under the names below, and with the `v_current_…` views, which show the last "
    "published date only.",
)


def markdown(catalogue: Mapping[str, Table] = CATALOGUE) -> str:
    """The whole dictionary as one Markdown page."""
    parts = ["# Data dictionary", *INTRODUCTION, _overview(catalogue)]
    for layer, purpose in LAYERS.items():
        tables = [t for t in catalogue.values() if t.layer == layer]
        parts += [f"## {layer}", purpose, *(_table(t) for t in tables)] if tables else []
    return "\n\n".join(parts) + "\n"


def html(catalogue: Mapping[str, Table] = CATALOGUE) -> str:
    """The whole dictionary as one self-contained HTML page."""
    return render("dictionary.html.j2", layers=LAYERS, tables=list(catalogue.values()))


def _overview(catalogue: Mapping[str, Table]) -> str:
    rows = [f"| [{t.full_name}](#{_anchor(t)}) | {_cell(t.grain)} | {_cell(t.comment)} |" for t in _in_layer_order(catalogue)]
    return "\n".join(["| table | one row per | what it holds |", "|---|---|---|", *rows])


def _in_layer_order(catalogue: Mapping[str, Table]) -> list[Table]:
    order = list(LAYERS)
    return sorted(catalogue.values(), key=lambda t: order.index(t.layer))


def _table(table: Table) -> str:
    facts = [
        f"- **One row per** {table.grain}",
        f"- **Key** {', '.join(f'`{k}`' for k in table.key)}",
        f"- **Slice** {', '.join(f'`{k}`' for k in table.slice_by) or 'all'}",
        *(f"- **Check** `{name}`: `{rule}`" for name, rule in sorted(table.checks.items())),
    ]
    rows = [f"| `{c.name}` | `{c.type}` | {_cell(c.comment)} | {_cell(c.null_means or '—')} |" for c in table.columns]
    columns = "\n".join(["| column | type | meaning | null means |", "|---|---|---|---|", *rows])
    return "\n\n".join([f"### {table.full_name}", table.comment, "\n".join(facts), columns])


def _anchor(table: Table) -> str:
    """The fragment that renderers give the heading: lower case, without the dot."""
    return f"{table.layer}{table.name}"


def _cell(text: str) -> str:
    """Text that cannot end its table cell."""
    return text.replace("|", "\\|").replace("\n", " ")


def main(arguments: list[str]) -> None:
    """Write the Markdown page to the given path (docs/data_dictionary.md)."""
    path = Path(arguments[0] if arguments else "docs/data_dictionary.md")
    path.write_text(markdown(), encoding="utf-8")
    sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
