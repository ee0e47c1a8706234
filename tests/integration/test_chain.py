"""The chain of jobs: its order, the models of several seeds, and that it ends with the first job that does not end well."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from equipoise.job.chain import ORDER, run_chain, steps
from equipoise.settings import parse_command_line
from tests.pipeline import ROOT

TOY = """
from pathlib import Path
from equipoise.errors import GateError
from equipoise.job import Job
JOB = Job("{name}", sections=("windows",), needs_as_of={needs})

def run(ctx):
    with Path("{log}").open("a") as log:
        log.write("{name} " + str(ctx.settings.training.seed) + ("" if ctx.job.promotes else " not promoted") + "\\n")
    if "{name}" == "{gated}":
        raise GateError("too many bad rows")
"""
TOML = """
warehouse = "{w}"
source = {{ adapter = "simulated", name = "simulated" }}
identity = {{ key_file = "key" }}
windows = {{ origin = 2017-01-02 }}
"""


@pytest.fixture
def argv(tmp_path: Path) -> list[str]:
    (tmp_path / "toy.toml").write_text(TOML.format(w=tmp_path / "warehouse"))
    return ["--settings", str(tmp_path / "toy.toml"), "--as-of", "2017-11-06"]


def jobs(folder: Path, gated: str = "") -> Path:
    made = folder / "jobs"
    made.mkdir()
    for name in ORDER:
        text = TOY.format(name=name, log=folder / "log", gated=gated, needs=name != "ingest_events")
        (made / f"{name}.py").write_text(text)
    return made


def test_the_shell_script_runs_the_same_jobs_in_the_same_order() -> None:
    text = (ROOT / "jobs" / "run_all.sh").read_text()
    first = re.findall(r"^submit (\w+) ", text, re.MULTILINE)
    rest = re.findall(r"^for job in ([\w ]+);", text, re.MULTILINE)
    assert tuple([*first, *rest[0].split()]) == ORDER
    by_hand = {"run_all", "promote_model", "search_settings", "maintain_tables", "serve_tables", "print_standing"}
    assert {p.stem for p in (ROOT / "jobs").glob("*.py")} == {*ORDER, *by_hand}


def test_several_seeds_train_a_model_each_and_the_settings_own_last(argv: list[str]) -> None:
    settings = parse_command_line([*argv, "--evaluate.seeds", "3", "--training.seed", "5"], needs_as_of=True).settings
    trained = [more for name, more in steps(settings) if name == "finetune_encoder"]
    assert trained == [("--training.seed", "7"), ("--training.seed", "6"), ()]


def test_the_learner_alone_needs_half_of_the_jobs_and_a_model_without_some_users_is_trained_beside(argv: list[str]) -> None:
    flags = ["--evaluate.lists", "false", "--evaluate.held_out_users", "0.2", "--evaluate.seeds", "2"]
    settings = parse_command_line([*argv, *flags], needs_as_of=True).settings
    made = list(steps(settings))
    assert [name for name, _ in made if name != "finetune_encoder"] == [
        "ingest_events", "build_features", "score_users", "segment_users", "track_migration", "evaluate_models",
    ]  # fmt: skip
    trained = [more for name, more in made if name == "finetune_encoder"]
    assert trained == [("--training.held_out_users", "0.2"), ("--training.seed", "2"), ()]


def test_every_job_runs_once_in_order(spark: SparkSession, argv: list[str], tmp_path: Path) -> None:
    assert run_chain(jobs(tmp_path), argv) == 0
    assert (tmp_path / "log").read_text().split("\n")[:-1] == [f"{name} 1" for name in ORDER]


@pytest.mark.slow
def test_only_the_settings_own_model_is_promoted(spark: SparkSession, argv: list[str], tmp_path: Path) -> None:
    """Else the way back from a bad night would lead to a model that was trained for the evaluation."""
    assert run_chain(jobs(tmp_path), [*argv, "--evaluate.seeds", "3"]) == 0
    trained = [line for line in (tmp_path / "log").read_text().splitlines() if line.startswith("finetune_encoder")]
    assert trained == ["finetune_encoder 3 not promoted", "finetune_encoder 2 not promoted", "finetune_encoder 1"]


def test_it_ends_with_the_first_job_that_does_not_end_well(spark: SparkSession, argv: list[str], tmp_path: Path) -> None:
    assert run_chain(jobs(tmp_path, gated="build_features"), argv) == 3
    assert (tmp_path / "log").read_text() == "ingest_events 1\nbuild_features 1\n"


def test_a_model_that_was_not_let_in_ends_nothing(spark: SparkSession, argv: list[str], tmp_path: Path) -> None:
    """CURRENT is as it was, so the night has its tables; the exit code says what happened."""
    assert run_chain(jobs(tmp_path, gated="finetune_encoder"), argv) == 3
    assert (tmp_path / "log").read_text().split("\n")[:-1] == [f"{name} 1" for name in ORDER]


def test_so_it_is_in_the_shell_script(tmp_path: Path) -> None:
    """From a clean shell, which knows neither the environment nor its Python."""
    path, script = tmp_path / ".venv" / "bin" / "spark-submit", tmp_path / "jobs" / "run_all.sh"
    for file in (path, script):
        file.parent.mkdir(parents=True)
    path.write_text(
        f'#!/bin/sh\necho "$PYSPARK_PYTHON $*" >> {tmp_path}/asked\ncase "$*" in *finetune*) exit 3;; *$REFUSED*) exit 1;; esac\n'
    )
    path.chmod(0o755)
    shutil.copy(ROOT / "jobs" / "run_all.sh", script)
    env = {"PATH": "/usr/bin:/bin", "REFUSED": "nothing"}
    command = ["bash", str(script), "toy.toml", "2017-11-06"]
    assert subprocess.run(command, env=env, capture_output=True, check=False).returncode == 3
    asked = (tmp_path / "asked").read_text().splitlines()
    assert len(asked) == len(ORDER)
    assert asked[0].startswith(f"{tmp_path}/.venv/bin/python --properties-file conf/spark/local.conf ")
    (tmp_path / "asked").unlink()
    env["SPARK_MASTER"] = "spark://host:7077"
    assert subprocess.run(command, env=env | {"REFUSED": "watch_tables"}, capture_output=True, check=False).returncode == 1
    asked = (tmp_path / "asked").read_text().splitlines()
    assert len(asked) == ORDER.index("watch_tables") + 1 and " --master spark://host:7077 " in asked[-1]


def test_bad_settings_are_told_before_any_job_starts(argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_chain(jobs(tmp_path), [*argv, "--recommend.k", "none"]) == 2
    assert "recommend.k" in capsys.readouterr().err
    assert not (tmp_path / "log").exists()
