"""Sequences by hand: the latest items at several cuts, ties, priors, names without ids."""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession

from equipoise.features.build import Recipe, base
from equipoise.features.sequences import item_names, latest, sequences
from equipoise.features.text import parts_for
from equipoise.features.visits import cells, gathered, visits
from equipoise.tables.packing import CELL_VALUES
from tests.unit.features.world import ORIGIN, day, event, events, item_categories, items, table

WEIGHTS = {"purchase": 1.0, "view": 0.1}
VALIDATION, AS_OF = day("02-27"), day("03-27")


def recipe() -> Recipe:
    return Recipe(
        as_of=AS_OF,
        origin=ORIGIN,
        window_days=28,
        horizon_days=28,
        event_weights=WEIGHTS,
        half_life_days=1e9,  # no decay: weights are counts
        has_amounts=True,
        category_level=2,
        ladder="spend",
        training_cuts=8,
        sample=100,
        validation_sample=100,
        files=1,
        seed=1,
        encoder_path="none",
        max_tokens=64,
        max_items=3,
    )


def test_names_are_types_or_titles_but_never_ids(spark: SparkSession) -> None:
    def names(level: int) -> dict[str, str | None]:
        return {k: v["name"] for k, v in table(item_names(items(spark), level), "item_id").items()}

    assert names(2) == {
        "a1": "gouda",
        "a2": "brie",
        "b1": "cola lemon",
        "c1": "title c1",  # its type is its category
        "d1": "title d1",  # no type known
        "x1": None,  # a stub is called by its id
        "m1": "reading lamp cheese",
    }
    assert names(3)["a1"] == "title a1", "at level 3 the type is the category"


def at_cuts(spark: SparkSession, pairs: DataFrame | None = None) -> DataFrame:
    log = events(
        spark,
        [
            event("u", "c1", "purchase", day("01-10"), amount=1.0),
            event("u", "a1", "purchase", day("02-26"), amount=1.0, n=1),
            event("u", "a2", "view", day("02-26"), n=2),
            event("u", "b1", "purchase", day("02-26"), amount=1.0, n=2),  # the same second as the line above: event_id decides
            event("u", None, "redeem", day("02-26"), n=9),
            event("u", "d1", "purchase", VALIDATION, amount=1.0),  # the cut's own day
            event("u", "x1", "purchase", day("03-20"), amount=1.0),
            event("u", "a1", "expose", day("03-21")),
            event("one", "m1", "purchase", day("03-01"), amount=1.0),
            event("seeks", None, "search", day("03-02")),
        ],
    )
    made = base(log, item_categories(spark), recipe())
    return sequences(
        latest(log, recipe().all_cuts, 3),
        item_names(items(spark), 2),
        pairs=made.profiles.select("user_id", "cut") if pairs is None else pairs,
        profiles=made.profiles,
        weights=made.weights,
        cells=gathered(cells(visits(made.daily), made.profiles)),
        max_items=3,
        parts=parts_for(64),
    )


def test_hand_table(spark: SparkSession) -> None:
    found = table(at_cuts(spark), "user_id", "cut")
    assert found.keys() == {("u", day("01-30")), ("u", VALIDATION), ("u", AS_OF), ("one", AS_OF), ("seeks", AS_OF)}
    tied = [("a2", "view"), ("b1", "purchase")]
    ids = {i: event("u", i, k, day("02-26"), n=2)[0] for i, k in tied}
    low, high = sorted(tied, key=lambda pair: ids[pair[0]])
    at_validation, at_as_of, one, seeks = (found[k] for k in [("u", VALIDATION), ("u", AS_OF), ("one", AS_OF), ("seeks", AS_OF)])
    assert at_validation["item_ids"] == ["a1", low[0], high[0]] and at_validation["event_types"] == ["purchase", low[1], high[1]]
    assert at_validation["age_days"] == [1, 1, 1]
    assert at_validation["cell_categories"] == ["CHEESE", "LAMPS", "SOFT DRINKS"]
    assert len(at_validation["cells"]) == 3 * len(CELL_VALUES) and seeks["cells"] == seeks["cell_categories"] == []
    assert at_validation["prior_categories"] == ["CHEESE", "LAMPS", "SOFT DRINKS"]
    assert [round(w, 6) for w in at_validation["prior_weights"]] == [1.1, 1.0, 1.0]
    first_of_tied = {"a2": "brie", "b1": "cola lemon"}
    newest = ", ".join(first_of_tied[i] for i in (high[0], low[0]))
    assert at_validation["behaviour_text"] == (
        f"mostly cheese, lamps, soft drinks; items {newest}; active rarely, very high spend"
    )
    assert at_as_of["item_ids"] == [high[0], "d1", "x1"] and at_as_of["age_days"] == [29, 28, 7]
    assert at_as_of["prior_categories"] == ["CHEESE", "LAMPS", "PAINT", "SOFT DRINKS", "UNKNOWN"]
    assert "unknown" not in at_as_of["behaviour_text"] and "x1" not in at_as_of["behaviour_text"]
    assert one["prior_categories"] == ["CHEESE", "LAMPS"] and [round(w, 6) for w in one["prior_weights"]] == [0.5, 0.5]
    assert one["behaviour_text"] == "mostly cheese, lamps; items reading lamp cheese; came once, very low spend"
    assert (seeks["item_ids"], seeks["prior_categories"], seeks["behaviour_text"]) == ([], [], "only looks, no spend lately")


def test_only_the_pairs_asked_for(spark: SparkSession) -> None:
    pairs = spark.createDataFrame([("u", VALIDATION)], "user_id STRING, cut DATE")
    assert table(at_cuts(spark, pairs), "user_id", "cut").keys() == {("u", VALIDATION)}
