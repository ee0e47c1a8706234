"""Arms of an experiment: intervals over users cover the truth, A/A stays quiet, sums by hand, bad input is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F

from equipoise.errors import SettingsError
from equipoise.evaluate import arms
from equipoise.recommend import simulate

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession


def log(seed: int, rate: float, users: int = 400, arm: str = "a") -> pd.DataFrame:
    """Users shown between 1 and 40 places, who respond at rates of their own around `rate`: a user's responses go together."""
    rng = np.random.default_rng(seed)
    exposures = rng.integers(1, 41, users)
    own = rng.beta(2.0, 2.0 / rate - 2.0, users)
    responses = rng.binomial(exposures, own)
    explored = rng.binomial(exposures, 0.2)
    found = np.minimum(rng.binomial(explored, own), responses)
    return pd.DataFrame(
        {"arm": arm, "arms": 1, "exposures": exposures, "responses": responses, "explored": explored, "explore_responses": found}
    )


def difference(a: pd.DataFrame, b: pd.DataFrame, metric: str) -> tuple[float, float, float]:
    seen = pd.DataFrame({"arm": ["a", "b"], "category": ["x", "x"], "exposures": [1, 1]})
    (row,) = [r for r in arms.rows(pd.concat([a, b]), seen, "a", "2017-11-06") if r.metric == f"{metric}_minus_a"]
    assert row.ci_low is not None
    assert row.ci_high is not None
    return row.value, row.ci_low, row.ci_high


def test_intervals_cover_a_known_difference_and_equal_arms_differ_one_time_in_twenty() -> None:
    runs, covered, alarms = 300, 0, 0
    for n in range(runs):
        control, better, same = log(3 * n, 0.10), log(3 * n + 1, 0.13, arm="b"), log(3 * n + 2, 0.10, arm="b")
        _, low, high = difference(control, better, "ctr")
        covered += low <= 0.03 <= high
        _, low, high = difference(control, same, "ctr")
        alarms += not low <= 0.0 <= high
    assert 0.91 <= covered / runs <= 0.985
    assert alarms / runs <= 0.09


def test_counting_every_exposure_as_a_draw_would_be_too_sure() -> None:
    """What the delta method is for: a user's exposures are alike, so a binomial error is far too small."""
    users = log(1, 0.10)
    one = arms.estimates(users)["ctr"]
    binomial = np.sqrt(one.value * (1 - one.value) / users["exposures"].sum())
    drawn = np.random.default_rng(2).integers(0, len(users), (1000, len(users)))
    responses, exposures = users["responses"].to_numpy()[drawn].sum(1), users["exposures"].to_numpy()[drawn].sum(1)
    assert one.error == pytest.approx((responses / exposures).std(), rel=0.08)
    assert one.error > 1.4 * binomial


def test_the_simulator_s_log_tells_its_policies_apart() -> None:
    """Thompson sampling learns what is answered, drawing by predicted share does not: the closed loop's own log says so."""
    parts = []
    for arm, how in (("share", simulate.Strategy(slots=3, draw="share")), ("thompson", simulate.Strategy(slots=3))):
        made = simulate.world(4, users=150)
        played = simulate.play(made, how, rounds=12, seed=9, other=how)
        user = np.concatenate([p["user"] for p in played.places])
        answer = np.concatenate([p["response"] for p in played.places])
        sums = {"exposures": np.bincount(user, minlength=150), "responses": np.bincount(user, answer, minlength=150)}
        one = pd.DataFrame({"arm": arm, "arms": 1, **sums, "explored": sums["exposures"], "explore_responses": sums["responses"]})
        assert arms.estimates(one)["ctr"].value == pytest.approx(answer.sum() / len(answer))
        parts.append(one)
    seen = pd.DataFrame({"arm": ["share"], "category": ["x"], "exposures": [1]})
    told = {(r.method, r.metric): r for r in arms.rows(pd.concat(parts), seen, "share", "2017-11-06")}
    low = told["thompson", "explore_ctr_minus_share"].ci_low
    assert low is not None
    assert low > 0


def test_the_sums_of_users_by_hand(spark: SparkSession) -> None:
    columns = "user_id string, slot string, responded boolean, category string"
    feedback = spark.createDataFrame(
        [("u1", "explore", True, "x"), ("u1", "exploit", True, "y"), ("u1", "exploit", False, "y"), ("u2", "explore", False, "x"),
         ("u4", "explore", True, "x"), ("stranger", "exploit", True, "z")],
        columns,
    )  # fmt: skip
    assigned = [("u1", "a"), ("u2", "b"), ("u3", "b"), ("u4", "a"), ("u4", "b"), ("u2", "b")]
    arm_of = spark.createDataFrame(assigned, "user_id string, arm string").distinct()
    arm_of = arm_of.groupBy("user_id").agg(F.min("arm").alias("arm"), F.count("arm").alias("arms"))
    users = arms.per_user(feedback, arm_of).toPandas().set_index("user_id")
    assert users.loc["u1", list(arms.SUMS)].tolist() == [3, 2, 1, 1]
    assert users.loc["u2", list(arms.SUMS)].tolist() == [1, 0, 1, 0]
    assert users.loc["u3", list(arms.SUMS)].tolist() == [0, 0, 0, 0]
    assert users["arms"].to_dict() == {"u1": 1, "u2": 1, "u3": 1, "u4": 2}
    seen = arms.shown(feedback, arm_of).toPandas()
    told = {(r.method, r.metric): r for r in arms.rows(users.reset_index(), seen, "b", "2017-11-06")}
    assert told["a", "ctr"].value == pytest.approx(2 / 3)
    assert told["a", "ctr"].ci_low is None  # one user says nothing of the spread
    assert told["b", "conversion"].value == 0.0
    assert told["b", "exposures_per_user"].value == 0.5
    assert told["a", "ctr_minus_b"].value == pytest.approx(2 / 3)
    assert told["a", "category_coverage"].value == 1.0
    assert told["b", "category_coverage"].value == 0.5
    assert told["a", "category_entropy_bits"].value == pytest.approx(-(1 / 3) * np.log2(1 / 3) - (2 / 3) * np.log2(2 / 3))


