"""The pipeline on the cluster with its warehouse on an object store: the tables of one machine, and keys that nobody is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from equipoise.store import Store
from equipoise.tables import CATALOGUE
from tests.cluster.objects import BUCKET, KEY, SECRET, SERVER, Objects, objects
from tests.cluster.standalone import Cluster
from tests.leaks import leaks
from tests.pipeline import ROOT, SMALL, differences, must

needs_server = not SERVER.is_file() or not (ROOT / ".jars" / "s3").is_dir()
pytestmark = [pytest.mark.cluster, pytest.mark.skipif(needs_server, reason="no S3 client or server here; run bash .ci/s3.sh")]


RUN = ("ingest_events", "build_features", "finetune_encoder", "score_users", "collect_feedback", "publish_report")
"""Every way to write a table, files copied for training, the views and the report. The other jobs find on the object store what
they made on one machine, read and write it as these do, and are skipped where their inputs come out the same."""

RUN_AGAIN = ("ingest_events", "finetune_encoder", "score_users", "publish_report")
"""An undated job, a model, tables of a model, and files beside tables: what decides that there is nothing to do."""


def fill(store: Objects, spark: SparkSession, warehouse: Path, prefix: str) -> None:
    """The tables of a warehouse but those that RUN wrote, as the ledger has it, and the ledger."""
    runs = Store(spark, str(warehouse)).read("ops.runs").filter(F.col("job").isin(*RUN)).collect()
    written = {"ops.runs", *(name for run in runs for name in run["outputs"])}
    for folder in (name.replace(".", "/") for name in CATALOGUE if name not in written):
        store.upload(warehouse / folder, f"{prefix}/{folder}")


def test_a_warehouse_on_an_object_store_holds_the_tables_of_one_machine(
    spark: SparkSession, running: Cluster, alone: Path, tmp_path: Path
) -> None:
    shared, events = tmp_path / "shared", tmp_path / "events"
    events.mkdir()
    flags = (*SMALL, f"--shared_folder={shared}")
    with objects(tmp_path / "server.log") as store:
        conf = (*store.conf, "--conf", "spark.eventLog.enabled=true", "--conf", f"spark.eventLog.dir=file://{events}")
        conf = (*conf, "--conf", "spark.eventLog.compress=false")
        place = f"s3a://{BUCKET}/a shop/warehouse"
        fill(store, spark, alone, "a shop/warehouse")
        first = must(running.run_all(place, *flags, profile="s3", conf=conf, env=store.environment)).output
        assert [job for job in RUN if f"[{job}] done in" not in first] == []
        copy = store.download("a shop/warehouse", tmp_path / "copy")
        assert differences(spark, alone, copy) == []
        assert (copy / "report.html").stat().st_size > 10_000
        assert f"LOCATION '{place}/gold/user_segments'" in (copy / "views.sql").read_text()
        again = must(
            running.run_all(
                *(place, *flags),
                script="tests/cluster/some_jobs.py",
                profile="s3",
                conf=conf,
                env={**store.environment, "ONLY": " ".join(RUN_AGAIN)},
            )
        ).output
        assert [job for job in RUN_AGAIN if f"[{job}] skipped" not in again] == []
        assert not [n for n in store.names("") if "models" in n or "_locks" in n], "they are in the shared folder"
    assert (shared / "models" / "encoder" / "CURRENT").is_file()
    assert list((shared / "models" / "encoder" / "_scratch").glob("*")) == [], "copies of the examples are gone"
    assert any(events.iterdir())
    places = [copy, shared, events, *running.logs.glob("work*/*/*/std*")]
    assert leaks(places, {"the run": first + again}, {"key": KEY, "secret key": SECRET}) == []


def test_without_a_folder_for_models_and_locks_nothing_begins(running: Cluster) -> None:
    ended = running.submit(
        "jobs/ingest_events.py", "--settings", "conf/simulated.toml", "--warehouse", f"s3a://{BUCKET}/w", profile="s3"
    )
    assert ended.code == 2
    assert "expected shared_folder, a folder that the driver and all workers mount" in ended.output
