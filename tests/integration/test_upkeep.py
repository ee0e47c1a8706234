"""maintain_tables: files joined and deleted, rows and fingerprints as they were, versions that somebody needs kept."""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from delta.exceptions import ConcurrentDeleteReadException
from jobs.maintain_tables import JOB
from jobs.maintain_tables import run as body
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from equipoise.job.run import run
from equipoise.store import Store
from equipoise.store.ledger import Entry, Ledger
from equipoise.tables import CATALOGUE
from tests.conftest import ROOT
from tests.integration.test_chain import TOML
from tests.integration.test_store import sequences

NAME, DAY = "feature.sequences", date(2017, 11, 6)


@pytest.fixture
def mine(spark: SparkSession, tmp_path: Path) -> Store:
    """A table of twelve files, whose rows of an earlier version lie in twelve others."""
    (tmp_path / "toy.toml").write_text(TOML.format(w=tmp_path / "warehouse"))
    made = Store(spark, f"{tmp_path}/warehouse")
    for users, mark in ((30, "first"), (40, "second")):
        put(made, sequences(spark, users), mark)
    return made


def put(store: Store, frame: DataFrame, mark: str) -> bool:
    told = {"fingerprint": mark, "job": "test", "keep_partitions": True}
    return store.replace(frame.repartition(12), NAME, {"as_of": DAY}, **told).skipped  # type: ignore[arg-type]


def older(store: Store, hours: float) -> None:
    """Everything that was written so far was written so many hours earlier."""
    back = hours * 3600
    for place in Path(store.root).rglob("*"):
        if place.name.endswith(".json") and place.parent.name == "_delta_log":
            place.with_name(f".{place.name}.crc").unlink(missing_ok=True)
            text = re.sub(
                r'"deletionTimestamp":(\d+)', lambda m: f'"deletionTimestamp":{int(m[1]) - int(back * 1000)}', place.read_text()
            )
            place.write_text(text)
        if place.is_file() and not place.name.startswith("."):
            os.utime(place, (time.time() - back,) * 2)
    jvm = SparkSession.active()._jvm
    jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()  # type: ignore[union-attr]


def upkeep(store: Store, *more: str) -> dict[str, Row]:
    """Rows of ops.maintenance of one run, by table."""
    settings = Path(store.root).parent / "toy.toml"
    assert run(JOB, body, ["--settings", str(settings), *more], ROOT / "jobs" / "maintain_tables.py") == 0
    rows = store.read("ops.maintenance")
    newest = rows.agg(F.max("started_at")).collect()[0][0]
    return {r["table_name"]: r for r in rows.filter(F.col("started_at") == F.lit(newest)).collect()}


def parquet(store: Store, name: str = NAME) -> set[str]:
    return {p.name for p in Path(store.path(name)).rglob("*.parquet") if "_delta_log" not in p.parts}


def test_files_are_joined_and_old_ones_go_but_no_job_runs_again(spark: SparkSession, mine: Store) -> None:
    older(mine, 200)
    before, rows_version = mine.read(NAME).orderBy("user_id").collect(), mine.rows_version(NAME)
    first, second = mine.files(NAME, 1), mine.files(NAME, 2)
    told = upkeep(mine)[NAME]
    assert (told["live_files_before"], told["live_files_after"]) == (12, 1) and told["files_deleted"] == 12
    assert told["bytes_before"] > told["bytes_after"] and told["held_back"] is None
    assert mine.read(NAME).orderBy("user_id").collect() == before
    assert not any(Path(f).exists() for f in first), "replaced before the retention"
    assert all(Path(f).exists() for f in second), "replaced just now, by joining"
    assert mine.version(NAME) > told["version_before"] and mine.rows_version(NAME) == rows_version, "a job goes by the rows"
    assert put(mine, sequences(spark, 40), "second"), "the slice is still known to hold this fingerprint"
    again = upkeep(mine)[NAME]
    assert again["version_before"] == again["version_after"] and again["files_deleted"] == 0


