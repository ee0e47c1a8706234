"""The night of equipoise: one spark-submit per job, as of the end of the data interval. docs/airflow.md explains every task.

Settings: the file that EQUIPOISE_AIRFLOW_SETTINGS names, else equipoise.toml beside this file.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import re
import sys
import urllib.request
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook
from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.operators.python import PythonOperator, ShortCircuitOperator
from airflow.sdk import DAG, Asset, CronDataIntervalTimetable, Param
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

sys.path.insert(0, str(Path(__file__).resolve().parent))

from equipoise_graph import GATES, STEPS, TRAINING, Step
from equipoise_ledger import ENDED_WELL, Attempt, attempts, drifted
from equipoise_settings import WEEKDAYS, DagSettings, load

LOG = logging.getLogger("equipoise")
NOT_TONIGHT = "not trained tonight"
ATTEMPT = "attempt"
"""XCom of a job's task: run and attempt of the row of ops.runs that it was judged by."""
NOT_THE_JOBS = ("SPARK_HOME", "PYTHONPATH")
"""Taken out of the worker's environment: they would win over the jobs' own Spark and Python, SPARK_HOME even when empty."""


class Gated(AirflowFailException):
    """A gate is red; the text says why."""


def as_of(params: dict[str, Any], dag_run: Any, timezone: str) -> str:
    """The day before which events count: the parameter as_of, else the date in `timezone` at which the data interval ends."""
    if params.get("as_of"):
        return date.fromisoformat(params["as_of"]).isoformat()
    end: datetime = dag_run.data_interval_end or dag_run.run_after
    return end.astimezone(ZoneInfo(timezone)).date().isoformat()


def _date(context: Any, settings: DagSettings) -> date:
    return date.fromisoformat(as_of(context["params"], context["dag_run"], settings.timezone))


class JobOperator(SparkSubmitOperator):
    """One job through spark-submit, judged by ops.runs rather than by the exit code alone.

    done or skipped: success. gated: not retried; skipped where a task of GATES speaks for the job, else failed. Wrong settings:
    failed and not retried. Else: failed and retried.
    """

    def __init__(self, *, step: Step, settings: DagSettings, **more: Any) -> None:
        super().__init__(**more)
        self._step = step
        self._dag_settings = settings

    def execute(self, context: Any) -> None:
        if self._step == STEPS[0]:
            _alone(context["ti"], self.dag_id)
        when = _date(context, self._dag_settings) if self._step.takes_as_of else None
        before = {a.key for a in self._attempts(when)}
        failure: AirflowException | None = None
        s = self._dag_settings
        with contextlib.chdir(s.project), _without(*NOT_THE_JOBS), _first_on_path(s.place(s.bin)):  # profiles count from there
            try:
                super().execute(context)
            except AirflowException as error:
                failure = error
        fresh = [a for a in self._attempts(when) if a.key not in before]
        if fresh:
            context["ti"].xcom_push(key=ATTEMPT, value=list(fresh[-1].key))
        _judge(self._step.job, fresh[-1] if fresh else None, failure, s.ledger)

    def _get_hook(self) -> SparkSubmitHook:
        """The provider's, with the flag that it has no option for: a cluster's secret stands in spark-defaults.conf alone."""
        hook = super()._get_hook()
        given = hook._build_spark_common_args
        vars(hook)["_build_spark_common_args"] = lambda: [*given(), "--load-spark-defaults"]
        return hook

    def _attempts(self, when: date | None) -> list[Attempt]:
        return attempts(self._dag_settings.ledger, self._step.job, when)


def _alone(ti: Any, dag_id: str) -> None:
    """Nothing, where this is the only night that runs; Airflow counts backfills apart from max_active_runs."""
    running = ti.get_dr_count(dag_id, states=["running"])
    if running > 1:
        raise AirflowException(
            f"{running} runs of {dag_id} at once; expected one, since feature.* holds one as-of at a time; "
            "let the others end, and give a backfill --max-active-runs 1"
        )


@contextlib.contextmanager
def _without(*names: str) -> Iterator[None]:
    """The environment without these variables."""
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


