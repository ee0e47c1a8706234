"""The behaviour line, word for word, against lines written by hand."""

from __future__ import annotations

from typing import Any

import pytest
from pyspark.sql import SparkSession

from equipoise.features.text import Parts, behaviour_text, parts_for, plain_words, rhythm_words

RANKED = "ARRAY<STRUCT<minus_weight: DOUBLE, name: STRING>>"
LINE = f"user_id STRING, top {RANKED}, whole DOUBLE, late {RANKED}, names ARRAY<STRING>, rhythm STRING"
PROFILE = (
    "user_id STRING, cut STRING, frequency DOUBLE, mean_gap_days DOUBLE, recency_over_gap DOUBLE, "
    "spend_112d DOUBLE, monetary DOUBLE"
)


def line(top: dict[str, float], whole: float, late: list[str], names: list[str | None], rhythm: str) -> tuple[Any, ...]:
    return [(-w, n) for n, w in top.items()], whole, [(-1.0, n) for n in late], names, rhythm


CASES = {
    "every part, every level; what is told is not told again; names once; long names cut": (
        line(
            {"BEEF": 40.0, "SOFT DRINKS": 10.0, "MILK/BY-PROD": 2.0, "EGGS": 1.0},
            100.0,
            ["BEEF", "CHEESE", "COOKIES/CONES & MORE", "TEA"],
            ["beef", None, "cola", "cheese", "cola", "brie", "gouda"],
            "active weekly",
        ),
        "mostly beef; often soft drinks; sometimes milk by prod; a little eggs; lately cheese, cookies cones more; "
        "items cola, brie; active weekly",
    ),
    "nothing but a rhythm": (line({}, 0.0, [], [], "came once"), "came once"),
    "a single event": (
        line({"BEEF": 1.0}, 1.0, ["BEEF"], ["beef chuck"], "came once"),
        "mostly beef; items beef chuck; came once",
    ),
    "shares at a bound belong to the heavier word": (
        line({"A": 15.0, "B": 5.0, "C": 2.0}, 100.0, [], [], "r"),
        "mostly a; often b; sometimes c; r",
    ),
    "what is UNKNOWN counts in the whole only": (line({"A": 10.0}, 100.0, [], [""], "r"), "often a; r"),
}


def test_lines(spark: SparkSession) -> None:
    frame = spark.createDataFrame([(name, *row) for name, (row, _) in CASES.items()], LINE)
    found = {r["user_id"]: r["behaviour_text"] for r in behaviour_text(frame, Parts(4, 2, 2)).collect()}
    assert found == {name: expected for name, (_, expected) in CASES.items()}


def test_rhythm_and_spend_words(spark: SparkSession) -> None:
    rows = [
        ("never", "c", 0.0, 30.0, 0.2, 0.0, 0.0, "only looks, no spend lately"),
        ("once", "c", 1.0, 9.0, 1.0, 10.0, 10.0, "came once, very low spend"),
        ("daily", "c", 9.0, 1.0, 1.0, 20.0, 90.0, "active daily, low spend"),
        ("days", "c", 9.0, 4.0, 1.0, 30.0, 90.0, "active every few days, middle spend"),
        ("week", "c", 9.0, 7.0, 3.0, 40.0, 90.0, "active weekly, quiet now, high spend"),
        ("month", "c", 2.0, 40.0, 1.0, 50.0, 90.0, "active monthly, very high spend"),
        ("rare", "c", 2.0, 50.0, 1.0, 60.0, 90.0, "active rarely, very high spend"),
        ("weeks", "d", 9.0, 14.0, 1.0, 1.0, 90.0, "active every few weeks, very high spend"),  # alone among its cut's spenders
        ("no money", "e", 9.0, 7.0, 1.0, 0.0, None, "active weekly"),
    ]
    found = rhythm_words(spark.createDataFrame([r[:-1] for r in rows], PROFILE)).collect()
    assert {r["user_id"]: r["rhythm"] for r in found} == {r[0]: r[-1] for r in rows}


@pytest.mark.parametrize(("max_tokens", "parts"), [(64, (6, 3, 2)), (8, (1, 1, 1)), (128, (12, 6, 4))])
def test_longer_lines_for_longer_models(max_tokens: int, parts: tuple[int, int, int]) -> None:
    assert parts_for(max_tokens) == parts


def test_plain_words(spark: SparkSession) -> None:
    names = ["FRZN MEAT/MEAT DINNERS", " Käse & Öl ", "CANDY - PACKAGED", "Toy Story (1995)", "---"]
    frame = spark.createDataFrame([(n,) for n in names], "name STRING")
    found = [r[0] for r in frame.select(plain_words(frame["name"])).collect()]
    assert found == ["frzn meat meat", "käse öl", "candy packaged", "toy story 1995", ""]
