"""Recommendations on Spark: candidates and lists against plain Python, the laws, bad input, and the job."""

from __future__ import annotations

import runpy
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from equipoise.errors import ContractError
from equipoise.job.run import run
from equipoise.recommend.frontier import prices
from equipoise.recommend.history import visits
from equipoise.recommend.lists import Policy
from equipoise.recommend.popularity import category_items, item_popularity
from equipoise.recommend.rules import Rules, may_be_shown, rule_effects, unknown_names
from equipoise.recommend.table import Sources, check, check_sources, recommendations, rows_for_blocks
from equipoise.store import Store
from equipoise.tables import CATALOGUE
from equipoise.tables.vocabulary import KNOWING_EVENT_TYPES, RULES
from tests.acceptance import Laws
from tests.integration.recommend_world import AS_OF, POPULARITY, WEIGHTS, Shop, policy, rows_of, shop, values_of
from tests.integration.test_job import TOML
from tests.unit.recommend.made import brand_of
from tests.unit.recommend.reference import Reference

ROOT = Path(__file__).resolve().parents[2]
KEYS = ["item_id", "category", "slot", "source", "reason_code", "reason_key"]
NUMBERS = ["score", "relevance", "propensity", "reason_value"]
FLAGS = [
    "--recommend.k=8",
    "--recommend.min_item_events=2",
    "--recommend.explore_pool=4",
    "--recommend.calibration=0.4",
]


def frame_of(spark: SparkSession, rows: pd.DataFrame, ddl: str) -> DataFrame:
    plain = rows.astype(object).where(rows.notna(), None)
    return spark.createDataFrame(list(plain.itertuples(index=False, name=None)), ddl)


def on_spark(spark: SparkSession, made: Shop) -> Sources:
    events = "user_id string, item_id string, event_type string, event_date date"
    stock = frame_of(spark, made.item_categories, "item_id string, category string, weight double")
    shares = (
        "user_id string, category string, rank int, observed_share double, predicted_share double, target_share double, "
        "visit_probability double"
    )
    response = "segment string, category string, shape double, rate double, ratio double, strength double"
    budgets = "user_id string, segment string, slots int"
    values = (
        "user_id string, item_id string, p_next_trip double, source string, known_events bigint, purchases bigint, "
        "events bigint, cosine double, neighbour_id string, similarity double"
    )
    valued = frame_of(spark, values_of(made), values).withColumn("model_id", F.lit("m1"))
    branded = [(i, brand_of(i), "category_1") for i in sorted(set(made.item_categories["item_id"]))]
    return Sources(
        frame_of(spark, made.events, events),
        stock,
        stock,
        frame_of(spark, made.interests, shares),
        valued.localCheckpoint(),
        frame_of(spark, made.response, response),
        frame_of(spark, made.budgets, budgets),
        spark.createDataFrame(branded, "item_id string, brand string, category_1 string"),
    )


@pytest.fixture(scope="module")
def sources(spark: SparkSession) -> Sources:
    return on_spark(spark, shop())


@pytest.fixture(scope="module")
def listed(sources: Sources) -> DataFrame:
    return recommendations(rows_for_blocks(sources, policy(), POPULARITY, users=30), policy()).persist()


def sorted_pandas(frame: DataFrame) -> pd.DataFrame:
    return frame.toPandas().sort_values(["user_id", "rank"], ignore_index=True)


def test_lists_from_raw_events_are_those_of_plain_python(listed: DataFrame) -> None:
    found, rows = sorted_pandas(listed), rows_of(shop(), values_of(shop()), policy())
    assert found["user_id"].nunique() == 30
    for user, mine in found.groupby("user_id"):
        expected = pd.DataFrame(Reference(rows, str(user), policy()).rows(), columns=["rank", *KEYS, *NUMBERS])
        pd.testing.assert_frame_equal(mine[KEYS].reset_index(drop=True), expected[KEYS], obj=str(user))
        np.testing.assert_allclose(mine[NUMBERS].to_numpy(float), expected[NUMBERS].to_numpy(float), atol=1e-8, err_msg=str(user))
    assert {"history", "neighbour", "cosine", "popular", "explore"} == set(found["source"]), "every source has a part in the test"
    codes = {"bought_before", "looked_before", "same_users", "similar_text", "popular_in_category", "unseen_category"}
    assert codes <= set(found["reason_code"])


