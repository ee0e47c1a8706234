"""Facts → the page."""

from __future__ import annotations

from equipoise.report.facts import Facts
from equipoise.report.page import Page, render
from equipoise.report.sections import (
    associations,
    audiences,
    balance,
    card,
    evaluation,
    groups,
    interests,
    language,
    lists,
    migration,
    monitors,
    quality,
    runs,
    segments,
    stories,
    summary,
)


def page(
    facts: Facts,
    *,
    title: str,
    source: str,
    model_id: str | None,
    card_text: str | None,
    run_id: str,
    synthetic: bool,
    training_log: str | None = None,
) -> Page:
    """The whole report of one date."""
    made = (runs, monitors, quality, interests, migration, associations, segments, audiences, lists, balance)
    judged = (evaluation, language, groups)
    sections = [s.section(facts) for s in (*made, *judged)]
    sections += [card.section(model_id, card_text, training_log), stories.section(facts)]
    header = (("source", source), ("as of", facts.as_of.isoformat()), ("model", model_id or "none"), ("run", run_id[:8]))
    versions = ", ".join(f"{name} {version}" for name, version in facts.published)
    footer = [
        "Users appear by the first eight digits of a keyed pseudonym; raw ids never enter the tables.",
        f"Table versions behind this page: {versions}." if versions else "",
    ]
    return Page(
        title=title,
        facts=header,
        synthetic=synthetic,
        tiles=summary.tiles(facts),
        summary=summary.sentences(facts, source),
        sections=sections,
        footer=[line for line in footer if line],
    )


def html(whole: Page) -> str:
    """The page as one self-contained HTML file."""
    return render("report.html.j2", page=whole)
