"""Candidates and their value: features against plain Python, no leak, labels by hand, learning, bad input, and the job."""

from __future__ import annotations

import math
import runpy
from collections import defaultdict
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from equipoise.errors import ContractError
from equipoise.job.run import run
from equipoise.recommend.cosine import cosine_candidates
from equipoise.recommend.history import visits
from equipoise.recommend.pairs import DAY_HALF_LIVES, FEATURES, TRIP_HALF_LIVES, featured, histories_at, main_categories
from equipoise.recommend.rules import shown_only
from equipoise.recommend.values import Inputs, Valuation, check_inputs, outcomes
from equipoise.store import Store
from tests.benchmarks.reasons import deletions, moved, told
from tests.integration.recommend_world import AS_OF, LIMITS, WEIGHTS, Shop, candidates_of, counted, shop
from tests.integration.test_job import TOML
from tests.integration.test_recommend import frame_of, put

ROOT = Path(__file__).resolve().parents[2]
CUT = AS_OF - timedelta(days=28)
EVENTS = "user_id string, item_id string, event_type string, event_date date"
FLAGS = ["--recommend.k=8", "--recommend.history_candidates=12", "--recommend.min_item_events=2"]


def on_spark(spark: SparkSession, made: Shop) -> Inputs:
    shares = (
        "user_id string, category string, rank int, observed_share double, predicted_share double, target_share double, "
        "visit_probability double"
    )
    users = [(u, "m1", v) for u, v in made.user_vectors.items()]
    items = [(i, "m1", made.texts[i], v) for i, v in made.item_vectors.items()]
    return Inputs(
        frame_of(spark, made.events, EVENTS),
        frame_of(spark, made.item_categories, "item_id string, category string, weight double"),
        frame_of(spark, made.interests, shares),
        spark.createDataFrame(users, "user_id string, model_id string, vector array<float>"),
        spark.createDataFrame(items, "item_id string, model_id string, text_sha256 string, vector array<float>"),
    )


@pytest.fixture(scope="module")
def inputs(spark: SparkSession) -> Inputs:
    return on_spark(spark, shop())


def valuation(inputs: Inputs) -> Valuation:
    past = inputs.events.filter(F.col("event_date") < F.lit(AS_OF))
    return Valuation(replace(inputs, events=past), LIMITS, AS_OF, 30, 50)


def features_of(spark: SparkSession, inputs: Inputs, cuts: list[date]) -> pd.DataFrame:
    """FEATURES of every user × item at the cuts."""
    seen, mains = visits(inputs.events, event_weights=WEIGHTS), main_categories(inputs.item_categories)
    users = inputs.user_vectors.select("user_id")
    every = users.crossJoin(inputs.item_categories.select("item_id").distinct())
    every = every.withColumn("cut", F.explode(F.array(*[F.lit(c) for c in cuts])))
    found = featured(every, histories_at(seen, mains, cuts), mains).toPandas()
    return found.set_index(["user_id", "item_id", "cut"]).sort_index()