def test_every_law_holds_and_the_check_says_so(listed: DataFrame, sources: Sources) -> None:
    check(listed, sources, policy())
    found = sorted_pandas(listed)
    assert (found["rank"].to_numpy().reshape(-1, 8) == np.arange(1, 9)).all()
    explored = found[found["slot"] == "explore"].groupby("user_id")
    slots = shop().budgets.set_index("user_id")["slots"]
    assert explored.size().to_dict() == slots.to_dict()
    assert (explored["rank"].min() == 9 - slots).all(), "they stand at the end"
    assert set(slots) == {1, 2, 3}
    assert found.groupby("user_id")["item_id"].nunique().eq(8).all()
    guess = shop().interests.set_index(["user_id", "category"])
    for row in found.itertuples():
        own = None if row.slot == "exploit" else guess.loc[(row.user_id, row.category), "visit_probability"]
        own = None if pd.isna(own) else own
        assert (pd.isna(row.expected_response) and own is None) or row.expected_response == pytest.approx(own)


def test_every_reason_is_found_where_it_points(listed: DataFrame) -> None:
    made, found = shop(), sorted_pandas(listed)
    behaviour = made.events[made.events["event_type"] != "expose"]
    knowing = behaviour[behaviour["event_type"].isin(KNOWING_EVENT_TYPES)].groupby(["user_id", "item_id"]).size()
    looked = behaviour.groupby(["user_id", "item_id"]).size()
    shares = made.interests.set_index(["user_id", "category"])
    brought = values_of(made).set_index(["user_id", "item_id"])["similarity"]
    for row in found.itertuples():
        key = (row.user_id, row.reason_key)
        truth = {
            "bought_before": lambda k=key: knowing[k],
            "looked_before": lambda k=key: looked[k],
            "same_users": lambda k=key, i=row.item_id: brought[k[0], i] * looked[k].clip(max=1),
            "similar_text": lambda k=key: np.dot(made.user_vectors[k[0]], made.item_vectors[k[1]]),
            "popular_in_category": lambda k=key: shares.loc[k, "target_share"],
            "unseen_category": lambda k=key: shares.loc[k, "predicted_share"],
            "least_known": lambda k=key: shares.loc[k, "observed_share"],
        }[row.reason_code]()
        assert row.reason_value == pytest.approx(truth, abs=1e-6), row
        assert row.reason


def test_words(spark: SparkSession) -> None:
    from equipoise.recommend.reasons import reason_text

    rows = [
        ("bought_before", "i1", 1.0, 1, "Bought 1 time before 2017-11-06"),
        ("bought_before", "i1", 7.0, 7, "Bought 7 times before 2017-11-06"),
        ("bought_before", "i1", 7.0, 2, "Bought, put in the cart, clicked or rated 7 times before 2017-11-06"),
        ("looked_before", "i1", 2.0, 0, "Looked at 2 times before 2017-11-06"),
        ("similar_text", "i1", 0.73149, 0, "Its text is close to the user's behaviour: cosine 0.731"),
        ("same_users", "i7", 0.2, 0, "Often had by the same users as i7, which the user has: cosine 0.200"),
        ("popular_in_category", "EGGS", 0.0423, 0, "Popular in EGGS, to which 4.23 % of the list should go"),
        ("unseen_category", "EGGS", 0.01, 0, "New to the user: EGGS, expected with 1.00 % of what comes next"),
        ("least_known", "EGGS", 0.001, 0, "Least known to the user: EGGS with 0.10 % of the behaviour so far"),
    ]
    frame = spark.createDataFrame(
        rows, "reason_code string, reason_key string, reason_value double, bought bigint, expected string"
    )
    assert [r for r in frame.select(reason_text(AS_OF).alias("said"), "expected").collect() if r["said"] != r["expected"]] == []


