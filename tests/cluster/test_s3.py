"""The pipeline on the cluster with its warehouse on an object store: the tables of one machine, and keys that nobody is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.cluster.objects import BUCKET, KEY, SECRET, SERVER, objects
from tests.cluster.standalone import Cluster
from tests.leaks import leaks
from tests.pipeline import JOBS, ROOT, SMALL, differences, must

needs_server = not SERVER.is_file() or not (ROOT / ".jars" / "s3").is_dir()
pytestmark = [pytest.mark.cluster, pytest.mark.skipif(needs_server, reason="no S3 client or server here; run bash .ci/s3.sh")]


def test_a_warehouse_on_an_object_store_holds_the_tables_of_one_machine(
    spark: SparkSession, running: Cluster, alone: Path, tmp_path: Path
) -> None:
    shared, events = tmp_path / "shared", tmp_path / "events"
    events.mkdir()
    flags = (*SMALL, f"--shared_folder={shared}")
    with objects(tmp_path / "server.log") as store:
        conf = (*store.conf, "--conf", "spark.eventLog.enabled=true", "--conf", f"spark.eventLog.dir=file://{events}")
        conf = (*conf, "--conf", "spark.eventLog.compress=false")
        asked = {"profile": "s3", "conf": conf, "env": store.environment, "timeout": 4000}
        place = f"s3a://{BUCKET}/a shop/warehouse"
        first = must(running.run_all(place, *flags, **asked)).output
        copy = store.download("a shop/warehouse", tmp_path / "copy")
        assert differences(spark, alone, copy) == []
        assert (copy / "report.html").stat().st_size > 10_000
        assert f"LOCATION '{place}/gold/user_segments'" in (copy / "views.sql").read_text()
        again = must(running.run_all(place, *flags, **asked)).output
        assert [job for job in JOBS if f"[{job}] skipped" not in again] == []
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