@contextlib.contextmanager
def _first_on_path(folder: str) -> Iterator[None]:
    """The environment with this folder at the head of PATH. Not by env_vars: on Kubernetes the provider gives those to the driver
    alone, and the driver of a cluster has a PATH of its own."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = f"{folder}:{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before


def _judge(job: str, last: Attempt | None, failure: AirflowException | None, ledger: str) -> None:
    if last is not None and last.status == "gated":
        raise (AirflowSkipException if job in GATES else Gated)(f"GATED: {last}")
    if failure is not None:
        if re.search(r"[Ee]rror code is: 2\b", str(failure)):
            raise AirflowFailException(
                f"{job}: wrong settings or flags; the lines of [{job}] above name each; trying again cannot help"
            )
        raise failure
    if last is None:
        raise AirflowException(
            f"{job}: {ledger} has no new row; expected one; look at the driver's log and at the path of the warehouse"
        )
    if last.status not in ENDED_WELL:
        raise AirflowException(f"{last}; expected {' or '.join(ENDED_WELL)}; look at the driver's log")
    LOG.info("%s", last)


def trains(settings: DagSettings, **context: Any) -> bool:
    """Whether this night fine-tunes: the parameter train decides, or else the weekday of as-of and what monitors ask for."""
    wanted, day = context["params"]["train"], _date(context, settings)
    weekly = settings.training_weekday in ("daily", WEEKDAYS[day.weekday()])
    LOG.info("as of %s (%s), train=%s, weekday for training: %s", day, WEEKDAYS[day.weekday()], wanted, settings.training_weekday)
    asked = drifted(settings.monitors, day) if settings.training_on_drift and wanted == "weekday" else []
    for line in asked:
        LOG.warning("asked for by %s", line)
    return wanted == "always" or (wanted == "weekday" and (weekly or bool(asked)))


def quality_gate(settings: DagSettings, **context: Any) -> bool:
    """False, or a failure that is not retried, when this night's ingest was stopped by the quality gate."""
    last = _attempt(settings, "ingest_events", context)
    if last is not None and last.status == "gated":
        text = f"GATED by data quality, silver.* is unchanged: {last}; ops.quarantine and ops.quality_metrics say why"
        _tell(text, settings, red=settings.quality_gate == "fail")
        return False
    LOG.info("%s", last)
    return True


def promotion_gate(settings: DagSettings, **context: Any) -> str:
    """What became of tonight's model; a gated one leaves CURRENT as it was, and scoring goes on with that."""
    last = _attempt(settings, TRAINING, context)
    if last is None:
        return NOT_TONIGHT
    if last.status == "gated":
        _tell(f"GATED, CURRENT stays as it was: {last}", settings, red=settings.promotion_gate == "fail")
    return str(last)


def _attempt(settings: DagSettings, job: str, context: dict[str, Any]) -> Attempt | None:
    """The row of ops.runs that this very run's task was judged by; other runs may have left rows for the same as-of."""
    key = context["ti"].xcom_pull(task_ids=job, key=ATTEMPT)
    found = {a.key: a for a in attempts(settings.ledger, job, None)} if key else {}
    return found.get((key[0], key[1])) if key else None


def _tell(text: str, settings: DagSettings, *, red: bool) -> None:
    """What a gate has to say: a warning and the webhook, or else a failure, whose callback reaches the webhook."""
    if red:
        raise Gated(text)
    LOG.warning("%s", text)
    _notify(text, settings)


def _notify(text: str, settings: DagSettings) -> None:
    """Sends the text to the webhook, if one is named; its address is neither logged nor raised."""
    address = os.environ.get(settings.webhook_env, "") if settings.webhook_env else ""
    if not address:
        return
    body = json.dumps({"text": text}).encode()
    try:
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=10).close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        LOG.warning("the webhook of %s was not reached: %s", settings.webhook_env, type(error).__name__)


def failed(settings: DagSettings, context: Any) -> None:
    """The on_failure_callback: a line in the log, and the same to the webhook."""
    ti = context["ti"]
    why = context.get("exception")
    told = str(why) if isinstance(why, Gated) else "see the task's log and ops.runs"
    text = f"equipoise: {ti.task_id} of {ti.run_id} failed at try {ti.try_number}; {told}"
    LOG.error("%s", text)
    _notify(text, settings)