def test_the_order_and_the_partitions_of_the_input_do_not_matter(sources: Sources, listed: DataFrame) -> None:
    shuffled = replace(
        sources,
        events=sources.events.orderBy(F.rand(3)).repartition(5),
        item_categories=sources.item_categories.orderBy(F.rand(4)).repartition(3),
        interests=sources.interests.orderBy(F.rand(5)),
        values=sources.values.orderBy(F.rand(6)).repartition(4),
    )
    # Other block sizes too: users counted as many more, so that nearly everybody has a block alone.
    again = recommendations(rows_for_blocks(shuffled, policy(), POPULARITY, users=20_000), policy())
    pd.testing.assert_frame_equal(sorted_pandas(listed), sorted_pandas(again))


def test_popularity_by_hand(spark: SparkSession) -> None:
    days = {"x": [1, 1, 11], "y": [1], "w": [1, 11]}
    rows = [(f"u{n}", i, "purchase", AS_OF - timedelta(days=d)) for i, ds in days.items() for n, d in enumerate(ds)]
    events = spark.createDataFrame(rows, "user_id string, item_id string, event_type string, event_date date")
    stock = spark.createDataFrame(
        [("x", "A", 1.0), ("y", "A", 0.5), ("y", "B", 0.5), ("w", "B", 1.0), ("z", "A", 1.0), ("z", "C", 1.0)],
        "item_id string, category string, weight double",
    )
    popularity = item_popularity(visits(events, event_weights=WEIGHTS), as_of=AS_OF, half_life_days=10.0)
    half = 2**-0.1  # a day old
    counted = {r["item_id"]: (r["popularity"] / half, r["visits"]) for r in popularity.collect()}
    assert counted == {"x": (pytest.approx(2.5), 3), "y": (pytest.approx(1.0), 1), "w": (pytest.approx(1.5), 2)}
    found = {
        (r["category"], r["place"]): (r["item_id"], round(r["share"], 6)) for r in category_items(popularity, stock).collect()
    }
    assert found == {
        ("A", 1): ("x", round(2.5 / 3, 6)),
        ("A", 2): ("y", round(0.5 / 3, 6)),
        ("A", 3): ("z", 0.0),
        ("B", 1): ("w", 0.75),
        ("B", 2): ("y", 0.25),
        ("C", 1): ("z", 0.0),
    }


def test_the_check_finds_planted_faults(listed: DataFrame, sources: Sources) -> None:
    first = listed.orderBy("user_id").first()
    assert first is not None
    here = (F.col("user_id") == first["user_id"]) & (F.col("rank") == 8)
    other = listed.filter((F.col("user_id") == first["user_id"]) & (F.col("rank") == 1)).collect()[0]["item_id"]
    faults = {
        "a row is missing": listed.filter(~here),
        "a user is missing": listed.filter(F.col("user_id") != first["user_id"]),
        "an item comes twice": listed.withColumn("item_id", F.when(here, F.lit(other)).otherwise(F.col("item_id"))),
        "ranks jump": listed.withColumn("rank", F.when(here, F.lit(9)).otherwise(F.col("rank"))),
        "one explore slot too few": listed.withColumn("slot", F.when(here, F.lit("exploit")).otherwise(F.col("slot"))),
        "a reason is not what it points to": listed.withColumn(
            "reason_value", F.when(here, F.col("reason_value") + 0.01).otherwise(F.col("reason_value"))
        ),
    }
    for fault, frame in faults.items():
        with pytest.raises(ContractError, match=f"1 users break .* such as {first['user_id']}"):
            check(frame, sources, policy())
            pytest.fail(fault)


