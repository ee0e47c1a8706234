"""One real night through Airflow: every job as a spark-submit process on a small simulated shop."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from deltalake import DeltaTable

from equipoise_graph import STEPS

from .conftest import ROOT, load_dag, settings_file

WHEN = datetime(2017, 11, 6, 2, tzinfo=ZoneInfo("Europe/Berlin"))  # a Monday
SMALL = (
    "--source.simulated_users=80",
    "--source.simulated_items=200",
    "--training.sample_examples=128",
    "--training.validation_examples=64",
    "--training.training_cuts=3",
    "--training.pair_steps=100",
    "--training.files_per_rank=1",
    "--training.gate_tolerance_bits=9",
    "--segments.value_cuts=4",
    "--migration.permutations=19",
    "--evaluate.frontier=[0.0,0.5]",
    "--evaluate.resamples=100",
)
"""As in tests/pipeline.py."""

AGAIN = ("ingest_events", "finetune_encoder", "score_users", "publish_report")
"""Jobs of the second run: an undated one, a model, tables of a model, and files beside tables. tests/integration/test_pipeline.py
has every job skipped."""

KILLED = "segment_users"
KILLS_ONCE = f"""#!/usr/bin/env bash
# The first {KILLED} is killed with all its processes as soon as the ledger has a new row: the one that says running.
if [[ "$*" != *{KILLED}.py* || -e "{{mark}}" ]]; then exec "{{real}}" "$@"; fi
rows() {{{{ ls "{{log}}" | grep -c 'json$'; }}}}
before=$(rows)
setsid "{{real}}" "$@" &
while kill -0 $! && [ "$(rows)" = "$before" ]; do sleep 0.1; done
kill -9 -- -$! && touch "{{mark}}"
wait $!
"""


def versions(warehouse: Path) -> dict[str, int]:
    """Version of every table but ops.runs, which has a row for every attempt."""
    tables = [p.parent for p in warehouse.glob("*/*/_delta_log")]
    found = {f"{t.parent.name}.{t.name}": DeltaTable(str(t)).version() for t in tables}
    assert found.pop("ops.runs") > 0
    return found


def statuses(warehouse: Path) -> dict[str, list[str]]:
    """Status of every attempt in ops.runs, oldest first, by job."""
    rows = DeltaTable(str(warehouse / "ops" / "runs")).to_pyarrow_table(columns=["job", "started_at", "status"]).to_pylist()
    rows.sort(key=lambda row: row["started_at"])
    return {step.job: [row["status"] for row in rows if row["job"] == step.job] for step in STEPS}


def run(dag: Any, marked: Iterable[str] = ()) -> dict[str, tuple[str, int]]:
    """State and number of the last try of every task of a night that is expected to succeed; `marked` jobs count as done."""
    night = dag.test(logical_date=WHEN, mark_success_pattern="|".join(marked) or None)
    tasks = {ti.task_id: (str(ti.state), ti.try_number) for ti in night.get_task_instances()}
    assert night.state == "success", tasks
    return tasks


@pytest.mark.slow
@pytest.mark.timeout(7200, method="thread")  # Airflow takes the alarm for its own timeouts and does not give it back
def test_a_night_ends_well_recovers_from_a_kill_and_run_again_changes_nothing(
    database: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse, submit, mark = tmp_path / "warehouse", tmp_path / "bin" / "spark-submit", tmp_path / "killed"
    submit.parent.mkdir()
    log = warehouse / "ops" / "runs" / "_delta_log"
    submit.write_text(KILLS_ONCE.format(mark=mark, log=log, real=ROOT / ".venv/bin/spark-submit"))
    submit.chmod(0o755)
    for name in ("SPARK_HOME", "PYTHONPATH"):  # of the worker; no job would start with them
        monkeypatch.setenv(name, "/nowhere")
    flags = [*SMALL, f"--report.path={tmp_path}/report.html"]
    dag = load_dag(settings_file(tmp_path, f'bin = "{submit.parent}"\nflags = {flags!r}'))

    tasks = run(dag)
    assert {state for state, _ in tasks.values()} == {"success"}, tasks
    assert mark.exists() and {t for t, (_, tries) in tasks.items() if tries > 1} == {KILLED}, tasks
    assert statuses(warehouse) == {s.job: ["running", "done"] if s.job == KILLED else ["done"] for s in STEPS}
    first = versions(warehouse)
    gold = {asset for step in STEPS for asset in step.assets if asset.startswith("gold.")}
    assert gold <= set(first)
    published = DeltaTable(str(warehouse / "ops/published")).to_pyarrow_table().to_pylist()
    assert gold <= {r["table_name"] for r in published} and {r["as_of"] for r in published} == {date(2017, 11, 6)}
    assert DeltaTable(str(warehouse / "gold/recommendations")).to_pyarrow_table(columns=["user_id"]).num_rows > 0

    tasks = run(dag, {s.job for s in STEPS}.difference(AGAIN))
    assert {state for state, _ in tasks.values()} == {"success"}, tasks
    assert {t for t, (_, tries) in tasks.items() if tries > 1} == set(), tasks
    assert versions(warehouse) == first
    assert {job: found for job, found in statuses(warehouse).items() if job in AGAIN} == {j: ["done", "skipped"] for j in AGAIN}
