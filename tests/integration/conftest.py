"""Warehouses that tests of several files go on from, made once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from equipoise.job.run import run
from tests.conftest import ROOT
from tests.integration import test_features_job as features
from tests.integration.report_tables import AS_OF
from tests.integration.test_report_publish import Night
from tests.small_models import tiny_bert
from tests.unit.features.world import day, random_events


@pytest.fixture(scope="session")
def small_features(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse with the features of a small log, for trainings of one rank; to be copied."""
    folder = tmp_path_factory.mktemp("features")
    settings = features.TOML.format(warehouse=folder / "warehouse", encoder=tiny_bert(folder / "bert"))
    (folder / "settings.toml").write_text(f"{settings.rstrip()}\nprocesses = 1\n")
    features.fill(spark, folder / "warehouse", random_events(4, day("01-03"), 200, 400, users=14))
    module, argv = features.job(), ["--settings", str(folder / "settings.toml"), "--as-of", str(features.AS_OF)]
    assert run(module.JOB, module.run, argv, ROOT / "jobs" / "build_features.py") == 0
    return folder / "warehouse"


@pytest.fixture(scope="session")
def night(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Night:
    """Published, and a later date half written after it; to be read."""
    made = Night(tmp_path_factory.mktemp("elsewhere"), spark)
    made.fill()
    later = made.store.read("gold.user_segments").withColumn("as_of", F.date_add("as_of", 7))
    made.store.replace(later, "gold.user_segments", {"as_of": AS_OF + timedelta(days=7)}, fingerprint="later", job="test")
    return made