def test_sources_that_make_no_lists_are_refused(sources: Sources) -> None:
    assert check_sources(sources, k=8) == (30, "m1")
    with pytest.raises(ContractError, match=r"has 50 items that may be shown, a list needs 51; lower recommend\.k"):
        check_sources(sources, k=51)
    with pytest.raises(ContractError, match="no users at this as_of"):
        check_sources(replace(sources, interests=sources.interests.limit(0)), k=8)
    with pytest.raises(ContractError, match=r"from 0 models \(none\), expected 1; run value_items"):
        check_sources(replace(sources, values=sources.values.limit(0)), k=8)
    with pytest.raises(ContractError, match=r"30 users of gold.user_interests are not in .*such as u00, u01, u02; run collect"):
        check_sources(replace(sources, budgets=sources.budgets.limit(0)), k=8)
    mixed = F.when(F.col("item_id") == "i03", F.lit("m0")).otherwise(F.col("model_id"))
    with pytest.raises(ContractError, match=r"from 2 models \(m0, m1\), expected 1"):
        check_sources(replace(sources, values=sources.values.withColumn("model_id", mixed)), k=8)


def test_lists_that_cannot_be_filled_stop_the_job(spark: SparkSession) -> None:
    made = shop(seed=2)
    only = made.interests[made.interests["category"] == "c1"].assign(rank=1, target_share=1.0)
    made = replace(made, interests=only, user_vectors={u: v for u, v in made.user_vectors.items() if u in set(only["user_id"])})
    sources, how = on_spark(spark, made), policy(k=40, explore_budget="fixed")
    found = recommendations(rows_for_blocks(sources, how, POPULARITY, users=30), how)
    with pytest.raises(ContractError, match="a short list lacks items"):
        check(found, sources, how)


def write(store: Store, spark: SparkSession, made: Shop) -> None:
    """The shop as the tables that the job reads."""
    sources = on_spark(spark, made)
    events = sources.events.withColumns(
        {
            "event_id": F.sha2(F.concat_ws("|", "user_id", "item_id", "event_type", "event_date", F.rand(1)), 256),
            "event_ts": F.col("event_date").cast("timestamp"),
        }
    )
    stamps = {"as_of": F.lit(AS_OF), "run_id": F.lit("r"), "synthetic": F.lit(True), "reason": F.lit("made")}
    told = {"evidence": F.lit(1.0), "is_predicted_top": F.lit(False), "model_id": F.lit("m1")}
    chances = {"p_o": F.lit(0.5), "p_interest": F.lit(0.0), "p_buy": F.lit(0.5), "horizon_days": F.lit(28), "segment": F.lit("O")}
    frames = {
        "silver.events": events.withColumn("synthetic", F.lit(True)),
        "silver.items": sources.items.withColumns(
            {c: F.lit(c) for c in ("title", "category_1", "category_2", "category_3", "text")}
        ),
        "silver.item_categories": sources.item_categories.withColumn("category_path", F.col("category")),
        "gold.user_interests": sources.interests.withColumns(stamps | told),
        "gold.user_item_values": sources.values.withColumns(stamps | chances | {"sources": F.array("source")}),
        "gold.exploration_response": sources.response.withColumns(
            stamps | {c: F.lit(0) for c in ("trials", "expected", "responses", "ratio_low", "ratio_high")}
        ),
        "ops.feedback": spark.createDataFrame([], CATALOGUE["ops.feedback"].struct_type()),
        "gold.exploration_budgets": sources.budgets.withColumns(
            stamps | {c: F.lit(0) for c in ("entropy_bits", "evidence", "trials", "expected", "responses", "ratio", "factor")}
        ),
    }
    for name, frame in frames.items():
        put(store, name, frame, fingerprint=str(len(made.events)))