def _submit(step: Step, s: DagSettings) -> JobOperator:
    training = step.job == TRAINING
    date_flags = ["--as-of", "{{ as_of(params, dag_run) }}"] if step.takes_as_of else []
    python = s.place(s.python)
    env = {"PYSPARK_PYTHON": python, "PYSPARK_DRIVER_PYTHON": python, **s.env}
    return JobOperator(
        step=step,
        settings=s,
        task_id=step.job,
        application=s.place(f"jobs/{step.job}.py"),
        application_args=["--settings", s.place(s.settings), "--warehouse", s.warehouse, *date_flags, *s.flags],
        py_files=",".join(s.place(file) for file in s.py_files) or None,
        conn_id=s.conn_id,
        spark_binary="spark-submit",
        properties_file=s.place(s.training_profile if training else s.profile),
        driver_memory=s.driver_memory,
        name=f"equipoise {step.job}",
        env_vars=env,
        durable=False,  # a retry submits anew, which is harmless; True would refuse YARN's cluster mode
        pool=s.training_pool if training else s.pool,
        execution_timeout=timedelta(minutes=s.training_timeout_minutes if training else s.timeout_minutes),
        outlets=[_asset(name, s) for name in step.assets],
    )


def _asset(name: str, s: DagSettings) -> Asset:
    root = s.warehouse if "://" in s.warehouse else f"file://{s.warehouse}"
    # Named by its address: two warehouses under one name would be refused as inactive.
    return Asset(uri=f"{root.rstrip('/')}/{name.replace('.', '/')}")


def build(s: DagSettings) -> DAG:
    """The DAG of one warehouse."""
    zone = ZoneInfo(s.timezone)
    dag = DAG(
        "equipoise",
        description="Behaviour log to segments, interests and recommendations",
        schedule=CronDataIntervalTimetable(s.schedule, timezone=s.timezone),
        start_date=datetime.fromisoformat(s.start_date).replace(tzinfo=zone),
        catchup=False,
        max_active_runs=1,  # feature.* holds one as-of at a time; feedback reads what earlier nights published
        default_args={
            "depends_on_past": False,  # a night that was not published has shown nothing; the next one goes without it
            "retries": s.retries,
            "retry_delay": timedelta(minutes=s.retry_delay_minutes),
            "on_failure_callback": lambda context: failed(s, context),
        },
        params={
            "as_of": Param(None, type=["null", "string"], description="YYYY-MM-DD in place of the data interval's end"),
            "train": Param("weekday", enum=["weekday", "always", "never"], description="Whether to fine-tune"),
        },
        user_defined_macros={"as_of": lambda params, dag_run: as_of(params, dag_run, s.timezone)},
        tags=["equipoise"],
    )
    with dag:
        _tasks(s)
    return dag


def _tasks(s: DagSettings) -> None:
    tasks: dict[str, Any] = {step.job: _submit(step, s) for step in STEPS}
    limit = timedelta(minutes=5)
    given: dict[str, Any] = {"op_kwargs": {"settings": s}, "pool": s.pool, "retries": 2, "execution_timeout": limit}
    gates = {
        "ingest_events": ShortCircuitOperator(
            task_id=GATES["ingest_events"], python_callable=quality_gate, trigger_rule="none_failed", **given
        ),
        TRAINING: PythonOperator(task_id=GATES[TRAINING], python_callable=promotion_gate, trigger_rule="none_failed", **given),
    }
    night = ShortCircuitOperator(task_id="training_night", python_callable=trains, ignore_downstream_trigger_rules=False, **given)
    for step in STEPS:
        for job in step.after:
            gates.get(job, tasks[job]).set_downstream(night if step.job == TRAINING else tasks[step.job])
        if step.job in gates:
            tasks[step.job].set_downstream(gates[step.job])
    night.set_downstream(tasks[TRAINING])


dag = build(load(Path(os.environ.get("EQUIPOISE_AIRFLOW_SETTINGS") or Path(__file__).with_name("equipoise.toml"))))
