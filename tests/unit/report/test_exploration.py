"""The figures about exploring: feedback, ways to draw, budgets."""

from __future__ import annotations

import pandas as pd

from equipoise.feedback.table import from_counts
from equipoise.report.page import Figure, Note
from equipoise.report.sections import exploration
from tests.unit.report.facts import evaluation, frame, nothing, score

COUNTS = ("segment", "category", "trials", "expected", "responses")


def responses(*rows: tuple[str, str, int, float, int]) -> pd.DataFrame:
    made = from_counts(pd.DataFrame(list(rows), columns=list(COUNTS)), 10.0)
    return made[made["segment"] == "all"]


def findings(blocks: list[object]) -> list[str]:
    return [b.finding for b in blocks if isinstance(b, Figure)]


def test_without_feedback_it_says_so() -> None:
    found = exploration.blocks(nothing(responses=responses()))
    assert [type(b).__name__ for b in found] == ["Heading", "Note"]
    assert isinstance(found[1], Note) and "there is no feedback" in found[1].text


def test_responses_are_told_against_what_was_expected() -> None:
    known = responses(("buy", "TEA", 40, 10.0, 30), ("O", "MILK", 20, 10.0, 10))
    (finding,) = findings(exploration.blocks(nothing(responses=known)))
    # (10 + 40) ÷ (10 + 20), and the quantiles of that gamma posterior
    assert finding == "Users responded to 40 of 60 trials, 1.67 times as often as expected [1.30, 2.07]"


def test_the_ways_to_draw_stand_beside_each_other() -> None:
    def hit(method: str, value: float) -> dict[str, object]:
        return score("balance", f"calibrated λ=0.3 slots=2{method}", exploration.PRECISION, value, cutoff=10)

    rows = evaluation(hit("", 0.04), hit(" draw=share", 0.03), hit(" draw=ucb", 0.05))
    (finding,) = findings(exploration.blocks(nothing(responses=responses(), evaluation=rows)))
    assert finding == (
        "Explore places whose category is in the next basket, at λ=0.3 slots=2: in proportion to predicted share 3.00 %, "
        "Thompson sampling by feedback 4.00 % and upper bounds by feedback 5.00 %"
    )


def test_budgets_are_shown_where_they_differ() -> None:
    same, apart = frame(("slots", "users"), (2, 9)), frame(("slots", "users"), (3, 3), (2, 6), (1, 1))
    assert findings(exploration.blocks(nothing(responses=responses(), budgets=same))) == []
    (finding,) = findings(exploration.blocks(nothing(responses=responses(), budgets=apart)))
    assert finding == "60 % of users have a budget of 2 explore places; others more or fewer"