def plain_features(made: Shop, cut: date) -> dict[tuple[str, str], dict[str, float]]:
    """The features of every user × item by their definitions, in loops; NaN where there is no value."""
    past = replace(made, events=made.events[made.events["event_date"] < cut])
    all_of = counted(past, 1)
    main = {i: min(cs, key=lambda c: (-c[1], c[0]))[0] for i, cs in all_of.world.categories.items()}
    days: dict[tuple[str, str], list[tuple[date, float]]] = defaultdict(list)
    trips: dict[str, list[date]] = {}
    for (user, item, day), weight in sorted(all_of.visits.items(), key=lambda v: v[0]):
        days[(user, item)].append((day, weight))
        trips[user] = sorted({*trips.get(user, []), day})

    def decayed(key: tuple[str, str], h: float, by: str) -> float:
        ages = [(len(trips[key[0]]) - 1 - trips[key[0]].index(d) if by == "trips" else (cut - d).days, w) for d, w in days[key]]
        return sum(w * 0.5 ** (a / h) for a, w in ages)

    popular = {h: {i: sum(decayed(k, h, "days") for k in days if k[1] == i) for i in main} for h in (14, 56)}
    out: dict[tuple[str, str], dict[str, float]] = {}
    for user in made.user_vectors:
        of_user = {i: days[(user, i)] for u, i in list(days) if u == user}
        lines = sum(map(len, of_user.values()))
        for item in main:
            of_item = [v for (_, i), v in days.items() if i == item and v]
            mine, row = of_user.get(item, []), dict.fromkeys(FEATURES, math.nan)
            for h in TRIP_HALF_LIVES:
                row[f"own_{h}"] = decayed((user, item), h, "trips") if mine else 0.0
            for h in DAY_HALF_LIVES:
                row[f"own_{h}d"] = decayed((user, item), h, "days") if mine else 0.0
            for h in (10, 40):
                whole = sum(0.5 ** (j / h) for j in range(len(trips.get(user, []))))
                row[f"rate_{h}"] = row[f"own_{h}"] / whole if mine else 0.0
            row["visits"] = len(mine)
            if mine:
                order, ages = trips[user], [(cut - d).days for d, _ in mine]
                row["trips_since"] = len(order) - 1 - order.index(mine[-1][0])
                row["first_trips"] = len(order) - 1 - order.index(mine[0][0])
                row["recency_days"] = min(ages)
                if len(mine) > 1:
                    row["gap_days"] = (max(ages) - min(ages)) / (len(mine) - 1)
                    row["due"] = min(ages) / row["gap_days"]
            if of_user:
                ages = [(cut - d).days for v in of_user.values() for d, _ in v]
                row |= {"trips": len(trips[user]), "lines_per_trip": lines / len(trips[user]), "user_recency_days": min(ages)}
                row |= {"tenure_days": max(ages), "repertoire": len(of_user) / lines}
            row["popular_recent"], row["popular_long"] = popular[14][item], popular[56][item]
            row["buyers"] = len(of_item)
            if of_item:
                row["trend"] = popular[14][item] / popular[56][item] if popular[56][item] else math.nan
                row["visits_per_buyer"] = sum(map(len, of_item)) / len(of_item)
                row["again_share"] = sum(len(v) > 1 for v in of_item) / len(of_item)
            same = [i for i in of_user if main[i] == main[item]]
            row["category_own"] = sum(decayed((user, i), 10, "trips") for i in same)
            if same:
                row["category_recency_days"] = min((cut - d).days for i in same for d, _ in of_user[i])
            total = sum(v for i, v in popular[56].items() if main[i] == main[item])
            row["category_part"] = popular[56][item] / total if total and of_item else 0.0
            out[(user, item)] = row
    return out


def test_features_are_those_of_plain_python(spark: SparkSession, inputs: Inputs) -> None:
    found = features_of(spark, inputs, [CUT, AS_OF])
    for cut in (CUT, AS_OF):
        expected = plain_features(shop(), cut)
        here = found.xs(cut, level="cut")
        assert len(here) == len(expected) == 30 * 50
        wanted = pd.DataFrame.from_dict(expected, orient="index")[list(FEATURES)]
        wanted.index = pd.MultiIndex.from_tuples(wanted.index, names=["user_id", "item_id"])
        np.testing.assert_allclose(here[list(FEATURES)].to_numpy(float), wanted.sort_index().to_numpy(float), atol=2e-8)


def test_what_happens_at_or_after_the_cut_changes_no_feature(spark: SparkSession, inputs: Inputs) -> None:
    made = shop()
    moved = made.events.copy()
    later = moved["event_date"] >= CUT
    assert later.sum() > 20
    rng = np.random.default_rng(5)
    moved.loc[later, "item_id"] = [f"i{n:02d}" for n in rng.integers(0, 50, later.sum())]
    moved.loc[later, "event_date"] = [CUT + timedelta(days=int(d)) for d in rng.integers(0, 60, later.sum())]
    twice = pd.concat([moved, moved[later].assign(user_id="u00")], ignore_index=True)
    there = on_spark(spark, replace(made, events=twice))
    pd.testing.assert_frame_equal(features_of(spark, inputs, [CUT]), features_of(spark, there, [CUT]))