def test_users_that_nobody_planned_to_deal_out_so_are_noticed() -> None:
    assert arms.mismatch({"a": 5000, "b": 5020}) > 0.5
    assert arms.mismatch({"a": 5000, "b": 5600}) < 0.001
    assert arms.mismatch({"a": 9000, "b": 1000}, {"a": 0.9, "b": 0.1}) > 0.5


def test_bad_input_is_told(spark: SparkSession) -> None:
    users = pd.concat([log(1, 0.1, arm="control"), log(2, 0.1, arm="new")])
    seen = pd.DataFrame({"arm": [], "category": [], "exposures": []})
    with pytest.raises(SettingsError, match="did you mean 'control'"):
        arms.rows(users, seen, "contrl", "2017-11-06")
    with pytest.raises(SettingsError, match="at least two arms with users, found control"):
        arms.rows(users[users["arm"] == "control"], seen, "control", "2017-11-06")
    with pytest.raises(SettingsError, match=r"evaluate\.split names control, old, the users are in control, new"):
        arms.rows(users, seen, "control", "2017-11-06", {"control": 1.0, "old": 1.0})
    quiet = users.assign(responses=0, explore_responses=0)
    whole = {(r.method, r.metric): r for r in arms.rows(quiet, seen, "control", "2017-11-06")}
    assert whole["new", "ctr"].value == 0.0
    assert whole["new", "ctr"].ci_high is None  # that nobody answered does not say that nobody ever will
    assert whole["new", "ctr_minus_control"].ci_high is None
    silent = users.assign(responses=0, explore_responses=0, exposures=0, explored=0)
    told = {(r.method, r.metric): r.value for r in arms.rows(silent, seen, "control", "2017-11-06")}
    assert told["new", "conversion"] == 0.0
    assert ("new", "ctr") not in told


def test_an_experiment_is_read_from_its_file(spark: SparkSession, tmp_path: Path) -> None:
    file = tmp_path / "arms.csv"
    file.write_text("user_id,arm\nu1,control\nu2,new\nu3,new\nu3,control\nu4,\n")
    columns = "user_id string, slot string, responded boolean, category string, settled_by date, shown_ts timestamp"
    then, later = date(2017, 11, 6), date(2017, 12, 4)
    feedback = spark.createDataFrame(
        [("u1", "explore", True, "x", then, datetime(2017, 10, 2)), ("u2", "exploit", True, "x", then, datetime(2017, 10, 2)),
         ("u2", "exploit", False, "x", then, datetime(2017, 9, 1)), ("u2", "exploit", False, "x", later, datetime(2017, 10, 9))],
        columns,
    )  # fmt: skip
    lines: list[str] = []
    one = arms.Experiment(str(file), "control", {"control": 1.0, "new": 1.0}, date(2017, 10, 1))
    told = {(r.method, r.metric): r.value for r in arms.compared(feedback, one, then, lines.append)}
    assert told["new", "ctr"] == 1.0  # neither what came before the experiment nor what is not settled yet
    assert lines == ["experiment: 3 users in 2 arms; 1 are in several arms and left out, 1 have none"]
    whole = {(r.method, r.metric): r.value for r in arms.compared(feedback, replace(one, since=None), then, lines.append)}
    assert whole["new", "ctr"] == 0.5
    before = arms.told(str(file))
    file.write_text("user_id,arm\n")
    assert arms.told(str(file)) != before
    with pytest.raises(SettingsError, match="names nobody; expected rows of user_id"):
        arms.compared(feedback, one, then, lines.append)
    file.write_text("user_id,group\nu1,a\n")
    with pytest.raises(SettingsError, match="has no column arm; expected rows of user_id"):
        arms.compared(feedback, one, then, lines.append)
    assert arms.told("") == {}
    assert arms.compared(feedback, replace(one, path=""), then, lines.append) == []
    with pytest.raises(SettingsError, match="no such file; expected CSV or Parquet with user_id and arm"):
        arms.told(str(tmp_path / "none.csv"))


def test_an_uneven_split_that_was_planned_is_no_alarm() -> None:
    users = pd.concat([log(1, 0.1, users=900, arm="control"), log(2, 0.1, users=100, arm="new")])
    seen = pd.DataFrame({"arm": ["new"], "category": ["x"], "exposures": [1]})

    def p(split: dict[str, float]) -> float:
        return next(r.value for r in arms.rows(users, seen, "control", "2017-11-06", split) if r.metric == "split_p")

    assert p({}) < 0.001
    assert p({"control": 9.0, "new": 1.0}) > 0.9
