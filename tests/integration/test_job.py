"""The job runner: exit codes, skipping, ledger, lock."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

import equipoise.job.run as run_module
from equipoise.clock import now
from equipoise.errors import GateError, SourceError, StoreError
from equipoise.job import Context, Job
from equipoise.job.lock import slice_lock
from equipoise.job.reach import require_reach
from equipoise.job.run import run
from equipoise.store import Store, is_kept
from equipoise.store.ledger import TRIES, Entry, Ledger
from equipoise.tables import CATALOGUE
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


def test_what_a_body_keeps_in_memory_goes_with_it(spark: SparkSession, argv: list[str]) -> None:
    kept: list[DataFrame] = []

    def keeping(ctx: Context) -> None:
        kept.append(ctx.spark.range(3).persist())
        assert is_kept(kept[-1])
        body(ctx)

    def failing(ctx: Context) -> None:
        keeping(ctx)
        raise SourceError("no file x")

    assert run(JOB, keeping, argv, Path("toy.py")) == 0
    assert run(JOB, failing, [*argv, "--windows.days", "7"], Path("toy.py")) == 1
    assert len(kept) == 2 and not any(map(is_kept, kept))


def contested(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Other jobs write in ops.runs whenever a run is about to say how it ended, as often as this."""
    plain, left = Ledger._save, iter(range(times))

    def save(self: Ledger, entry: Any, mode: str, options: dict[str, str]) -> None:
        if entry.status != "running" and next(left, None) is not None:
            raise RuntimeError("[DELTA_CONCURRENT_APPEND.WITHOUT_HINT] Files were added to the root of the table")
        plain(self, entry, mode, options)

    monkeypatch.setattr(Ledger, "_save", save)
    monkeypatch.setattr("equipoise.store.ledger.LONGEST_WAIT_S", 0.0)


def test_jobs_beside_it_write_in_the_ledger_too(
    spark: SparkSession, argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gated(ctx: Context) -> None:
        raise GateError("12 % rejected, at most 1 % allowed")

    contested(monkeypatch, TRIES - 1)
    assert run(JOB, body, argv, Path("toy.py")) == 0
    assert statuses(spark, tmp_path) == [(1, "done")]
    contested(monkeypatch, TRIES)
    assert run(JOB, gated, [*argv, "--windows.days", "7"], Path("toy.py")) == 3, "the ledger does not take the gate's place"
    said = capsys.readouterr().err
    assert "it ended as gated: ops.runs: other jobs wrote in it each of the 10 times" in said and "12 % rejected" in said


def test_a_missing_input_says_what_to_run(argv: list[str], spark: SparkSession, capsys: pytest.CaptureFixture[str]) -> None:
    job = Job("toy", reads=("silver.events",), writes=("feature.sequences",))
    assert run(job, body, argv, Path("toy.py")) == 1
    assert "no table silver.events" in capsys.readouterr().err


COUNTS = Job("segments", reads=("feature.daily_counts",), writes=("feature.sequences",))


def counted(store: Store, as_of: date, *, state: bool = True, run_id: str = "n") -> None:
    """feature.daily_counts as build_features leaves it, and with `state` what it notes of it."""
    row = ("u", as_of - timedelta(days=1), "MILK", "view", 1.0, 0.0, 0.0)
    daily = store.spark.createDataFrame([row], CATALOGUE["feature.daily_counts"].struct_type())
    version = store.replace(daily, "feature.daily_counts", {}, fingerprint=run_id, job="build_features").version
    if state:
        left = ("build_features", run_id, as_of, "b", "", {"feature.daily_counts": version}, [])
        frame = store.spark.createDataFrame([left], CATALOGUE["ops.feature_state"].struct_type())
        store.replace(frame, "ops.feature_state", {}, fingerprint=run_id, job="build_features")


def test_features_that_end_before_the_date_are_refused(
    spark: SparkSession, argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, night = Store(spark, str(tmp_path / "warehouse")), date(2017, 11, 6)
    counted(store, night, run_id="newest")
    assert run(COUNTS, body, argv, Path("toy.py")) == 0
    counted(store, night - timedelta(days=28), run_id="old")
    assert run(COUNTS, body, argv, Path("toy.py")) == 1
    said = capsys.readouterr().err
    assert "feature.daily_counts (as of 2017-10-09) ends before that date" in said
    assert "run build_features --as-of 2017-11-06 first" in said
    counted(store, night + timedelta(days=1), run_id="later")
    require_reach(store, COUNTS, night)
    old = night - timedelta(days=35)  # of the newest night stands the state, of this one, cut short, the table
    Ledger(store, spark).start(Entry("dead", 0, "build_features", old, "s", "c", {}, {}, {}, now(), None, "running", None))
    counted(store, old, state=False, run_id="dead")
    with pytest.raises(StoreError, match=r"as of 2017-10-02"):
        require_reach(store, COUNTS, night)


def test_a_table_of_one_date_at_a_time_is_written_by_one_run_at_a_time(
    argv: list[str], spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = replace(JOB, name="features", writes=("feature.daily_counts", "feature.sequences"))
    with slice_lock(str(tmp_path / "warehouse"), "features", "any_date"):
        assert run(whole, body, argv, Path("toy.py")) == 1
    assert "features any_date: another run works on this slice" in capsys.readouterr().err


def test_a_run_is_known_by_the_rows_that_it_reads(
    spark: SparkSession, argv: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An input that is written once more between the look at its version and the run counts for the next run, not for this."""
    store, ran = Store(spark, str(tmp_path / "warehouse")), []

    def reads(ctx: Context) -> None:
        ran.append([r["event_type"] for r in ctx.read("feature.daily_counts").collect()])
        body(ctx)

    counted(store, date(2017, 11, 6), state=False)
    plain = run_module._pin

    def pin(store: Store, job: Job) -> dict[str, int]:
        pinned = plain(store, job)
        if not ran:
            counted(store, date(2017, 11, 7), state=False, run_id="meanwhile")
        return pinned

    monkeypatch.setattr(run_module, "_pin", pin)
    assert [run(COUNTS, reads, argv, Path("toy.py")) for _ in range(3)] == [0, 0, 0]
    assert len(ran) == 2, "the second run reads the newer rows, the third has nothing to do"


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
