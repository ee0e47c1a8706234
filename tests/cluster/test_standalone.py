"""A real cluster in small: jobs by spark-submit to a standalone master, the tables of one machine though executors are killed."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.cluster.standalone import Cluster
from tests.pipeline import AS_OF, SMALL, differences, must

pytestmark = pytest.mark.cluster


def test_workers_run_the_code_that_was_sent_behind_a_secret(running: Cluster) -> None:
    told = json.loads(must(running.submit("tests/cluster/probe.py")).output.strip().splitlines()[-1])
    assert told["files"]
    assert [f for f in told["files"] if "equipoise.zip" not in f] == []
    assert set(told["conf"].values()) == {"true"}
    assert stat.S_IMODE((running.conf / "spark-defaults.conf").stat().st_mode) == 0o600


def test_who_lacks_the_secret_is_not_let_in(running: Cluster, tmp_path: Path) -> None:
    (tmp_path / "spark-defaults.conf").write_text("spark.authenticate.secret wrong\n")
    stranger = Cluster(running.master, tmp_path, running.logs)
    ended = stranger.submit("tests/cluster/probe.py", timeout=120)  # it asks three times, 20 s apart, and gives up
    assert ended.code != 0
    assert '"files"' not in ended.output


def test_executors_go_when_there_is_nothing_to_do_and_come_back(running: Cluster) -> None:
    quick = ("--conf", "spark.dynamicAllocation.executorIdleTimeout=3s")
    ended = must(running.submit("tests/cluster/waves.py", conf=quick))
    assert json.loads(ended.output.strip().splitlines()[-1]) == {"work": 2, "pause": 1, "work again": 2}


def test_the_cluster_makes_the_tables_of_one_machine_though_executors_die(
    spark: SparkSession, running: Cluster, alone: Path, tmp_path: Path
) -> None:
    together = tmp_path / "together"
    killed: list[str] = []

    def kill(line: str) -> None:
        """The oldest executor, while users are scored and while items are valued."""
        for start in ("[score_users] ", "[value_items] "):
            if line.startswith(start) and "users, " in line and start not in killed and (found := running.executors()):
                found[0].kill()
                killed.append(start)

    ended = must(running.run_all(together, *SMALL, on_line=kill))
    assert len(killed) == 2, ended.output[-3000:]
    assert differences(spark, alone, together) == []
    secret = (running.conf / "spark-defaults.conf").read_text().split()[-1]
    assert secret not in ended.output
    left = [p for p in (*together.rglob("*.json"), *running.logs.rglob("std*")) if p.is_file()]
    assert [p for p in left if secret in p.read_text(errors="replace")] == []


def test_ranks_on_executors_train_as_on_one_machine(running: Cluster, alone: Path, tmp_path: Path) -> None:
    """One rank per Spark task, without dynamic allocation; the loss is that of as many ranks on the driver."""
    warehouse = Path(shutil.copytree(alone, tmp_path / "warehouse"))
    models = warehouse / "models" / "encoder"
    (on_driver,) = models.glob("*/model.json")
    told = ("--settings", "conf/simulated.toml", "--as-of", AS_OF, "--warehouse", str(warehouse), *SMALL)
    must(running.submit("jobs/finetune_encoder.py", *told, "--training.cluster_mode=true", profile="cluster_training"))
    (on_executors,) = set(models.glob("*/model.json")) - {on_driver}
    due, found = (json.loads(model.read_text())["metrics"] for model in (on_driver, on_executors))
    for name in ("best_loss", "start_loss", "best_category_loss"):
        assert found[name] == pytest.approx(due[name], abs=0.02), name
