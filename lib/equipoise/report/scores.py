"""gold.evaluation as the report reads it: which rows compare with which, who is best, and by how much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pandas as pd

from equipoise.report.glossary import DIFFERENCE, LEADING, POINTS, SEED_SPREAD, metric, order
from equipoise.report.score_charts import Whisker

EVERYBODY = "all"
POOLED = "pooled"
TEST = "test"
PUBLISHED = "published "
"""Prefix of a method whose values were published before, not measured here."""


@dataclass(frozen=True)
class Key:
    """What a figure's panel shows: one metric at one cut-off."""

    metric: str
    cutoff: int

    @property
    def label(self) -> str:
        return metric(self.metric, self.cutoff)[0]

    @property
    def better(self) -> str | None:
        return metric(self.metric)[1].better


@dataclass(frozen=True)
class Difference:
    """One method's value less the baseline's, with the interval of the paired difference."""

    method: str
    baseline: str
    value: float
    low: float | None
    high: float | None


def of_task(evaluation: pd.DataFrame, task: str) -> pd.DataFrame:
    """Plain values of a task over all users, at its main origin."""
    return newest(plain(evaluation, task))


def plain(evaluation: pd.DataFrame, task: str) -> pd.DataFrame:
    """Plain values of a task over all users, at every origin: no differences, spreads or points of curves."""
    rows = evaluation[(evaluation["task"] == task) & (evaluation["user_group"] == EVERYBODY)]
    return rows[~rows["metric"].str.contains(f"{DIFFERENCE}|{SEED_SPREAD}|^(?:{'|'.join(POINTS)})$", regex=True)]


def newest(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the test split (of any split where there is none), pooled where that was done, else of one origin.

    The origin is the latest at which a trained method was judged: baselines alone are judged at later ones too.
    """
    tested = rows[rows["split"] == TEST]
    chosen = tested if not tested.empty else rows
    if chosen.empty:
        return chosen
    trained = chosen[is_ours(chosen)]
    origins = set((trained if not trained.empty else chosen)["origin"])
    return chosen[chosen["origin"] == (POOLED if POOLED in origins else max(origins))]


def keys(rows: pd.DataFrame, task: str) -> list[Key]:
    """Metrics of a task, leading ones first."""
    lead = LEADING.get(task, ())
    found = {Key(str(m), int(c)) for m, c in zip(rows["metric"], rows["cutoff"], strict=True)}
    return sorted(
        found, key=lambda k: (lead.index(k.metric) if k.metric in lead else len(lead), order(k.metric), k.metric, k.cutoff)
    )


def is_ours(rows: pd.DataFrame) -> pd.Series[bool]:
    """Methods in which the trained model has a part: they have seeds."""
    return rows["seeds"].notna()


def at(rows: pd.DataFrame, key: Key) -> pd.DataFrame:
    """Rows of one metric, best first where one way is better, else by method."""
    mine = rows[(rows["metric"] == key.metric) & (rows["cutoff"] == key.cutoff)]
    if key.better is None:
        return mine.sort_values("method")
    return mine.sort_values(["value", "method"], ascending=[key.better == "lower", True])


def competes(rows: pd.DataFrame) -> pd.Series[bool]:
    """Methods that could be used: not one that knows the truth, nor a figure from elsewhere."""
    return ~rows["method"].str.contains("oracle") & ~rows["method"].str.startswith(PUBLISHED)


def best(rows: pd.DataFrame, key: Key) -> str | None:
    """The best method that competes, or None where no way is better."""
    ranked = at(rows[competes(rows)], key)
    return None if key.better is None or ranked.empty else str(ranked.iloc[0]["method"])


def whisker(row: Any, *, best_method: str | None) -> Whisker:
    """A row of gold.evaluation as a dot with its interval."""
    return Whisker(
        float(row["value"]),
        end(row["ci_low"]),
        end(row["ci_high"]),
        ours=not pd.isna(row["seeds"]),
        best=row["method"] == best_method,
    )


def end(value: object) -> float | None:
    """An interval's end, or None where none was computed."""
    number = float("nan") if value is None else float(cast(float, value))
    return None if pd.isna(number) else number


def differences(evaluation: pd.DataFrame, task: str, key: Key) -> list[Difference]:
    """Differences from the task's main baseline in one metric, over all users, largest first."""
    rows = evaluation[
        (evaluation["task"] == task) & (evaluation["user_group"] == EVERYBODY) & (evaluation["cutoff"] == key.cutoff)
    ]
    rows = newest(rows[rows["metric"].str.startswith(key.metric + DIFFERENCE)])
    ranked = rows.sort_values(["value", "method"], ascending=[key.better == "lower", True])
    return [
        Difference(
            str(r["method"]), str(r["metric"]).split(DIFFERENCE, 1)[1], float(r["value"]), end(r["ci_low"]), end(r["ci_high"])
        )
        for _, r in ranked.iterrows()
    ]


def is_better(difference: Difference, key: Key) -> bool:
    """Better than the baseline, with the whole interval on the better side of nought."""
    if key.better == "higher":
        return difference.low is not None and difference.low > 0
    return key.better == "lower" and difference.high is not None and difference.high < 0


def is_worse(difference: Difference, key: Key) -> bool:
    """Worse than the baseline, with the whole interval on the worse side of nought."""
    if key.better == "higher":
        return difference.high is not None and difference.high < 0
    return key.better == "lower" and difference.low is not None and difference.low > 0


def gap(difference: Difference, key: Key, *, ours: bool) -> Whisker:
    """A difference as a dot with its interval, marked when it is better beyond doubt."""
    return Whisker(difference.value, difference.low, difference.high, ours=ours, best=is_better(difference, key))
