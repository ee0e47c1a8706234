"""Which night is whole, and files that are written whole."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from equipoise.errors import ContractError
from equipoise.report import publish

DAY, OTHER = date(2017, 11, 6), date(2017, 10, 9)
TABLES = [name.removeprefix("gold.") for name in publish.JOBS]


def night(spark: SparkSession, **models: list[tuple[date, str | None]]) -> publish.Read:
    frames = {f"gold.{t}": spark.createDataFrame(rows, "as_of DATE, model_id STRING") for t, rows in models.items()}

    def read(name: str) -> DataFrame:
        return frames[name]

    return read


def test_one_model_makes_a_night_and_other_dates_do_not_matter(spark: SparkSession) -> None:
    same = [(DAY, "m2"), (DAY, "m2"), (OTHER, "m1")]
    read = night(spark, **dict.fromkeys(TABLES, same) | {"recommendations": [*same, (DAY, None)]})
    assert publish.model_of_night(read, DAY) == "m2"


def test_only_transitions_may_be_empty(spark: SparkSession) -> None:
    """A young shop has nobody in two windows running; a night without migration was not run to its end."""
    here = {name: [(DAY, "m")] for name in TABLES}
    assert publish.model_of_night(night(spark, **here | {"category_transitions": [(OTHER, "m")]}), DAY) == "m"
    with pytest.raises(ContractError, match=r"gold.interest_migration has no rows for 2017-11-06.*run track_migration"):
        publish.model_of_night(night(spark, **here | {"interest_migration": [(OTHER, None)]}), DAY)


def test_a_missing_table_names_the_job_that_writes_it(spark: SparkSession) -> None:
    here = [(DAY, "m")]
    read = night(spark, **dict.fromkeys(TABLES, here) | {"recommendations": [(OTHER, "m")]})
    with pytest.raises(
        ContractError,
        match=(
            r"gold.recommendations has no rows for 2017-11-06.*run "
            r"recommend_items --as-of 2017-11-06"
        ),
    ):
        publish.model_of_night(read, DAY)


def test_two_models_are_no_night(spark: SparkSession) -> None:
    old = [(DAY, "old")]
    read = night(spark, **dict.fromkeys(TABLES, old) | {"user_interests": [(DAY, "new")]})
    with pytest.raises(ContractError, match=r"come from different models \(gold.user_interests: model new"):
        publish.model_of_night(read, DAY)


def test_only_tables_that_hold_the_date_are_published(spark: SparkSession) -> None:
    read = night(spark, user_segments=[(DAY, "m")], user_profiles=[(OTHER, "m")])
    pinned = {"silver.items": 3, "gold.user_segments": 7, "gold.user_profiles": 2}
    assert publish.versions(pinned, read, DAY) == {"silver.items": 3, "gold.user_segments": 7}


def test_a_table_in_which_no_row_is_an_answer_is_published_without_rows(spark: SparkSession) -> None:
    """A shop without rules or campaigns, a night before its labels: what asks for them finds none, not that there is no view."""
    read = night(spark, user_segments=[(DAY, "m")], rule_effects=[(OTHER, "m")], audiences=[], evaluation=[(OTHER, "m")])
    pinned = {"gold.user_segments": 7, "gold.rule_effects": 2, "gold.audiences": 1, "gold.evaluation": 4}
    assert publish.versions(pinned, read, DAY) == pinned


def test_no_card_is_none(tmp_path: Path) -> None:
    assert publish.card_text(None) is None
    assert publish.card_text(str(tmp_path)) is None
    (tmp_path / "MODEL_CARD.md").write_text("# Card")
    assert publish.card_text(str(tmp_path)) == "# Card"
