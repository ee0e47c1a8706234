"""Feedback on Spark: exposures of lists, their outcomes and trials against plain loops; the job over two nights."""

from __future__ import annotations

import runpy
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from equipoise.errors import ContractError
from equipoise.feedback.exposures import Shown, answered, exposures, trials
from equipoise.feedback.table import budgets, from_counts, response_rows, unsettled, with_ratios
from equipoise.job.run import run
from equipoise.store import Store
from equipoise.tables import CATALOGUE
from equipoise.tables.vocabulary import BEHAVIOURS, KNOWING_EVENT_TYPES
from tests.integration.test_job import TOML

ROOT = Path(__file__).resolve().parents[2]
AS_OF, ORIGIN = date(2017, 11, 6), date(2017, 1, 2)
LISTS = (date(2017, 9, 11), date(2017, 9, 18), date(2017, 10, 9))
HOW = Shown(list_days=10, response_days=14, memory_days=60, channel="app")
EVENTS = "event_id string, user_id string, item_id string, event_type string, event_ts timestamp, event_date date, channel string"
PLACES = (
    "as_of date, user_id string, item_id string, category string, rank int, slot string, propensity double, "
    "reason_code string, expected_response double"
)
ITEMS = {f"i{n}": [f"c{n % 4}"] + (["c9"] if n % 3 == 0 else []) for n in range(12)}
TYPES = ("expose", "expose", "expose", "purchase", "view", "click", "redeem")
OWN = tuple(t for kind in BEHAVIOURS.values() for t in kind)
Row = tuple[Any, ...]


def places(users: int = 12) -> list[Row]:
    rng = np.random.default_rng(2)
    out: list[Row] = []
    for day in LISTS:
        for u in range(users):
            for rank, item in enumerate(rng.permutation(sorted(ITEMS))[:6], start=1):
                slot, guess = ("explore", float(rng.uniform(0.02, 0.4))) if rank > 3 else ("exploit", None)
                reason = "bought_before" if guess is None else "least_known" if rank == 6 and u % 2 else "unseen_category"
                propensity = 0.5 if slot == "explore" else 1.0
                out.append((day, f"u{u:02d}", str(item), ITEMS[str(item)][0], rank, slot, propensity, reason, guess))
    return out


def events(users: int = 12) -> list[Row]:
    rng = np.random.default_rng(3)
    out: list[Row] = []
    for n in range(2600):
        day = date(2017, 9, 1) + timedelta(days=int(rng.integers(0, 66)))
        item = str(rng.choice(sorted(ITEMS))) if rng.random() < 0.95 else None
        kind = str(rng.choice(TYPES)) if item else "expose"
        at = datetime(day.year, day.month, day.day, int(rng.integers(0, 24)), int(rng.integers(0, 60)))
        channel = str(rng.choice(["app", "app", "mail"])) if kind == "expose" else "web"
        out.append((f"e{n:05d}", f"u{int(rng.integers(users)):02d}", item, kind, at, day, channel))
    return out


def plain(log: list[Row], listed: list[Row], how: Shown, as_of: date) -> list[Row]:
    """exposure_id, list date, user, item, outcome, outcome_ts, responded, in loops over everything."""
    known = {(r[0], r[1], r[2]): r for r in listed}
    dates, first = sorted({r[0] for r in listed}), {}
    for e in sorted(log, key=lambda e: (e[4], e[0])):
        event_id, user, item, kind, at, day, channel = e
        if kind != "expose" or item is None or (how.channel and channel != how.channel):
            continue
        if day + timedelta(days=how.response_days) > as_of or day < as_of - timedelta(days=how.memory_days):
            continue
        force = [d for d in dates if d <= day]
        if force and (day - force[-1]).days < how.list_days and (force[-1], user, item) in known:
            first.setdefault((force[-1], user, item), (event_id, at, day))
    out: list[Row] = []
    for (list_, user, item), (event_id, at, day) in first.items():
        after = [
            e for e in log
            if e[1] == user and e[2] and e[3] in OWN and e[4] >= at and e[5] < day + timedelta(days=how.response_days)
        ]  # fmt: skip
        own = sorted(e[4] for e in after if e[2] == item)
        bought = sorted(e[4] for e in after if e[2] == item and e[3] == "purchase")
        category = known[(list_, user, item)][3]
        responded = any(e[3] in KNOWING_EVENT_TYPES and category in ITEMS[e[2]] for e in after)
        outcome = "buy" if bought else "look" if own else "ignore"
        out.append((event_id, list_, user, item, outcome, (bought or own or [None])[0], responded))
    return sorted(out)