def test_a_table_that_another_run_changes_meanwhile_is_left_to_the_next_upkeep(
    mine: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sql = SparkSession.sql

    def refusing(spark: SparkSession, text: str) -> DataFrame:
        if text.startswith("OPTIMIZE"):
            raise ConcurrentDeleteReadException("DELTA_CONCURRENT_DELETE_READ")
        return sql(spark, text)

    older(mine, 200)
    monkeypatch.setattr(SparkSession, "sql", refusing)
    told = upkeep(mine)[NAME]
    assert told["live_files_after"] == 12 and told["files_deleted"] == 12, "what was replaced before goes all the same"
    assert f"{NAME}: another run changed it while its files were being joined" in capsys.readouterr().err
    monkeypatch.setattr(SparkSession, "sql", sql)
    assert upkeep(mine)[NAME]["live_files_after"] == 1


@pytest.mark.parametrize("who", ["the views", pytest.param("training", marks=pytest.mark.slow)])
def test_a_version_that_is_needed_holds_the_table_back(spark: SparkSession, mine: Store, who: str) -> None:
    run_id = "ab" * 16
    left = Path(mine.root) / "models" / "encoder" / "_checkpoints" / run_id
    if who == "the views":
        published = spark.createDataFrame([(DAY, NAME, 1, run_id)], CATALOGUE["ops.published"].struct_type())
        mine.replace(published, "ops.published", {"as_of": DAY}, fingerprint="p", job="test")
    else:
        then = datetime.now(UTC)
        Ledger(mine, spark).start(
            Entry(run_id, 0, "finetune_encoder", DAY, "", "", {NAME: 1}, {}, {}, then, None, "failed", None)
        )
    older(mine, 200)
    if who == "training":
        left.mkdir(parents=True)
        (left / "checkpoint").write_text("recent")
    told = upkeep(mine)[NAME]
    assert told["files_deleted"] == 0 and told["held_back"].startswith(who) and "version 1, replaced" in told["held_back"]
    assert mine.read(NAME, 1).count() == 30
    if who == "training":
        for place in (left / "checkpoint", left):
            os.utime(place, (time.time() - timedelta(hours=169).total_seconds(),) * 2)
        assert upkeep(mine)[NAME]["files_deleted"] == 12 and not left.exists(), "what nobody touched for so long does not go on"


@pytest.mark.slow
def test_a_longer_retention_keeps_what_the_log_would_forget(mine: Store) -> None:
    """VACUUM alone deletes it: the log forgets after a week that a file ever belonged to the table."""
    upkeep(mine, "--maintenance.retention_hours", "1000", "--maintenance.most_small_files", "100")
    older(mine, 400)
    told = upkeep(mine, "--maintenance.retention_hours", "1000", "--maintenance.most_small_files", "100")[NAME]
    assert told["files_deleted"] == 0 and mine.read(NAME, 1).count() == 30


@pytest.mark.slow
def test_a_dry_run_changes_nothing_and_the_files_of_a_training_stay_as_they_are(spark: SparkSession, mine: Store) -> None:
    table = CATALOGUE["feature.examples"]
    empty = spark.createDataFrame([], table.struct_type())
    mine.replace(empty, table.full_name, {}, fingerprint="e", job="test", keep_partitions=True)
    older(mine, 200)
    before, version = parquet(mine), mine.version(NAME)
    told = upkeep(mine, "--maintenance.dry_run", "true")[NAME]
    assert told["files_deleted"] == 12 and told["dry_run"] and parquet(mine) == before and mine.version(NAME) == version
    joined = upkeep(mine, "--maintenance.most_small_files", "1")
    assert joined[NAME]["live_files_after"] == 1
    examples = joined[table.full_name]
    assert examples["live_files_after"] == examples["live_files_before"]
