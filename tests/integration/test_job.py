"""The job runner: exit codes, skipping, ledger, lock."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from equipoise.errors import GateError, SourceError
from equipoise.job import Context, Job
from equipoise.job.lock import slice_lock
from equipoise.job.run import run
from equipoise.store import Store
from tests.integration.test_store import sequences

JOB = Job("toy", writes=("feature.sequences",), sections=("windows",))
TOML = """
warehouse = "{warehouse}"
[source]
adapter = "simulated"
name = "simulated"
[identity]
key_file = "key"
[windows]
origin = 2017-01-02
"""


@pytest.fixture
def argv(tmp_path: Path) -> list[str]:
    settings = tmp_path / "toy.toml"
    settings.write_text(TOML.format(warehouse=tmp_path / "warehouse"))
    return ["--settings", str(settings), "--as-of", "2017-11-06"]


def body(ctx: Context) -> None:
    ctx.replace("feature.sequences", sequences(ctx.spark, 4).drop("as_of"), {"as_of": ctx.as_of})


def statuses(spark: SparkSession, tmp_path: Path) -> list[tuple[int, str]]:
    rows = Store(spark, str(tmp_path / "warehouse")).read("ops.runs").orderBy("started_at").collect()
    return [(r["attempt"], r["status"]) for r in rows]


def test_done_then_skipped_then_again_when_settings_change(spark: SparkSession, argv: list[str], tmp_path: Path) -> None:
    store = Store(spark, str(tmp_path / "warehouse"))
    assert run(JOB, body, argv, Path("toy.py")) == 0
    version = store.version("feature.sequences")
    assert run(JOB, body, argv, Path("toy.py")) == 0
    assert store.version("feature.sequences") == version
    assert statuses(spark, tmp_path) == [(1, "done"), (2, "skipped")]
    assert run(JOB, body, [*argv, "--recommend.k", "20"], Path("toy.py")) == 0
    assert store.version("feature.sequences") == version, "recommend is no section of this job"
    assert run(JOB, body, [*argv, "--windows.days", "7"], Path("toy.py")) == 0
    assert (store.version("feature.sequences") or 0) > (version or 0)
    comment = spark.sql(f"DESCRIBE DETAIL delta.`{store.path('feature.sequences')}`").collect()[0]["description"]
    assert "SYNTHETIC" in comment


def test_exit_codes(spark: SparkSession, argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def gated(ctx: Context) -> None:
        raise GateError("12 % rejected, at most 1 % allowed")

    def failing(ctx: Context) -> None:
        raise SourceError("no file x")

    def crashing(ctx: Context) -> None:
        raise ZeroDivisionError("odd")

    assert run(JOB, gated, argv, Path("toy.py")) == 3
    assert run(JOB, failing, argv, Path("toy.py")) == 1
    assert run(JOB, crashing, argv, Path("toy.py")) == 1
    assert [s for _, s in statuses(spark, tmp_path)] == ["gated", "failed", "failed"]
    assert run(JOB, body, [*argv, "--windows.dayz", "7"], Path("toy.py")) == 2
    assert "did you mean windows.days?" in capsys.readouterr().err


def test_a_missing_input_says_what_to_run(argv: list[str], spark: SparkSession, capsys: pytest.CaptureFixture[str]) -> None:
    job = Job("toy", reads=("silver.events",), writes=("feature.sequences",))
    assert run(job, body, argv, Path("toy.py")) == 1
    assert "no table silver.events" in capsys.readouterr().err


def test_two_runs_on_one_slice(argv: list[str], spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with slice_lock(str(tmp_path / "warehouse"), "toy", "2017-11-06"):
        assert run(JOB, body, argv, Path("toy.py")) == 1
        assert "another run works on this slice" in capsys.readouterr().err
    assert run(JOB, body, argv, Path("toy.py")) == 0