def test_candidates_are_those_of_plain_python(inputs: Inputs) -> None:
    one = valuation(inputs)
    rows = featured(one.candidates(), one.histories, one.mains).toPandas()
    assert (rows["cut"] == AS_OF).all()
    for user, mine in rows.groupby("user_id"):
        expected = candidates_of(shop(), str(user))
        assert sorted(mine["item_id"]) == sorted(expected), user
        for row in mine.to_dict("records"):
            facts = expected[row["item_id"]]
            names = ("source", "neighbour_id", "known", "bought", "looked")
            assert [row[n] for n in names] == [facts[n] for n in names], (user, row)
            assert list(row["sources"]) == facts["sources"], (user, row)
            assert (facts["cosine"] is None) == math.isnan(row["cosine"])
            assert facts["cosine"] is None or row["cosine"] == pytest.approx(facts["cosine"], abs=2e-9)
            told = [None if pd.isna(x) else x for x in (row["similarity"],)]
            assert told == [facts["similarity"]], (user, row)
    assert set(rows["source"]) == {"history", "neighbour", "cosine", "popular"}
    assert rows["sources"].map(len).max() > 1, "some candidate is of several sources"
    one.close()


def test_outcomes_by_hand(spark: SparkSession) -> None:
    def day(n: int) -> date:
        return CUT + timedelta(days=n)

    rows = [
        ("u", "a", "purchase", day(-1)),  # before the cut
        ("u", "v", "view", day(0)),  # no trip: nothing is bought
        ("u", "a", "purchase", day(1)),
        ("u", "b", "purchase", day(1)),
        ("u", "v", "view", day(1)),
        ("u", "c", "purchase", day(2)),
        ("u", "d", "purchase", day(28)),  # past the horizon
        ("w", "a", "view", day(3)),
    ]
    events = spark.createDataFrame(rows, EVENTS)
    trips, happened = outcomes(visits(events, event_weights=WEIGHTS), [CUT], 28)
    assert [tuple(r) for r in trips.select("user_id", "cut", "first_trip").collect()] == [("u", CUT, day(1))]
    found = {(r["user_id"], r["item_id"]): r["happened"] for r in happened.collect()}
    assert found == {("u", "a"): 7, ("u", "b"): 7, ("u", "c"): 3, ("u", "v"): 2, ("w", "a"): 2}
    looks = spark.createDataFrame([r for r in rows if r[2] == "view"] + [("w", "b", "rate", day(4))], EVENTS)
    trips, happened = outcomes(visits(looks, event_weights=WEIGHTS), [CUT], 28)
    assert [(r["user_id"], r["first_trip"]) for r in trips.collect()] == [("w", day(4))], (
        "where nobody buys, knowing makes a trip"
    )
    assert {(r["user_id"], r["item_id"]): r["happened"] for r in happened.collect()}[("w", "b")] == 6


@pytest.mark.parametrize("blocks", [(1, 1), (3, 4)])
def test_nearest_items_are_exact_in_any_blocks_and_ties_fall_by_popularity(spark: SparkSession, blocks: tuple[int, int]) -> None:
    made = shop(seed=4)
    popularity = {i: float(n % 3) for n, i in enumerate(sorted(made.item_vectors))}
    items = spark.createDataFrame(
        [(i, made.texts[i], popularity[i], v) for i, v in made.item_vectors.items()],
        "item_id string, text_sha256 string, popularity double, vector array<float>",
    )
    users = on_spark(spark, made).user_vectors
    found = cosine_candidates(users, items, limit=6, user_blocks=blocks[0], item_blocks=blocks[1]).toPandas()
    for user, mine in found.groupby("user_id"):
        exact = {i: round(float(np.dot(made.user_vectors[str(user)], v)), 9) for i, v in made.item_vectors.items()}
        order = sorted(exact, key=lambda i: (-exact[i], -popularity[i], i))[:6]
        assert sorted(mine["item_id"]) == sorted(order)
        np.testing.assert_allclose(mine.set_index("item_id")["cosine"].reindex(order), [exact[i] for i in order], atol=2e-9)
    assert found["user_id"].nunique() == 30