def put(store: Store, name: str, frame: DataFrame, *, fingerprint: str) -> None:
    """A slice of a table from a frame with some of its columns; the others are null."""
    types = {f.name: f.dataType for f in CATALOGUE[name].struct_type()}
    whole = frame if name.startswith("gold") or "source" not in types else frame.withColumn("source", F.lit("simulated"))
    full = whole.select(*[(F.col(c) if c in whole.columns else F.lit(None)).cast(t).alias(c) for c, t in types.items()])
    values = {k: {"as_of": AS_OF, "source": "simulated", "settled_by": AS_OF}[k] for k in CATALOGUE[name].slice_by}
    store.replace(full, name, values, fingerprint=fingerprint, job="test")


def balance(store: Store) -> pd.DataFrame:
    return store.read("gold.balance").orderBy("calibration").toPandas().set_index("calibration")


def test_the_job(spark: SparkSession, tmp_path: Path) -> None:
    settings = tmp_path / "toy.toml"
    settings.write_text(TOML.format(warehouse=tmp_path / "warehouse"))
    store, made = Store(spark, str(tmp_path / "warehouse")), shop()
    later = pd.DataFrame([("u00", "i40", "purchase", AS_OF)] * 30, columns=made.events.columns)
    write(store, spark, made)
    path = ROOT / "jobs" / "recommend_items.py"
    job = runpy.run_path(str(path))

    def again(*flags: str) -> pd.DataFrame:
        argv = ["--settings", str(settings), "--as-of", AS_OF.isoformat(), *FLAGS, *flags]
        assert run(job["JOB"], job["run"], argv, path) == 0
        return sorted_pandas(store.read("gold.recommendations")).drop(columns="run_id")

    first = again()
    laws = Laws(store, AS_OF, 8, 2)
    assert laws.explored_categories_are_unseen() == []
    assert (first["model_id"] == "m1").all()
    assert first["synthetic"].all()
    version = store.version("gold.recommendations")
    pd.testing.assert_frame_equal(first, again())
    assert store.version("gold.recommendations") == version, "the second run is skipped"

    write(store, spark, replace(made, events=pd.concat([made.events, later], ignore_index=True)))
    pd.testing.assert_frame_equal(first, again())
    assert (store.version("gold.recommendations") or 0) > (version or 0), "it ran again, and what lies at as_of changed nothing"

    assert store.read("gold.rule_effects").isEmpty(), "no rule is set"
    assert store.read("gold.policy_estimates").isEmpty(), "nobody was shown a list"
    fixed = balance(store)
    assert list(fixed.index[fixed["chosen"]]) == [0.4]
    assert fixed.loc[0.0, "accuracy_loss"] == 0.0
    assert (fixed["users"] == fixed["users"].iloc[0]).all()
    assert fixed["kl_bits"].is_monotonic_decreasing

    bound = float(fixed["accuracy_loss"].loc[0.5]) + 1e-9
    auto = "--recommend.calibration=auto", f"--recommend.accuracy_loss={bound}"
    ruled = again(*auto, '--recommend.never_brands=["b1"]')
    chosen = balance(store)
    above = chosen.index[chosen["accuracy_loss"] > bound].min()
    assert list(chosen.index[chosen["chosen"]]) == [max(c for c in chosen.index if not c >= above)]
    weight, foretold = prices(store.read("gold.balance"))
    assert weight == chosen.index[chosen["chosen"]][0]
    assert foretold == chosen["accuracy_loss"].to_dict()
    assert "b1" in {brand_of(i) for i in first["item_id"]}
    assert "b1" not in {brand_of(i) for i in ruled["item_id"]}
    taken = store.read("gold.rule_effects").toPandas()
    assert set(taken.loc[taken["rule"] != "gave_way", "rule_key"]) == {"b1"}
    assert (taken["rule"] == "never_brands").sum() > 20

    reseeded = again("--recommend.seed=2")
    exploit = first["slot"] == "exploit"
    pd.testing.assert_frame_equal(first[exploit], reseeded[exploit])
    assert not first[~exploit].equals(reseeded[~exploit])


