"""An experiment read from the log of what was shown: arms of users, each shown the lists of another policy, against a control.

Users are dealt out to arms, so a user is one draw: ratios such as responses per exposure get their spread from per-user sums by
the delta method (Deng, Knoblich & Lu, Applying the Delta Method in Metric Analytics, KDD 2018, eq. 3), and arms are independent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from equipoise.checksum import file_sha256
from equipoise.errors import SettingsError
from equipoise.evaluate.arrays import Floats
from equipoise.evaluate.metrics.lists import entropy_bits
from equipoise.evaluate.table import EVERYBODY, Row

Z95 = 1.959963984540054
SUMS = ("exposures", "responses", "explored", "explore_responses")
ASSIGNMENT = ("user_id", "arm")


@dataclass(frozen=True)
class Estimate:
    """A figure of an arm, its standard error over users (NaN: fewer than two), and the users behind it."""

    value: float
    error: float
    users: int


def told(path: str) -> dict[str, str]:
    """What an experiment adds to the inputs of an evaluation: the file's sum; nothing without an experiment.

    Raises:
        SettingsError: when the file is not there.
    """
    if not path:
        return {}
    file = Path(path)
    if not file.is_file():
        raise SettingsError(f"evaluate.arms = {path!r}: no such file; expected CSV or Parquet with {' and '.join(ASSIGNMENT)}")
    return {"arms": file_sha256(file)}


@dataclass(frozen=True)
class Experiment:
    """What is compared; the fields are the settings evaluate.arms, control, split and arms_since.

    split: planned parts of the users per arm, even where empty. since: first day of exposures that count (UTC), None: all.
    """

    path: str
    control: str
    split: Mapping[str, float]
    since: date | None


def compared(feedback: DataFrame, one: Experiment, as_of: date, say: Callable[[str], None]) -> list[Row]:
    """Rows of task arms from the settled exposures in ops.feedback as of a date; none without an experiment.

    Raises:
        SettingsError: when the file does not name users and arms, or the arms are not those of the settings.
    """
    if not one.path:
        return []
    table = pd.read_parquet(one.path) if one.path.endswith(".parquet") else pd.read_csv(one.path, dtype=str)
    missing = sorted(set(ASSIGNMENT) - set(table.columns))
    if missing or table.empty:
        lacks = f"has no column {', '.join(missing)}" if missing else "names nobody"
        raise SettingsError(f"evaluate.arms: {one.path} {lacks}; expected rows of user_id (pseudonym) and arm")
    named = table[list(ASSIGNMENT)].dropna().astype(str).drop_duplicates()
    assigned = feedback.sparkSession.createDataFrame(named, "user_id string, arm string")
    assigned = assigned.groupBy("user_id").agg(F.min("arm").alias("arm"), F.count(F.lit(1)).alias("arms"))
    known = feedback.filter(F.col("settled_by") <= F.lit(as_of))
    known = known.filter(F.to_date("shown_ts") >= F.lit(one.since)) if one.since else known
    users = per_user(known, assigned).toPandas()
    double, nobody = int((users["arms"] > 1).sum()), len(table["user_id"].dropna().unique()) - len(users)
    say(
        f"experiment: {len(users):,} users in {users['arm'].nunique()} arms; {double:,} are in several arms and left out, "
        f"{nobody:,} have none"
    )
    return rows(users, shown(known, assigned).toPandas(), one.control, as_of.isoformat(), one.split)


def per_user(feedback: DataFrame, assigned: DataFrame) -> DataFrame:
    """One row per assigned user: arm, arms, and SUMS over the user's settled exposures (0 without any).

    Args:
        feedback: ops.feedback. assigned: user_id, arm, arms (how many the user is in).
    """
    explore = (F.col("slot") == "explore").cast("bigint")
    answer = F.col("responded").cast("bigint")
    sums = feedback.groupBy("user_id").agg(
        F.count(F.lit(1)).alias("exposures"),
        F.sum(answer).alias("responses"),
        F.sum(explore).alias("explored"),
        F.sum(explore * answer).alias("explore_responses"),
    )
    return assigned.join(sums, "user_id", "left").fillna(0, list(SUMS))


def shown(feedback: DataFrame, assigned: DataFrame) -> DataFrame:
    """arm, category, exposures: what the users of one arm were shown."""
    sole = assigned.filter("arms = 1").select("user_id", "arm")
    return feedback.join(sole, "user_id").groupBy("arm", "category").agg(F.count(F.lit(1)).alias("exposures"))


def ratio(above: Floats, below: Floats) -> Estimate:
    """Σ above ÷ Σ below over users, with its error by the delta method; NaN without a denominator.

    Where all users answered alike (nobody at all, say) nothing is known of the spread: the error is NaN, not 0.
    """
    n, total = len(below), float(below.sum())
    if not total:
        return Estimate(float("nan"), float("nan"), n)
    value = float(above.sum()) / total
    spread = float((above - value * below).std(ddof=1)) if n > 1 else float("nan")
    return Estimate(value, spread * np.sqrt(n) / total if spread > 0 else float("nan"), n)


def estimates(users: pd.DataFrame) -> dict[str, Estimate]:
    """Metric → figure of the users of one arm (`per_user`). Means over users count those who were shown nothing as 0."""
    exposures, responses, explored, found = (users[c].to_numpy(np.float64) for c in SUMS)
    ones = np.ones(len(users))
    return {
        "ctr": ratio(responses, exposures),
        "explore_ctr": ratio(found, explored),
        "conversion": ratio((responses > 0).astype(np.float64), ones),
        "responses_per_user": ratio(responses, ones),
        "exposures_per_user": ratio(exposures, ones),
    }


def mismatch(users: Mapping[str, int], planned: Mapping[str, float] | None = None) -> float:
    """p-value of the χ² test that users came to the arms as planned (evenly unless said); below .001 something else dealt them
    out (Fabijan et al., Diagnosing Sample Ratio Mismatch, KDD 2019)."""
    from scipy.stats import chisquare

    names = sorted(users)
    parts = np.array([1.0 if planned is None else planned[n] for n in names])
    counts = np.array([users[n] for n in names], dtype=np.float64)
    return float(chisquare(counts, parts / parts.sum() * counts.sum()).pvalue)


def rows(
    users: pd.DataFrame, seen: pd.DataFrame, control: str, origin: str, split: Mapping[str, float] | None = None
) -> list[Row]:
    """Rows of task arms: per arm every metric, its difference from the control, and how its exposures spread over categories.

    Args:
        users: rows of `per_user`; those in several arms do not count. seen: rows of `shown`.
        split: planned part of the users of each arm; None or empty: even.

    Raises:
        SettingsError: when nobody is in the control, there is one arm only, or the split is of other arms.
    """
    sole = users[users["arms"] == 1]
    of = {str(arm): part for arm, part in sole.groupby("arm")}
    if control not in of or len(of) < 2:
        near = get_close_matches(control, of, 1)
        hint = f"; did you mean {near[0]!r}" if near and control not in of else ""
        raise SettingsError(
            f"evaluate.control = {control!r}: expected one of at least two arms with users, found "
            f"{', '.join(sorted(of)) or 'none'}{hint}"
        )
    if split and set(split) != set(of):
        raise SettingsError(f"evaluate.split names {', '.join(sorted(split))}, the users are in {', '.join(sorted(of))}")
    figures = {arm: estimates(part) for arm, part in of.items()}
    out = [_row(arm, metric, one, one.value, one.error, origin) for arm, told in figures.items() for metric, one in told.items()]
    for arm, told in figures.items():
        for metric, one in told.items() if arm != control else ():
            base = figures[control][metric]
            error = float(np.hypot(one.error, base.error))
            out.append(_row(arm, f"{metric}_minus_{control}", one, one.value - base.value, error, origin))
    out += _spread(seen, of, origin)
    p = mismatch({arm: len(part) for arm, part in of.items()}, split or None)
    out.append(Row("arms", "all arms", "split_p", 0, "test", origin, EVERYBODY, p, None, None, len(sole), None))
    return [r for r in out if not np.isnan(r.value)]


def _spread(seen: pd.DataFrame, of: Mapping[str, pd.DataFrame], origin: str) -> list[Row]:
    """How evenly an arm's exposures go over the categories that any arm was shown."""
    table = seen.pivot_table(index="arm", columns="category", values="exposures", aggfunc="sum", fill_value=0)
    out = []
    for arm in of:
        counts = table.loc[arm].to_numpy(np.float64) if arm in table.index else np.zeros(table.shape[1])
        if counts.sum():
            values = {"category_entropy_bits": float(entropy_bits(counts[None] / counts.sum())[0])}
            values["category_coverage"] = float((counts > 0).mean())
            out += [_row(arm, m, Estimate(v, float("nan"), len(of[arm])), v, float("nan"), origin) for m, v in values.items()]
    return out


def _row(arm: str, metric: str, one: Estimate, value: float, error: float, origin: str) -> Row:
    low, high = (None, None) if np.isnan(error) else (value - Z95 * error, value + Z95 * error)
    return Row("arms", arm, metric, 0, "test", origin, EVERYBODY, value, low, high, one.users, None)
