"""The DAG loads, is as drawn, and its settings and gates say what they should."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from datetime import date, datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from equipoise_ledger import Attempt, attempts
from equipoise_settings import DagSettings, DagSettingsError, load

from .conftest import DAGS, ROOT, load_dag, settings_file

EDGES = {
    ("ingest_events", "quality_gate"),
    ("quality_gate", "build_features"),
    ("quality_gate", "mine_associations"),
    ("build_features", "training_night"),
    ("training_night", "finetune_encoder"),
    ("finetune_encoder", "promotion_gate"),
    ("promotion_gate", "score_users"),
    ("score_users", "segment_users"),
    ("score_users", "value_items"),
    ("segment_users", "track_migration"),
    ("segment_users", "collect_feedback"),
    ("collect_feedback", "recommend_items"),
    ("value_items", "recommend_items"),
    ("recommend_items", "evaluate_models"),
    ("mine_associations", "publish_report"),
    ("track_migration", "evaluate_models"),
    ("track_migration", "profile_users"),
    ("profile_users", "watch_tables"),
    ("recommend_items", "watch_tables"),
    ("watch_tables", "publish_report"),
    ("segment_users", "build_audiences"),
    ("build_audiences", "publish_report"),
    ("evaluate_models", "publish_report"),
}
MONDAY = date(2017, 11, 6)
RUN = "f" * 64


@pytest.fixture()
def dag(database: None, tmp_path: Path) -> Any:
    return load_dag(settings_file(tmp_path))


@pytest.fixture()
def module(dag: Any) -> Any:
    return sys.modules[dag.get_task("ingest_events").__class__.__module__]


@pytest.fixture()
def settings(tmp_path: Path) -> DagSettings:
    return load(settings_file(tmp_path))


def row(job: str, status: str, attempt: int = 1, as_of: date | None = MONDAY) -> dict[str, Any]:
    started = datetime(2017, 11, 6, 3, attempt, tzinfo=timezone.utc)
    given = {"run_id": RUN, "attempt": attempt, "job": job, "as_of": as_of, "started_at": started}
    return {**given, "status": status, "message": f"{status} because"}


def ledger(settings: DagSettings, *rows: dict[str, Any]) -> None:
    fields = [("run_id", pa.string()), ("attempt", pa.int32()), ("job", pa.string()), ("as_of", pa.date32())]
    fields += [("started_at", pa.timestamp("us", "UTC")), ("status", pa.string()), ("message", pa.string())]
    table = pa.Table.from_pylist(list(rows), schema=pa.schema(fields))
    write_deltalake(settings.ledger, table, partition_by=["run_id", "attempt"], mode="append")


def context(ran: tuple[str, int] | None = None, **params: Any) -> dict[str, Any]:
    """A task's context on Monday; `ran`: run and attempt that the gate's job left in this very run."""
    end = datetime(2017, 11, 6, 1, tzinfo=timezone.utc)
    run = SimpleNamespace(data_interval_end=end, run_after=end)
    ti = SimpleNamespace(xcom_pull=lambda task_ids, key: [*ran] if ran and key == "attempt" else None)
    return {"params": {"as_of": None, "train": "weekday", **params}, "dag_run": run, "ti": ti}


def test_the_graph_is_as_drawn(dag: Any) -> None:
    assert {(t.task_id, d) for t in dag.tasks for d in t.downstream_task_ids} == EDGES


def test_a_night_at_a_time_and_no_catching_up(dag: Any) -> None:
    assert (dag.max_active_runs, dag.catchup) == (1, False)
    assert {t.depends_on_past for t in dag.tasks} == {False}


def test_only_ingest_has_no_as_of(dag: Any) -> None:
    submitted = [t for t in dag.tasks if hasattr(t, "application_args")]
    assert [t.task_id for t in submitted if "--as-of" not in t.application_args] == ["ingest_events"]


def test_training_has_its_own_pool_profile_and_timeout(database: None, tmp_path: Path) -> None:
    more = 'training_pool = "gpu"\ntraining_profile = "conf/spark/t.conf"\ntraining_timeout_minutes = 7'
    dag = load_dag(settings_file(tmp_path, more))
    training, other = dag.get_task("finetune_encoder"), dag.get_task("score_users")
    assert (training.pool, training.execution_timeout.total_seconds()) == ("gpu", 420)
    assert (training.properties_file.endswith("t.conf"), other.properties_file.endswith("local.conf")) == (True, True)
    assert other.pool == "default_pool"


def test_gold_tables_are_assets(dag: Any) -> None:
    found = {".".join(a.uri.split("/")[-2:]) for t in dag.tasks for a in t.outlets}
    assert {"gold.user_segments", "gold.recommendations", "ops.published"} <= found


def test_as_of_is_the_local_date_at_the_end_of_the_interval(module: Any) -> None:
    late = datetime(2017, 11, 5, 23, 30, tzinfo=timezone.utc)
    run = SimpleNamespace(data_interval_end=late, run_after=late)
    assert module.as_of({"as_of": None}, run, "Europe/Berlin") == "2017-11-06"
    assert module.as_of({"as_of": None}, run, "America/New_York") == "2017-11-05"
    assert module.as_of({"as_of": "2017-01-30"}, run, "Europe/Berlin") == "2017-01-30"


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, True),
        ({"as_of": "2017-11-07"}, False),
        ({"as_of": "2017-11-07", "train": "always"}, True),
        ({"train": "never"}, False),
    ],
)
def test_training_nights(module: Any, settings: DagSettings, params: dict[str, Any], expected: bool) -> None:
    assert module.trains(settings, **context(**params)) is expected


def watched(settings: DagSettings, as_of: date, asks: bool) -> None:
    fields = [("as_of", pa.date32()), ("monitor", pa.string()), ("subject", pa.string()), ("message", pa.string())]
    row = {"as_of": as_of, "monitor": "category_mix", "subject": "all", "message": "far off", "asks_training": asks}
    table = pa.Table.from_pylist([row], schema=pa.schema([*fields, ("asks_training", pa.bool_())]))
    write_deltalake(settings.monitors, table, mode="append")


def test_drift_in_the_newest_night_before_asks_for_a_training(module: Any, settings: DagSettings, tmp_path: Path) -> None:
    tuesday = {"train": "weekday", "as_of": "2017-11-07"}
    assert module.trains(settings, **context(**tuesday)) is False
    watched(settings, date(2017, 11, 7), True)  # tonight's own, of an earlier try
    assert module.trains(settings, **context(**tuesday)) is False
    watched(settings, date(2017, 11, 4), True)
    assert module.trains(settings, **context(**tuesday)) is True
    assert module.trains(settings, **context(train="never", as_of="2017-11-07")) is False
    off = load(settings_file(tmp_path, "training_on_drift = false"))
    assert module.trains(off, **context(**tuesday)) is False
    watched(settings, date(2017, 11, 5), False)  # the night after it was quiet again
    assert module.trains(settings, **context(**tuesday)) is False


def test_the_ledger_is_read_in_order_and_by_job_and_date(settings: DagSettings) -> None:
    assert attempts(settings.ledger, "score_users", MONDAY) == []
    ledger(settings, row("score_users", "done", 2), row("score_users", "running", 1))
    ledger(settings, row("score_users", "failed", 3, date(2017, 11, 7)), row("ingest_events", "done", 1, None))
    assert [a.status for a in attempts(settings.ledger, "score_users", MONDAY)] == ["running", "done"]
    assert [a.status for a in attempts(settings.ledger, "ingest_events", None)] == ["done"]


def test_the_quality_gate_fails_without_retry_or_skips(module: Any, settings: DagSettings, tmp_path: Path) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    ledger(settings, row("ingest_events", "done", 1, None), row("ingest_events", "gated", 2, None))
    assert module.quality_gate(settings, **context((RUN, 1))) is True  # the gated row is another run's
    with pytest.raises(AirflowFailException, match=r"GATED by data quality.*gated because.*ops\.quarantine"):
        module.quality_gate(settings, **context((RUN, 2)))
    skips = load(settings_file(tmp_path, 'quality_gate = "skip"'))
    assert module.quality_gate(skips, **context((RUN, 2))) is False
    assert module.quality_gate(settings, **context()) is True  # ingest_events was marked as a success by hand


def test_the_promotion_gate_goes_on_with_current_or_fails(module: Any, settings: DagSettings, tmp_path: Path) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    ledger(settings, row("finetune_encoder", "gated"), row("finetune_encoder", "done", 2))
    assert module.promotion_gate(settings, **context()) == "not trained tonight"  # whatever other runs of the date left
    assert "gated because" in module.promotion_gate(settings, **context((RUN, 1)))
    assert "done because" in module.promotion_gate(settings, **context((RUN, 2)))
    with pytest.raises(AirflowFailException, match="CURRENT stays as it was"):
        module.promotion_gate(load(settings_file(tmp_path, 'promotion_gate = "fail"')), **context((RUN, 1)))


def test_a_night_beside_a_backfill_does_not_start(module: Any) -> None:
    from airflow.sdk.exceptions import AirflowException

    def runs(number: int) -> Any:
        return SimpleNamespace(get_dr_count=lambda dag_id, states: number if (dag_id, states) == ("night", ["running"]) else 0)

    module._alone(runs(1), "night")
    with pytest.raises(AirflowException, match=r"2 runs of night at once; expected one.*--max-active-runs 1"):
        module._alone(runs(2), "night")


def execute(settings_path: Path, monkeypatch: pytest.MonkeyPatch, submit: Callable[[Any, str], None]) -> None:
    """score_users up to where the provider would start its command; `submit` gets the hook and the application instead."""
    task = load_dag(settings_path).get_task("score_users")
    judged: list[Any] = []
    monkeypatch.setattr("airflow.providers.apache.spark.hooks.spark_submit.SparkSubmitHook.submit", submit)
    monkeypatch.setattr(type(task), "_attempts", lambda *_: [])
    monkeypatch.setattr(sys.modules[type(task).__module__], "_judge", lambda job, last, failure, ledger: judged.append(failure))
    task.execute({**context(), "ti": None})
    assert judged == [None]


def command(settings_path: Path, monkeypatch: pytest.MonkeyPatch, connection: str) -> list[str]:
    """What score_users would start with that connection."""
    asked: list[str] = []
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", connection)
    execute(settings_path, monkeypatch, lambda hook, application: asked.extend(hook._build_spark_submit_command(application)))
    return asked


def test_a_clusters_secret_and_the_code_go_with_every_job(
    database: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """spark.authenticate.secret stands in spark-defaults.conf alone, and executors need the code that the driver has."""
    path = settings_file(tmp_path, 'py_files = ["dist/equipoise.zip", "s3a://b/more.zip"]\nprofile = "conf/spark/cluster.conf"')
    asked = command(path, monkeypatch, '{"conn_type": "spark", "host": "spark://h", "port": 7077}')
    start = asked.index(str(ROOT / "jobs" / "score_users.py"))
    assert asked[0] == "spark-submit" and asked.index("--load-spark-defaults") < start
    assert asked[asked.index("--properties-file") + 1] == str(ROOT / "conf" / "spark" / "cluster.conf")
    assert asked[asked.index("--py-files") + 1] == f"{ROOT}/dist/equipoise.zip,s3a://b/more.zip"
    assert asked[start:][:3] == [asked[start], "--settings", str(ROOT / "conf" / "simulated.toml")]


def test_yarn_in_cluster_mode_is_not_refused(database: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as the command; no YARN was at hand."""
    asked = command(
        settings_file(tmp_path), monkeypatch, '{"conn_type": "spark", "host": "yarn", "extra": {"deploy-mode": "cluster"}}'
    )
    assert asked[asked.index("--deploy-mode") + 1] == "cluster" and "--py-files" not in asked
    given = {a.split("=")[0].rpartition(".")[2] for a in asked if a.startswith("spark.yarn.appMasterEnv.")}
    assert given == {"PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON"}, "the worker's PATH is not the driver's"