def stock(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame([(i, c) for i, cs in ITEMS.items() for c in cs], "item_id string, category string")


@pytest.fixture(scope="module")
def answers(spark: SparkSession) -> DataFrame:
    log, listed = spark.createDataFrame(events(), EVENTS), spark.createDataFrame(places(), PLACES)
    return answered(exposures(log, listed, LISTS, HOW, AS_OF), log, stock(spark), HOW, AS_OF).persist()


def test_exposures_and_outcomes_are_those_of_plain_loops(answers: DataFrame) -> None:
    names = ["exposure_id", "as_of", "user_id", "item_id", "outcome", "outcome_ts", "responded"]
    found = sorted(tuple(r) for r in answers.select(*names).collect())
    expected = plain(events(), places(), HOW, AS_OF)
    assert found == expected
    assert {r[4] for r in expected} == {"buy", "look", "ignore"}
    assert {r[6] for r in expected} == {True, False}
    assert len(expected) > 60
    listed = {(r[0], r[1], r[2]): r for r in places()}
    for r in answers.collect():
        place = listed[(r["as_of"], r["user_id"], r["item_id"])]
        assert tuple(r[c] for c in ("category", "rank", "slot", "propensity", "reason_code", "expected_response")) == place[3:]


def test_no_lists_and_no_exposures_are_no_feedback(spark: SparkSession) -> None:
    log, listed = spark.createDataFrame(events(), EVENTS), spark.createDataFrame([], PLACES)
    assert exposures(log, listed, (), HOW, AS_OF).count() == 0
    nobody = log.filter("event_type <> 'expose'")
    full = spark.createDataFrame(places(), PLACES)
    assert answered(exposures(nobody, full, LISTS, HOW, AS_OF), nobody, stock(spark), HOW, AS_OF).count() == 0


def test_a_category_shown_on_several_nights_is_one_trial(answers: DataFrame) -> None:
    found = trials(answers, origin=ORIGIN, response_days=HOW.response_days)
    firsts: dict[Row, Any] = {}
    for r in sorted(answers.filter("reason_code = 'unseen_category'").collect(), key=lambda r: (r["shown_ts"], r["exposure_id"])):
        firsts.setdefault((r["user_id"], r["category"], (r["shown_date"] - ORIGIN).days // HOW.response_days), r)
    expected = []
    for (user, category, span), r in firsts.items():
        earlier = [f for (u, c, n), f in firsts.items() if (u, c) == (user, category) and n < span]
        last = max((f["shown_date"] for f in earlier), default=None)
        if last is None or (r["shown_date"] - last).days >= HOW.response_days:
            expected.append((r["as_of"], user, category, r["expected_response"], int(r["responded"])))
    got = sorted(tuple(r) for r in found.select("as_of", "user_id", "category", "expected", "response").collect())
    assert got == sorted(expected)
    assert len(firsts) > len(expected) > 20, "some spans stand too close to the one before"


def test_a_perfect_model_is_answered_as_often_as_expected(spark: SparkSession) -> None:
    """Shown every night: neither the many nights nor the borders of spans may make answers look more frequent."""
    rng = np.random.default_rng(8)
    daily, nights = 0.01, [date(2017, 7, 3) + timedelta(days=n) for n in range(84)]
    rows = []
    for u in range(300):
        acts = np.flatnonzero(rng.random(84 + 28) < daily)
        for n, day in enumerate(nights):
            answer = bool(((acts >= n) & (acts < n + 28)).any())
            at = datetime(day.year, day.month, day.day, 9)
            rows.append((f"x{u}-{n}", day, f"u{u}", "c", "unseen_category", 1 - (1 - daily) ** 28, at, day, answer))
    ddl = (
        "exposure_id string, as_of date, user_id string, category string, reason_code string, expected_response double, "
        "shown_ts timestamp, shown_date date, responded boolean"
    )
    sums = trials(spark.createDataFrame(rows, ddl), origin=ORIGIN, response_days=28).agg(
        F.count("*").alias("n"), F.sum("expected").alias("e"), F.sum("response").alias("o")
    )
    told = sums.collect()[0]
    assert told["n"] >= 900
    assert told["o"] / told["e"] == pytest.approx(1.0, abs=4 / np.sqrt(told["e"]))


def test_counts_come_to_the_rows_of_their_sums(spark: SparkSession, answers: DataFrame) -> None:
    tried = trials(answers, origin=ORIGIN, response_days=HOW.response_days)
    names = ["O", "interest", "buy"]
    of = [(f"u{n:02d}", names[n % 3]) for n in range(12)]
    then = [(day, u, names[(n + i) % 3]) for i, day in enumerate(LISTS) for n, (u, _) in enumerate(of)]
    rows = response_rows(tried, spark.createDataFrame(then, "as_of date, user_id string, segment string"), strength=10.0)
    at = {(day, u): segment for day, u, segment in then}
    flat = tried.toPandas().assign(segment=lambda d: [at[key] for key in zip(d["as_of"], d["user_id"], strict=True)])
    with pytest.raises(ContractError, match=r"have segment None in gold.user_segments at its as_of.*\(None: no row\)"):
        response_rows(tried, spark.createDataFrame(then[:5], "as_of date, user_id string, segment string"), strength=10.0)
    for r in rows.itertuples():
        mine = flat[flat["segment"].eq(r.segment) | (r.segment == "all")]
        mine = mine[mine["category"].eq(r.category) | (r.category == "(all)")]
        assert (r.trials, r.responses) == (len(mine), mine["response"].sum())
        assert r.expected == pytest.approx(mine["expected"].sum())
        assert r.ratio == pytest.approx(r.shape / r.rate)
        assert r.rate <= r.strength + r.expected + 1e-9, "a segment's prior is no surer than its category"
        assert r.ratio_low < r.ratio < r.ratio_high
    assert len(rows) == 1 + 4 + 12


def test_ratios_reach_every_row_of_the_interests(spark: SparkSession) -> None:
    counts = pd.DataFrame(
        [("buy", "c1", 40, 2.0, 9), ("O", "c1", 30, 2.0, 1)], columns=["segment", "category", "trials", "expected", "responses"]
    )
    response = spark.createDataFrame(from_counts(counts, 10.0))
    people = spark.createDataFrame(
        [("a", "buy", 1), ("b", "O", 2), ("c", "interest", 3)], "user_id string, segment string, slots int"
    )
    interests = spark.createDataFrame([(u, c) for u in "abc" for c in ("c1", "c2")], "user_id string, category string")
    found = {(r["user_id"], r["category"]): r for r in with_ratios(interests, people, response).collect()}
    assert len(found) == 6
    mean = {k: r["shape"] / r["rate"] for k, r in found.items()}
    assert mean[("a", "c1")] > mean[("c", "c1")] > mean[("b", "c1")]
    whole = (10 + 10) / (10 + 4)
    assert all(mean[(u, "c2")] == pytest.approx(whole) for u in "abc"), "never explored: everybody's ratio"
    assert [found[(u, "c2")]["slots"] for u in "abc"] == [1, 2, 3]
    with pytest.raises(ContractError, match=r"no row of all segments and categories.*run collect_feedback"):
        with_ratios(interests, people, response.limit(0))


def test_budgets_follow_own_responses_and_what_is_known(spark: SparkSession) -> None:
    shares = {"broad": [0.25] * 4, "narrow": [0.97, 0.01, 0.01, 0.01], "keen": [0.97, 0.01, 0.01, 0.01], "cold": [0.25] * 4}
    rows = [
        (u, f"c{n}", s, (200.0 if u in ("broad", "cold") else 20.0) * s)
        for u, parts in shares.items()
        for n, s in enumerate(parts)
    ]
    interests = spark.createDataFrame(rows, "user_id string, category string, observed_share double, evidence double")
    segments = spark.createDataFrame([(u, "buy") for u in shares], "user_id string, segment string")
    tried = spark.createDataFrame(
        [("keen", "c7", 0.5, 1)] * 12 + [("cold", "c7", 0.9, 0)] * 12,
        "user_id string, category string, expected double, response int",
    )
    made = budgets(interests, segments, tried, overall=1.0, slots=4, most=9, strength=10.0)
    found = {r["user_id"]: r for r in made.collect()}
    assert found["keen"]["slots"] > found["narrow"]["slots"] >= found["broad"]["slots"] > found["cold"]["slots"]
    assert found["keen"]["ratio"] == pytest.approx((10 + 12) / (10 + 6))
    assert found["cold"]["ratio"] == pytest.approx(10 / (10 + 10.8))
    assert found["broad"]["entropy_bits"] == pytest.approx(2.0)
    assert all(2 <= r["slots"] <= 8 for r in found.values())
    one = budgets(interests.filter("user_id = 'broad'"), segments, tried, overall=1.0, slots=4, most=9, strength=10.0).collect()
    assert [r["slots"] for r in one] == [4], "nobody to compare with"
    none = budgets(interests, segments, tried, overall=1.0, slots=0, most=9, strength=10.0)
    assert {r["slots"] for r in none.collect()} == {0}


def test_budgets_do_not_hang_on_the_order_of_rows(spark: SparkSession) -> None:
    """.1 + .2 + .3 of doubles is .6 or the number after it."""
    rows = [(u, f"c{n}", e, e) for u in ("a", "b") for n, e in enumerate((0.1, 0.2, 0.3))] + [("c", "c0", 1.0, 9.0)]
    ddl = "user_id string, category string, observed_share double, evidence double"
    segments = spark.createDataFrame([(u, "buy") for u in "abc"], "user_id string, segment string")
    tried = spark.createDataFrame([], "user_id string, category string, expected double, response int")
    found = []
    for order in (rows, rows[::-1]):
        interests = spark.createDataFrame(order, ddl).coalesce(1)
        made = budgets(interests, segments, tried, overall=1.0, slots=4, most=9, strength=10.0)
        found.append(sorted(tuple(r) for r in made.collect()))
    assert found[0] == found[1]


def put(store: Store, spark: SparkSession, name: str, rows: Iterable[dict[str, Any]], as_of: date) -> None:
    stamps = {"as_of": as_of, "run_id": "made", "model_id": "m1", "synthetic": True, "source": "simulated"}
    table = CATALOGUE[name]
    filled = [tuple((stamps | r).get(c) for c in table.column_names) for r in rows]
    values = {k: stamps[k] for k in table.slice_by}
    store.replace(
        spark.createDataFrame(filled, table.struct_type()), name, values, fingerprint=f"{name}{len(filled)}", job="test"
    )


def test_the_job_over_two_nights(spark: SparkSession, tmp_path: Path) -> None:
    settings = tmp_path / "toy.toml"
    settings.write_text(TOML.format(warehouse=tmp_path / "warehouse"))
    store = Store(spark, str(tmp_path / "warehouse"))
    named = EVENTS.replace(",", "").split()[::2]
    told = {"source": "simulated", "synthetic": True}
    put(store, spark, "silver.events", [dict(zip(named, e, strict=True)) | told for e in events()], AS_OF)
    put(store, spark, "silver.item_categories", [
        {"item_id": i, "category": c, "category_path": c, "weight": 1 / len(cs)} for i, cs in ITEMS.items() for c in cs
    ], AS_OF)  # fmt: skip
    users = [f"u{n:02d}" for n in range(12)]
    for day in (LISTS[0], LISTS[2], AS_OF):
        shares = {"observed_share": 0.5, "predicted_share": 0.5, "target_share": 0.5, "evidence": 5.0, "visit_probability": 0.2}
        put(store, spark, "gold.user_interests", [
            {"user_id": u, "category": c, "rank": 1, "is_predicted_top": False, "reason": "r", **shares}
            for u in users for c in ("c0", "c1")
        ], day)  # fmt: skip
        chances = {
            "p_o": 0.2,
            "p_interest": 0.3,
            "p_buy": 0.5,
            "horizon_days": 28,
            "segment": "buy",
            "reason": "r",
            "value_model": "behaviour",
            "drivers": [],
        }
        put(store, spark, "gold.user_segments", [{"user_id": u, **chances} for u in users], day)
    path = ROOT / "jobs" / "collect_feedback.py"
    job = runpy.run_path(str(path))
    flags = ["--feedback.list_days=10", "--feedback.response_days=14", "--feedback.memory_days=60", "--feedback.channel=app"]

    def night(day: date) -> list[Row]:
        assert run(job["JOB"], job["run"], ["--settings", str(settings), "--as-of", day.isoformat(), *flags], path) == 0
        rows = store.read("ops.feedback").filter(F.col("settled_by") == F.lit(day))
        return sorted((r["exposure_id"], r["as_of"], r["outcome"]) for r in rows.collect())

    assert night(LISTS[0]) == [], "no list was published yet"
    assert store.read("gold.exploration_response").filter("segment = 'all'").first()["ratio"] == 1.0  # type: ignore[index]
    names = PLACES.replace(",", "").split()[::2]
    for n, day in enumerate(LISTS):
        rows = [dict(zip(names, r, strict=True)) for r in places() if r[0] == day]
        made = {"score": 0.1, "relevance": 0.5, "source": "explore", "reason_key": "k", "reason_value": 1.0}
        put(store, spark, "gold.recommendations", [made | r | {"reason": "r"} for r in rows], day)
        put(store, spark, "gold.user_segments", [{"user_id": u, **chances} for u in users], day)
        seen = [{"table_name": t, "version": n + 1} for t in ("gold.recommendations", "gold.user_segments")]
        put(store, spark, "ops.published", seen, day)
    early = plain(events(), [r for r in places() if r[0] < LISTS[2]], HOW, LISTS[2])
    assert night(LISTS[2]) == [(r[0], r[1], r[4]) for r in early]
    late = [r for r in plain(events(), places(), HOW, AS_OF) if r[0] not in {e[0] for e in early}]
    assert night(AS_OF) == [(r[0], r[1], r[4]) for r in late], "each exposure is settled once"
    again = store.read("ops.feedback").withColumns({"shown_date": F.lit(AS_OF), "settled": F.lit(AS_OF)})
    assert unsettled(again, store.read("ops.feedback"), LISTS[0]).count() == 0, (
        "what another night has written is not written again"
    )
    versions = [store.version(n) for n in job["JOB"].writes]
    night(AS_OF)
    assert [store.version(n) for n in job["JOB"].writes] == versions, "the second run is skipped"
    whole = store.read("gold.exploration_response").filter((F.col("as_of") == F.lit(AS_OF)) & (F.col("segment") == "all"))
    explored = whole.filter("category = '(all)'").first()
    assert explored is not None and explored["trials"] > 20, "all of the memory counts, not only what was settled tonight"
    assert store.read("gold.exploration_budgets").filter(F.col("as_of") == F.lit(AS_OF)).count() == 12