def test_users_without_vectors_and_vectors_of_two_models_are_refused(inputs: Inputs) -> None:
    assert check_inputs(inputs) == (30, 50, "m1")
    fewer = inputs.user_vectors.filter("user_id > 'u01'")
    with pytest.raises(ContractError, match=r"2 users of gold.user_interests are not in feature.user_vectors, such as u00, u01"):
        check_inputs(replace(inputs, user_vectors=fewer))
    with pytest.raises(ContractError, match=r"1 users of feature.user_vectors are not in gold.user_interests, such as u05"):
        check_inputs(replace(inputs, interests=inputs.interests.filter("user_id <> 'u05'")))
    mixed = F.when(F.col("item_id") == "i03", F.lit("m0")).otherwise(F.col("model_id"))
    with pytest.raises(ContractError, match=r"2 models \(m0, m1\), expected 1"):
        check_inputs(replace(inputs, item_vectors=inputs.item_vectors.withColumn("model_id", mixed)))
    with pytest.raises(ContractError, match="no users at this as_of"):
        check_inputs(replace(inputs, interests=inputs.interests.limit(0), user_vectors=inputs.user_vectors.limit(0)))


def test_histories_that_tell_nothing_are_refused(inputs: Inputs) -> None:
    late = replace(inputs, events=inputs.events.filter(F.col("event_date") >= F.lit(CUT)))
    one = valuation(late)
    with pytest.raises(ContractError, match=r"no event of an item before 2017-10-09, the start of the last 28 days"):
        one.learnt()
    one.close()  # what was never made is not made to be let go of
    quiet = replace(inputs, events=inputs.events.filter(F.col("event_date") < F.lit(CUT - timedelta(days=28))))
    with pytest.raises(ContractError, match=r"no user bought or used an item in the 28 days after 2017-10-09, 2017-09-11"):
        valuation(quiet).learnt()


def test_examples_are_of_whole_users_below_the_number_asked_for(inputs: Inputs) -> None:
    whole = valuation(inputs)
    every = whole.examples().select("user_id", "item_id", "cut").toPandas()
    assert not every.duplicated().any()
    assert set(every["cut"]) == {CUT, CUT - timedelta(days=28)}
    small = replace(whole, limits=replace(LIMITS, value_examples=500))
    some = small.examples().select("user_id", "item_id", "cut").toPandas()
    assert 0 < some["user_id"].nunique() < every["user_id"].nunique()
    both = every[every["user_id"].isin(set(some["user_id"]))]
    assert len(both) == len(some), "a drawn user has all rows"


def test_evidence_that_a_reason_names_is_what_moves_the_value(spark: SparkSession) -> None:
    """What is left after a deletion against plain features of the events that are left, and the test itself on planted habits."""
    made = shop(users=60)
    inputs = on_spark(spark, made)
    past = inputs.events.filter(F.col("event_date") < F.lit(AS_OF))
    seen, mains = visits(past, event_weights=WEIGHTS), main_categories(inputs.item_categories)
    habits = seen.groupBy("user_id", "item_id").count().filter("count BETWEEN 2 AND 3").orderBy("user_id", "item_id").limit(20)
    codes = F.when(F.col("item_id") < "i2", "bought_before").otherwise("popular_in_category").alias("reason_code")
    listed = habits.select(F.concat_ws("|", "user_id", "item_id").alias("n"), "user_id", "item_id", codes).localCheckpoint()
    rows = deletions(seen, mains, listed, AS_OF).toPandas().set_index(["n", "kind"]).sort_index()
    main = mains.toPandas().set_index("item_id")["category"]
    whole = plain_features(made, AS_OF)
    of_visits = ["visits", *(n for n in FEATURES if n.startswith(("own_", "category_own")))]
    for one in listed.collect():
        key = one["user_id"], one["item_id"]
        of_item = one["reason_code"] == "bought_before"
        about = [key[1]] if of_item else [i for i in main.index if main[i] == main[key[1]]]
        gone = (made.events["user_id"] == key[0]) & made.events["item_id"].isin(about)
        left = plain_features(replace(made, events=made.events[~gone]), AS_OF)[key]
        before, named, random = (rows.loc[(one["n"], kind)] for kind in ("whole", "named", "random"))
        np.testing.assert_allclose(named[of_visits].to_numpy(float), [left[n] for n in of_visits], atol=2e-8)
        expected = [whole[key][n] for n in FEATURES]
        np.testing.assert_allclose(before[list(FEATURES)].to_numpy(float), expected, atol=2e-8)
        assert random["visits"] == before["visits"], "visits of another item went"
        lines = [r["lines_per_trip"] * r["trips"] for r in (before, random)]
        others = lines[0] - before["removed"]
        assert lines[1] == pytest.approx(lines[0] - min(before["removed"], others)), "as many others, where there are as many"
        assert named["buyers"] == before["buyers"], "what others did stays"
    model, _ = valuation(inputs).learnt()
    own = told(rows.reset_index(), model).query("reason_code == 'bought_before'")
    assert len(own) > 4
    assert moved(own).mean() >= 0.9