def test_spark_submit_is_found_whatever_the_provider_gives_its_process(
    database: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str | None] = []
    before, own = os.environ["PATH"], tmp_path / "bin" / "spark-submit"
    own.parent.mkdir()
    own.touch(mode=0o755)
    execute(settings_file(tmp_path, f'bin = "{own.parent}"'), monkeypatch, lambda *_: found.append(shutil.which("spark-submit")))
    assert (found, os.environ["PATH"]) == ([str(own)], before)


@pytest.mark.parametrize("address", ["http://h/secret path", "http://h:secret/"])
def test_a_broken_address_of_the_webhook_is_said_without_it(
    module: Any, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HOOK", address)
    module._notify("text", load(settings_file(tmp_path, 'webhook_env = "HOOK"')))
    assert "webhook of HOOK was not reached: InvalidURL" in caplog.text and "secret" not in caplog.text


def attempt(status: str, job: str = "score_users") -> Attempt:
    return Attempt(**row(job, status))


def test_a_job_is_judged_by_the_ledger(module: Any) -> None:
    from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

    exit_1, exit_2, exit_3 = (AirflowException(f"Cannot execute: x. Error code is: {n}.") for n in (1, 2, 3))
    for status in ("done", "skipped"):
        module._judge("score_users", attempt(status), None, "l")
    for exit_code in (exit_3, None):  # with and without an exit code, as in cluster deploy mode
        with pytest.raises(AirflowSkipException, match="GATED"):
            module._judge("ingest_events", attempt("gated", "ingest_events"), exit_code, "l")
        with pytest.raises(module.Gated, match="GATED: watch_tables"):  # no task after it says so: its own callback does
            module._judge("watch_tables", attempt("gated", "watch_tables"), exit_code, "l")
    for status in ("failed", "running"):
        with pytest.raises(AirflowException, match=status) as seen:
            module._judge("score_users", attempt(status), None, "l")
        assert not isinstance(seen.value, AirflowFailException)
    with pytest.raises(AirflowException, match="Error code is: 1"):
        module._judge("score_users", attempt("failed"), exit_1, "l")
    with pytest.raises(AirflowFailException, match="wrong settings"):
        module._judge("score_users", None, exit_2, "l")
    with pytest.raises(AirflowException, match="no new row"):
        module._judge("score_users", None, None, "l")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('training_weekday = "Funday"', "training_weekday: 'Funday'; expected one of monday"),
        ("retries = -1", "retries: -1; expected a whole number from 0"),
    ],
)
def test_settings_errors_name_key_value_expected_and_the_way_out(tmp_path: Path, line: str, told: str) -> None:
    text = settings_file(tmp_path).read_text()
    key = line.split(" ")[0]
    kept = "\n".join(row for row in text.splitlines() if not row.startswith(key))
    (tmp_path / "x.toml").write_text(f"{kept}\n{line}\n")
    with pytest.raises(DagSettingsError) as seen:
        load(tmp_path / "x.toml")
    assert told in str(seen.value) and "change it in x.toml" in str(seen.value)


def test_every_wrong_key_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text('warehose = "/w"\ntimezone = "Mars/Olympus"\n')
    with pytest.raises(DagSettingsError) as seen:
        load(tmp_path / "x.toml")
    for told in ("warehose: '/w' is not a key", "warehouse: missing", "timezone: 'Mars/Olympus'", "project: missing"):
        assert told in str(seen.value)


def test_training_never_gets_the_rapids_profile(tmp_path: Path) -> None:
    with pytest.raises(DagSettingsError, match=r"training_profile: 'conf/spark/explain.conf' loads the RAPIDS plugin"):
        load(settings_file(tmp_path, 'training_profile = "conf/spark/explain.conf"'))


def test_the_example_file_is_whole() -> None:
    assert load(DAGS / "equipoise.toml").ledger == "/data/equipoise/warehouse/ops/runs"
