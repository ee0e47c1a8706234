"""Where language pays: the model with its text beside the same model without, and beside the best that uses no language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from equipoise.evaluate.groups import SHORT
from equipoise.evaluate.names import METHODS, RANKER, WITHOUT_TEXT
from equipoise.evaluate.paired import Asked, Figures, Told
from equipoise.report import glossary
from equipoise.report.facts import Facts
from equipoise.report.gap_charts import Gap, gaps
from equipoise.report.page import Block, Figure, Heading, Note, NumberTable, Section, empty
from equipoise.report.words import count, number, percent, plural

ANCHOR, TITLE = "language", "Where language pays"
PLAIN = (
    *("ema_dirichlet_tuned", "ema_dirichlet", "ema_popularity", "prior", "ever_popularity", "logit_pairs", "boosted_pairs"),
    *("leaf_share", "popular_leaf", "attribute_kernel", RANKER),
    *("genres counted", "popular genres", "boosted trees"),
)
"""Methods without language that a text has to beat."""


@dataclass(frozen=True)
class Question:
    """A row of a picture: a figure, the method with text, the same without; {model} stands for the published route."""

    label: str
    asked: Asked
    text: str = "{model}"
    without: str = "{model}" + WITHOUT_TEXT


@dataclass(frozen=True)
class Part:
    """A picture: for whom, with the sentence below its heading; `missing`: what would bring its rows."""

    anchor: str
    title: str
    below: str
    questions: tuple[Question, ...]
    missing: str


def _three(label: str, group: str) -> tuple[Question, ...]:
    return (
        Question(f"{label}: categories visited, AP", Asked("categories", "ap", group=group)),
        Question(f"{label}: categories entered anew, AP", Asked("categories", "entry_ap", group=group)),
        Question(f"{label}: next window, KL bits", Asked("interests", "kl_bits", group=group)),
    )


def _labels(metric: str, share: int) -> Asked:
    return Asked("label_share", metric, share, split="validation")


LABELS = (1, 10, 100)
PARTS = (
    Part(
        "known",
        "Known users, known categories",
        "Counts know these users and these categories; text can only add what counts leave out.",
        _three("everybody", "all"),
        "evaluate_models writes them.",
    ),
    Part(
        "new-items",
        "Items that nobody had before",
        "No count speaks of them: only what an item is. Without text here means that attributes of the items count as labels.",
        (
            Question("NDCG@10", Asked("new_items", "ndcg", 10), f"{RANKER} + {{model}} kernel", RANKER),
            Question("recall@50", Asked("new_items", "recall", 50), f"{RANKER} + {{model}} kernel", RANKER),
            Question("NDCG@10, likeness alone", Asked("new_items", "ndcg", 10), "{model} kernel", "attribute_kernel"),
            Question("recall@50, likeness alone", Asked("new_items", "recall", 50), "{model} kernel", "attribute_kernel"),
        ),
        "the label window holds too few new items, or too few who bought one.",
    ),
    Part(
        "short",
        "Users of whom little is known",
        "By days with a trip before the date; small groups have wide lines.",
        tuple(q for h in ("1 to 3 days", "4 to 10 days", SHORT) for q in _three(h, f"history={h}")),
        "no such group has enough users.",
    ),
    Part(
        "other-shop",
        "Another shop",
        "The encoder as fine-tuned here, read on another source, beside the untouched encoder.",
        (Question("NDCG@10", Asked("other_shop", "ndcg", 10), "fine-tuned encoder", "untouched encoder"),),
        "no row speaks of another source; tests.benchmarks.zero_shot --rows FILE measures it, evaluate.measured names it.",
    ),
    Part(
        "labels",
        "Few labels",
        "Trained on a part of the labels; judged on all users.",
        tuple(
            Question(
                f"{share} % of the labels, {label}", Asked("label_share", metric, share), "{model}", "{model}" + WITHOUT_TEXT
            )
            for share in LABELS
            for label, metric in (("next window, KL bits", "kl_bits"), ("visits, bits", "visit_bits"))
        ),
        "no row speaks of parts of the labels; python -m tests.benchmarks.label_share prints the comparison.",
    ),
)


@dataclass(frozen=True)
class Answer:
    """A question that gold.evaluation answers: the three figures, and the two gains; None where there is no such row."""

    question: Question
    text: Told
    plain: Told | None
    best: Told | None
    best_method: str
    over_plain: Gap | None
    over_best: Gap | None


def section(facts: Facts) -> Section:
    """A picture per part, from gold.evaluation alone."""
    if facts.evaluation.empty:
        return empty(ANCHOR, TITLE, "gold.evaluation has no rows for this date; run evaluate_models.")
    figures = Figures(facts.evaluation)
    model = _model(facts.evaluation)
    answered = {part.anchor: [a for q in part.questions if (a := answer(figures, q, model))] for part in PARTS}
    blocks = [b for part in PARTS for b in _part(part, answered[part.anchor], model)]
    lead = (
        _verdict([a for found in answered.values() for a in found]),
        f"The published route is {model}. Differences are paired: both sides on the same users, drawn again together; lines are "
        "95 % intervals, in per cent of the other side's figure. Green: language pays, the whole interval above 0. Grey: it "
        "cannot be told. Orange: it costs. The best without language is chosen on these very users, which favours it.",
    )
    return Section(ANCHOR, TITLE, lead, tuple(blocks))


def answer(figures: Figures, question: Question, model: str) -> Answer | None:
    """What gold.evaluation says to a question; None where it lacks the method with text."""
    name, other = question.text.replace("{model}", model), question.without.replace("{model}", model)
    asked, at = question.asked, figures.origins
    text = figures.told(asked, name, at)
    if text is None:
        return None
    sign = -1.0 if glossary.metric(asked.metric)[1].better == "lower" else 1.0
    plain = {m: t for m in PLAIN if (t := figures.told(asked, m, at)) is not None and m != name}
    best = max(plain, key=lambda m: sign * plain[m].value, default="")

    def gain(against: str, level: Told | None) -> Gap | None:
        gap = figures.difference(asked, name, against, at) if level is not None else None
        if gap is None or level is None or not level.value:
            return None
        ends = sorted(sign * e / level.value for e in (gap.low, gap.high) if e is not None)
        return Gap(sign * gap.value / level.value, *(ends if len(ends) == 2 else (None, None)))

    without = figures.told(asked, other, at)
    over = gain(other, without), gain(best, plain.get(best))
    return Answer(question, text, without, plain.get(best), best, *over)


def _model(evaluation: pd.DataFrame) -> str:
    """The route with rows without text: the published one; else the first route there is."""
    names = set(evaluation["method"])
    known = [m for m in METHODS.values() if f"{m}{WITHOUT_TEXT}" in names] or [m for m in METHODS.values() if m in names]
    return known[0] if known else METHODS["text"]


def _verdict(found: Sequence[Answer]) -> str:
    told = [a.over_plain.sure for a in found if a.over_plain is not None]
    if not told:
        return "No comparison of a model with its text and without is among the rows of this date."
    return (
        f"In {plural(len(told), 'comparison')} of the model with its text and without, language pays in {told.count(1)}, costs "
        f"in {told.count(-1)}, and in {told.count(0)} it cannot be told."
    )


def _part(part: Part, found: Sequence[Answer], model: str) -> list[Block]:
    heading = Heading(f"language-{part.anchor}", part.title, part.below)
    if not found:
        return [heading, Note(f"Nothing to show: {part.missing}")]
    panels = [
        ("beside the same without text", [a.over_plain for a in found]),
        ("beside the best without language", [a.over_best for a in found]),
    ]
    sure = [a for a in found if a.over_plain is not None and a.over_plain.sure]
    title = f"{part.title}: {_verdict(found)}" if not sure else f"{part.title}: {'; '.join(_said(a) for a in sure)}"
    labels = [f"{a.question.label} ({count(a.text.n)})" for a in found]
    return [heading, Figure(title, gaps(labels, panels, title), "In brackets: users.", _numbers(found, model))]


def _said(a: Answer) -> str:
    assert a.over_plain is not None
    verb = "pays" if a.over_plain.sure > 0 else "costs"
    return f"language {verb} {percent(abs(a.over_plain.value))} in {a.question.label}"


def _numbers(found: Sequence[Answer], model: str) -> NumberTable:
    def shown(told: Told | None) -> str:
        return "–" if told is None else f"{number(told.value)} [{number(told.low)}, {number(told.high)}]"

    rows = [
        (
            a.question.label,
            a.question.text.replace("{model}", model),
            shown(a.text),
            shown(a.plain),
            f"{a.best_method} {shown(a.best)}" if a.best else "–",
            count(a.text.n),
        )
        for a in found
    ]
    columns = ("what", "with text", "figure", "the same without text", "best without language", "users")
    return NumberTable("As numbers", columns, rows)
