"""Executors that have no Python of their own run from the environment that came with the job."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.cluster.standalone import Cluster
from tests.pipeline import AS_OF, ROOT, SMALL, differences, must

pytestmark = pytest.mark.cluster
ARCHIVE = ("--archives", "dist/environment.tar.gz#environment", "--conf", "spark.pyspark.python=./environment/bin/python")
PATIENCE = ("--conf", "spark.network.timeout=900s", "--conf", "spark.files.useFetchCache=false")
"""Driver and executor fetch and unpack 5.6 GB each, which holds up the disk for minutes; a cache would be one more copy of it."""
DRIVER = ("--conf", f"spark.pyspark.driver.python={ROOT}/.venv/bin/python")
ONE = ("--conf", "spark.cores.max=1")
"""One executor: the archive and what comes out of it are 11 GB for each."""


def test_scoring_runs_from_an_archive(spark: SparkSession, running: Cluster, alone: Path, tmp_path: Path) -> None:
    subprocess.run(["bash", ".ci/pack.sh"], cwd=ROOT, check=True)
    warehouse = Path(shutil.copytree(alone, tmp_path / "warehouse"))
    for table in ("feature/user_vectors", "feature/item_vectors", "gold/user_interests"):
        shutil.rmtree(warehouse / table)
    job = ("jobs/score_users.py", "--settings", "conf/simulated.toml", "--as-of", AS_OF, "--warehouse", str(warehouse), *SMALL)
    try:
        ended = must(running.submit("tests/cluster/packed.py", *job, conf=(*ARCHIVE, *PATIENCE, *DRIVER, *ONE)))
    finally:
        for folder in running.logs.glob("work*/app-*"):
            shutil.rmtree(folder, ignore_errors=True)
    assert differences(spark, alone, warehouse) == []
    told = json.loads(ended.output.strip().splitlines()[-1])
    within = told["folder"]
    assert within.startswith(str(running.logs.resolve())), "an executor's own folder, below its worker's"
    for name in ("prefix", "torch"):
        assert told[name].startswith(f"{within}/"), (name, told)
    assert "equipoise.zip" in told["code"]
    assert not told["driver"].startswith(within)
