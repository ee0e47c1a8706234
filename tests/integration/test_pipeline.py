"""The whole pipeline as a platform runs it, on the seeded generator; and the laws on any finished warehouse."""

from __future__ import annotations

import importlib.util
import os
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from equipoise.settings import parse_command_line
from equipoise.store import Store
from tests.acceptance import Laws
from tests.pipeline import AS_OF, JOBS, ROOT, SMALL, SMALL_TRAINING, must, submit, versions

pytestmark = pytest.mark.slow
MOVIELENS_AS_OF = "1998-03-02"


def laws(spark: SparkSession, warehouse: Path, settings: str, as_of: str) -> Laws:
    found = parse_command_line(["--settings", str(ROOT / settings), "--as-of", as_of], needs_as_of=True)
    recommend = found.settings.recommend
    return Laws(Store(spark, str(warehouse)), date.fromisoformat(as_of), recommend.k, recommend.explore_slots)


def test_the_pipeline_runs_on_the_generator_keeps_the_laws_and_repeats_itself(spark: SparkSession, tmp_path: Path) -> None:
    warehouse = tmp_path / "warehouse"
    must(submit("run_all", warehouse, *SMALL))
    assert laws(spark, warehouse, "conf/simulated.toml", AS_OF).broken() == {}
    assert (warehouse / "report.html").stat().st_size > 10_000
    before = versions(spark, warehouse)
    again = must(submit("run_all", warehouse, *SMALL)).output
    assert [job for job in JOBS if f"[{job}] skipped" not in again] == []
    alone = must(submit("segment_users", warehouse, *SMALL)).output
    assert "skipped" in alone, "a job on its own is the same run as in the chain"
    assert versions(spark, warehouse) == before


@pytest.mark.skipif(importlib.util.find_spec("recbole") is None, reason="MovieLens-100k is not here; run bash .ci/movielens.sh")
def test_the_pipeline_runs_on_movielens_with_a_settings_file_alone(spark: SparkSession, tmp_path: Path) -> None:
    """A source that is no shop: ratings only, no amounts, several genres per item."""
    warehouse, movielens = tmp_path / "warehouse", "conf/movielens.toml"
    must(submit("run_all", warehouse, *SMALL_TRAINING, settings=movielens, as_of=MOVIELENS_AS_OF))
    assert laws(spark, warehouse, movielens, MOVIELENS_AS_OF).broken() == {}


@pytest.mark.skipif("EQUIPOISE_WAREHOUSE" not in os.environ, reason="names no finished warehouse in EQUIPOISE_WAREHOUSE")
def test_the_laws_hold_in_a_finished_warehouse(spark: SparkSession) -> None:
    settings = os.environ.get("EQUIPOISE_SETTINGS", "conf/demo.toml")
    found = laws(spark, Path(os.environ["EQUIPOISE_WAREHOUSE"]), settings, os.environ.get("EQUIPOISE_AS_OF", AS_OF))
    assert found.broken() == {}
