"""What Airflow makes of each way in which a job can end; spark-submit is a stand-in that writes the ledger row of that ending."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from equipoise_graph import STEPS

from .conftest import load_dag, settings_file

pytestmark = pytest.mark.slow
MONDAY, TUESDAY = (datetime(2017, 11, day, 2, tzinfo=ZoneInfo("Europe/Berlin")) for day in (6, 7))


@dataclass
class Night:
    """Runs of the DAG in one folder; `told` is what reached the webhook so far, `tries` the as-of of each submission by job."""

    folder: Path
    told: list[str] = field(default_factory=list)

    def run(
        self, plan: dict[str, list[str]], when: datetime = MONDAY, only: Collection[str] = (), **conf: str
    ) -> tuple[str, dict[str, str]]:
        """The run's state and the tasks' states; with `only`, jobs of other names are not submitted and count as done."""
        env = f"[env]\nTRIES = '{self.folder / 'tries'}'\nPLAN = '{json.dumps(plan)}'"
        more = f'bin = "{self.folder / "bin"}"\nwebhook_env = "EQUIPOISE_TEST_WEBHOOK"\n{env}'
        marked = "|".join(step.job for step in STEPS if step.job not in only) if only else None
        dag = load_dag(settings_file(self.folder, more))
        ended = dag.test(logical_date=when, run_conf=conf, mark_success_pattern=marked)
        return str(ended.state), {ti.task_id: str(ti.state) for ti in ended.get_task_instances()}

    @property
    def tries(self) -> dict[str, list[str]]:
        return {p.name: p.read_text().split() for p in (self.folder / "tries").iterdir()}


@pytest.fixture()
def night(database: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Night]:
    """An empty warehouse, a webhook, and a worker whose own Spark and Python paths would break the jobs."""
    submit = tmp_path / "bin" / "spark-submit"
    submit.parent.mkdir()
    (tmp_path / "tries").mkdir()
    submit.write_text(f'#!/usr/bin/env bash\nexec "{sys.executable}" "{Path(__file__).with_name("stand_in.py")}" "$@"\n')
    submit.chmod(0o755)
    made = Night(tmp_path)

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("EQUIPOISE_TEST_WEBHOOK", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in ("SPARK_HOME", "PYTHONPATH"):
        monkeypatch.setenv(name, "/nowhere")
    yield made
    server.shutdown()


def test_a_gated_model_and_a_job_that_fails_once_do_not_stop_the_night(night: Night) -> None:
    only = ("ingest_events", "finetune_encoder", "segment_users")
    state, tasks = night.run({"finetune_encoder": ["gated"], "segment_users": ["failed", "done"]}, only=only)
    assert state == "success", tasks
    assert {t for t, s in tasks.items() if s != "success"} == {"finetune_encoder"}
    assert tasks["finetune_encoder"] == "skipped" and len(night.tries["finetune_encoder"]) == 1
    assert night.tries["segment_users"] == ["2017-11-06"] * 2 and night.tries["ingest_events"] == ["None"]
    assert len(night.told) == 1 and night.told[0].startswith("GATED, CURRENT stays as it was"), night.told

    # The same date: the row of the gated model is still in the ledger.
    state, tasks = night.run({}, only=("finetune_encoder",), train="never")
    assert (state, tasks["finetune_encoder"], tasks["promotion_gate"]) == ("success", "skipped", "success"), tasks
    assert len(night.told) == 1 and len(night.tries["finetune_encoder"]) == 1


def test_other_nights_do_not_train_and_score_all_the_same(night: Night) -> None:
    state, tasks = night.run({}, TUESDAY, only=("finetune_encoder", "score_users", "publish_report"))
    assert (state, tasks["finetune_encoder"], tasks["promotion_gate"]) == ("success", "skipped", "success"), tasks
    assert "finetune_encoder" not in night.tries and night.tries["publish_report"] == ["2017-11-07"]
    assert night.told == []


def test_a_gated_ingest_is_not_retried_and_the_gate_is_red(night: Night) -> None:
    state, tasks = night.run({"ingest_events": ["gated"]})
    assert (state, tasks["ingest_events"], tasks["quality_gate"]) == ("failed", "skipped", "failed"), tasks
    assert tasks["build_features"] == tasks["publish_report"] == "upstream_failed"
    assert {job: len(n) for job, n in night.tries.items()} == {"ingest_events": 1}
    assert len(night.told) == 1 and "quality_gate of" in night.told[0] and "GATED by data quality" in night.told[0], night.told


def test_a_night_that_monitors_stop_is_red_and_told(night: Night) -> None:
    state, tasks = night.run({"watch_tables": ["gated"]}, TUESDAY, only=("watch_tables", "publish_report"))
    assert (state, tasks["watch_tables"], tasks["publish_report"]) == ("failed", "failed", "upstream_failed"), tasks
    assert len(night.tries["watch_tables"]) == 1 and "publish_report" not in night.tries
    assert len(night.told) == 1 and "watch_tables of" in night.told[0] and "GATED" in night.told[0], night.told


@pytest.mark.parametrize(("ending", "submissions"), [("settings", 1), ("lost", 2), ("failed", 2)])
def test_what_is_retried(night: Night, ending: str, submissions: int) -> None:
    state, tasks = night.run({"ingest_events": [ending]})
    assert (state, tasks["ingest_events"], len(night.tries["ingest_events"])) == ("failed", "failed", submissions), tasks
    assert len(night.told) == 1 and "ingest_events of" in night.told[0], night.told