def test_excluded_departments_are_not_shown(spark: SparkSession) -> None:
    items = spark.createDataFrame([("a", "FOOD"), ("b", "FUEL"), ("c", None)], "item_id string, category_1 string")
    stock = spark.createDataFrame([("a", "A"), ("b", "A"), ("c", "B"), ("d", "B")], "item_id string, category string")
    assert {r["item_id"] for r in shown_only(stock, items, ("FUEL",)).collect()} == {"a", "c", "d"}
    assert shown_only(stock, items, ()).count() == 4


def write(store: Store, spark: SparkSession, made: Shop) -> None:
    inputs = on_spark(spark, made)
    hashed = F.sha2(F.concat_ws("|", "user_id", "item_id", "event_type", "event_date", F.rand(1)), 256)
    events = inputs.events.withColumns(
        {"event_id": hashed, "event_ts": F.col("event_date").cast("timestamp"), "synthetic": F.lit(True)}
    )
    stamps = {"as_of": F.lit(AS_OF), "run_id": F.lit("r"), "synthetic": F.lit(True), "reason": F.lit("made")}
    told = {"evidence": F.lit(1.0), "visit_probability": F.lit(0.5), "is_predicted_top": F.lit(False), "model_id": F.lit("m1")}
    single = F.array(F.lit(1.0).cast("float"))
    chances = {"category_probabilities": single, "visit_probabilities": single, "p_o": F.lit(0.2), "p_interest": F.lit(0.3)}
    chances |= {"p_buy": F.lit(0.5), "expected_spend": F.lit(1.0), "as_of": F.lit(AS_OF)}
    titles = inputs.item_categories.select("item_id").distinct()
    frames = {
        "silver.events": events,
        "silver.items": titles.withColumns({c: F.lit(c) for c in ("title", "category_1", "category_2", "category_3", "text")}),
        "silver.item_categories": inputs.item_categories.withColumn("category_path", F.col("category")),
        "gold.user_interests": inputs.interests.withColumns(stamps | told),
        "feature.user_vectors": inputs.user_vectors.withColumns(chances),
        "feature.item_vectors": inputs.item_vectors,
    }
    for name, frame in frames.items():
        put(store, name, frame, fingerprint=str(len(made.events)))


def test_the_job(spark: SparkSession, tmp_path: Path) -> None:
    settings = tmp_path / "toy.toml"
    settings.write_text(TOML.format(warehouse=tmp_path / "warehouse"))
    store, made = Store(spark, str(tmp_path / "warehouse")), shop(users=60)
    write(store, spark, made)
    path = ROOT / "jobs" / "value_items.py"
    job = runpy.run_path(str(path))

    def again() -> pd.DataFrame:
        assert run(job["JOB"], job["run"], ["--settings", str(settings), "--as-of", AS_OF.isoformat(), *FLAGS], path) == 0
        rows = store.read("gold.user_item_values").toPandas()
        return rows.drop(columns="run_id").sort_values(["user_id", "item_id"], ignore_index=True)

    first = again()
    assert first["user_id"].nunique() == 60
    assert (first["model_id"] == "m1").all()
    assert (first["p_interest"] > 0).any(), "the shop has looks"
    version = store.version("gold.user_item_values")
    pd.testing.assert_frame_equal(first, again())
    assert store.version("gold.user_item_values") == version, "the second run is skipped"
    later = pd.DataFrame([("u00", "i40", "purchase", AS_OF)] * 30, columns=made.events.columns)
    write(store, spark, replace(made, events=pd.concat([made.events, later], ignore_index=True)))
    pd.testing.assert_frame_equal(first, again())
    assert (store.version("gold.user_item_values") or 0) > (version or 0), "it ran again, and what lies at as_of changed nothing"