def test_rules_hold_and_what_they_took_is_written_down(spark: SparkSession, sources: Sources) -> None:
    """Against plain loops over the lists with and without the rules."""
    rules = Rules((), ("i03", "i09"), ("b1",), ("c2",), ("i05", "i13"))
    free = policy(explore_budget="fixed", calibration=0.9)
    ruled = replace(free, most_per_brand=2)
    within = replace(sources, stock=may_be_shown(sources.item_categories, sources.items, rules))
    made = recommendations(rows_for_blocks(within, ruled, POPULARITY, users=30), ruled).persist()
    check(made, within, ruled)
    categories = shop().item_categories.groupby("item_id")["category"].agg(set).to_dict()

    def rule_of(item: str) -> tuple[str, str] | None:
        if item in ("i03", "i09"):
            return "never_items", item
        if item in ("i05", "i13"):
            return None
        return (
            ("never_brands", "b1") if brand_of(item) == "b1" else ("never_categories", "c2") if "c2" in categories[item] else None
        )

    lists = sorted_pandas(made)
    assert not any(rule_of(i) for i in lists["item_id"])
    assert {"i05", "i13"} & set(lists["item_id"]), "they are of b1 and may be shown all the same"
    inside = lists[lists["slot"] == "exploit"].assign(brand=lists["item_id"].map(brand_of))
    sizes = inside.groupby(["user_id", "brand"]).size()
    assert sizes.max() == 2

    before = sorted_pandas(recommendations(rows_for_blocks(sources, free, POPULARITY, users=30), free))
    worth = values_of(shop()).set_index(["user_id", "item_id"])["p_next_trip"]
    held = set(zip(lists["user_id"], lists["item_id"], strict=True))
    expected = []
    for row in before.itertuples():
        if (row.user_id, row.item_id) in held or (row.slot == "explore" and rule_of(row.item_id) is None):
            continue
        full = sizes.get((row.user_id, brand_of(row.item_id)), 0) == 2
        rule = rule_of(row.item_id) or (("most_per_brand", brand_of(row.item_id)) if full else ("gave_way", None))
        expected.append((row.user_id, row.item_id, row.rank, row.slot, *rule, worth.get((row.user_id, row.item_id))))
    taken = rule_effects(made, within, ruled, POPULARITY, rules, users=30).toPandas()
    found = taken[["user_id", "item_id", "rank", "slot", "rule", "rule_key", "p_next_trip"]].astype(object)
    assert sorted(found.where(found.notna(), None).itertuples(index=False, name=None)) == sorted(expected)
    assert set(taken["rule"]) == set(RULES)

    with pytest.raises(ContractError, match="only items that may be shown"):
        check(made, replace(within, stock=within.stock.filter("item_id != 'i05'")), ruled)
    with pytest.raises(ContractError, match="at most 1 exploit rows of a brand"):
        check(made, within, replace(ruled, most_per_brand=1))


def test_a_rule_that_names_nothing_is_told(sources: Sources) -> None:
    rules = Rules((), ("i99", "i03"), ("B1", "b2"), ("c2", "c33"), ())
    assert unknown_names(sources.item_categories, sources.items, rules) == [
        "recommend.never_items: no item has item_id 'i99'",
        "recommend.never_brands: no item has brand 'B1'; did you mean 'b1'?",
        "recommend.never_categories: no item has category 'c33'; did you mean 'c3'?",
    ]


def test_policy_and_settings_have_the_same_names() -> None:
    from equipoise.settings.model import Recommend

    assert set(Policy.__dataclass_fields__) - {"as_of"} <= set(Recommend.model_fields)
    assert set(Rules.__dataclass_fields__) <= set(Recommend.model_fields)
