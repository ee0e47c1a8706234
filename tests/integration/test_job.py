"""The job runner: exit codes, skipping, ledger, lock."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from equipoise.errors import GateError, SourceError
from equipoise.job import Context, Job
from equipoise.job.lock import slice_lock
from equipoise.job.run import run
from equipoise.store import Store
from equipoise.training.registry import Registry
from tests.integration.test_store import sequences
from tests.unit.training.packages import hollow

JOB = Job("toy", writes=("feature.sequences",), sections=("windows", "data_until"))
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


MODELS = Job("toy_training", sections=("training",), ignores=("training.gate_tolerance_bits",), publishes_model=True)
READER = Job("toy", writes=("feature.sequences",), uses_model=True)


def train(ctx: Context) -> None:
    if not ctx.registry.published(ctx.run_id):
        hollow(ctx.registry, ctx.run_id)
    if ctx.job.promotes:
        ctx.registry.promote(ctx.run_id)


def test_a_rerun_leaves_a_withdrawn_model_and_readers_follow_current_back(
    spark: SparkSession, argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry, store = Registry(tmp_path / "warehouse/models/encoder"), Store(spark, str(tmp_path / "warehouse"))
    versions, seeds = [], {seed: [*argv, "--training.seed", seed] for seed in ("1", "2")}

    def night(seed: str, model: str | None = None) -> str | None:
        assert run(MODELS, train, seeds[seed], Path("toy.py")) == 0
        assert model is None or registry.current() == model
        assert run(READER, body, argv, Path("toy.py")) == 0
        versions.append(store.version("feature.sequences"))
        return registry.current()

    first = night("1")
    second = night("2")
    assert first != second and versions[0] != versions[1], "another model writes the table anew"
    registry.back("flat lists")
    capsys.readouterr()
    assert night("2", first) == first
    said = capsys.readouterr().err
    assert f"model {second} was withdrawn (flat lists); CURRENT stays {first}" in said
    assert "skipped" in said
    assert versions[2] != versions[1], "and so does the earlier one, once it is CURRENT again"
    assert night("2", first) == first and versions[3] == versions[2]
    registry.choose(str(second))
    assert night("2", second) == second
    assert run(MODELS, train, [*seeds["2"], "--training.gate_tolerance_bits", "1"], Path("toy.py")) == 0
    assert registry.ids() == sorted([str(first), str(second)]), "a setting of the gate trains nothing"


def test_a_job_that_does_not_promote_leaves_current(argv: list[str], spark: SparkSession, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "warehouse/models/encoder")
    for _ in range(2):
        assert run(replace(MODELS, promotes=False), train, argv, Path("toy.py")) == 0
    assert (len(registry.ids()), registry.current()) == (1, None)
    assert run(MODELS, train, argv, Path("toy.py")) == 0
    assert registry.current() == registry.ids()[0]
