"""The comparison of warehouses that the kill tests rest on sees what differs, and nothing else."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from equipoise.store import Store
from tests.integration.test_store import sequences
from tests.pipeline import differences

SLICE: dict[str, object] = {"as_of": date(2017, 11, 6)}


def test_a_lost_row_a_changed_value_and_a_missing_table_are_seen(spark: SparkSession, tmp_path: Path) -> None:
    whole = sequences(spark, 4)
    frames = {
        "a": whole,
        "b": whole.repartition(3),
        "short": whole.limit(3),
        "other": whole.withColumn("behaviour_text", F.lit("?")),
    }
    for name, frame in frames.items():
        Store(spark, str(tmp_path / name)).replace(frame, "feature.sequences", SLICE, fingerprint=name, job="toy")
    assert differences(spark, tmp_path / "a", tmp_path / "b") == []
    assert differences(spark, tmp_path / "a", tmp_path / "short") == ["feature.sequences: 4 rows and 3 rows"]
    assert differences(spark, tmp_path / "a", tmp_path / "other") == ["feature.sequences.behaviour_text: values differ"]
    assert differences(spark, tmp_path / "a", tmp_path / "nothing") == ["feature.sequences: only in the first"]
    again = Path(shutil.copytree(tmp_path / "a", tmp_path / "again"))
    assert differences(spark, tmp_path / "a", again) == []
    Store(spark, str(again)).replace(frames["other"], "feature.sequences", SLICE, fingerprint="later", job="toy")
    assert differences(spark, tmp_path / "a", again) == ["feature.sequences.behaviour_text: values differ"]
