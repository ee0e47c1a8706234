"""The whole pipeline as a platform runs it, on the seeded generator; and the laws on any finished warehouse."""

from __future__ import annotations

import importlib.util
import os
import secrets
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from equipoise.settings import parse_command_line
from equipoise.store import Store
from tests.acceptance import Laws
from tests.leaks import leaks
from tests.pipeline import AS_OF, JOBS, ROOT, SMALL, SMALL_TRAINING, must, submit, versions

pytestmark = pytest.mark.slow
MOVIELENS_AS_OF = "1998-03-02"
FEWER_ITEMS = (
    *("--recommend.value_examples=50000", "--recommend.history_candidates=30", "--recommend.neighbour_candidates=20"),
    *("--recommend.cosine_candidates=20", "--recommend.popular_candidates=20"),
)
"""For lists of ten."""


def laws(spark: SparkSession, warehouse: Path, settings: str, as_of: str) -> Laws:
    found = parse_command_line(["--settings", str(ROOT / settings), "--as-of", as_of], needs_as_of=True)
    recommend = found.settings.recommend
    return Laws(Store(spark, str(warehouse)), date.fromisoformat(as_of), recommend.k, recommend.explore_slots)


@dataclass(frozen=True)
class Secrets:
    """Keys of one run, in files that are no part of what it leaves, and the folder of its event logs."""

    words: dict[str, str]
    flags: tuple[str, ...]
    events: Path


@pytest.fixture
def kept(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Secrets:
    """Every secret that a run can have, and Spark told to write down all it does, plans and settings included."""
    folder, events = tmp_path_factory.mktemp("keys"), tmp_path_factory.mktemp("events")
    words = {name: secrets.token_hex(24) for name in ("identity", "signing", "spark", "webhook", "s3")}
    for name in ("identity", "signing"):
        (folder / f"{name}.key").write_text(f"{words[name]}\n")
    defaults = {"spark.authenticate": "true", "spark.authenticate.secret": words["spark"], "spark.eventLog.enabled": "true"}
    defaults |= {
        "spark.eventLog.dir": f"file://{events}",
        "spark.eventLog.compress": "false",
        "spark.sql.ui.explainMode": "extended",
    }
    (folder / "spark-defaults.conf").write_text("".join(f"{k} {v}\n" for k, v in defaults.items()))
    monkeypatch.setenv("SPARK_CONF_DIR", str(folder))
    monkeypatch.setenv("ALARMS", f"http://127.0.0.1:9/{words['webhook']}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", words["s3"])
    flags = (f"--identity.key_file={folder}/identity.key", "--identity.published_key=false", "--monitors.webhook_env=ALARMS")
    return Secrets(words, (*flags, f"--models.signing_key_file={folder}/signing.key"), events)


def test_the_pipeline_runs_on_the_generator_keeps_the_laws_repeats_itself_and_tells_no_secret(
    spark: SparkSession, tmp_path: Path, kept: Secrets
) -> None:
    warehouse, told = tmp_path / "warehouse", {}
    told["the run"] = must(submit("run_all", warehouse, *SMALL, *kept.flags)).output
    assert laws(spark, warehouse, "conf/simulated.toml", AS_OF).broken() == {}
    assert (warehouse / "report.html").stat().st_size > 10_000
    before = versions(spark, warehouse)
    again = told["the second run"] = must(submit("run_all", warehouse, *SMALL, *kept.flags)).output
    assert [job for job in JOBS if f"[{job}] skipped" not in again] == []
    alone = must(submit("segment_users", warehouse, *SMALL, *kept.flags)).output
    assert "skipped" in alone, "a job on its own is the same run as in the chain"
    assert versions(spark, warehouse) == before
    (tmp_path / "other.key").write_text(f"{kept.words['identity']}\n")
    wrong = {"a model signed by another key": f"--models.signing_key_file={tmp_path}/other.key"}
    (tmp_path / "short.key").write_text(kept.words["identity"][:15])
    wrong["a key that is too short"] = f"--models.signing_key_file={tmp_path}/short.key"
    for name, flag in wrong.items():
        ended = submit("score_users", warehouse, *SMALL, *kept.flags[:-1], flag)
        assert ended.code == 1 and "models.signing_key_file" in ended.output, name
        told[name] = ended.output
    (tmp_path / "other.key").unlink()
    (tmp_path / "short.key").unlink()
    logs = [p for p in kept.events.rglob("*") if p.is_file()]
    assert len(logs) >= 3 and any("== Analyzed Logical Plan ==" in p.read_text() for p in logs), "plans are in the event logs"
    needles = {name: word[:15] for name, word in kept.words.items()} | {"a user id": r"user-\d{6}"}
    assert leaks([tmp_path, kept.events], told, needles) == []


@pytest.mark.skipif(importlib.util.find_spec("recbole") is None, reason="MovieLens-100k is not here; run bash .ci/movielens.sh")
def test_the_pipeline_runs_on_movielens_with_a_settings_file_alone(spark: SparkSession, tmp_path: Path) -> None:
    """A source that is no shop: ratings only, no amounts, several genres per item."""
    warehouse, movielens = tmp_path / "warehouse", "conf/movielens.toml"
    must(submit("run_all", warehouse, *SMALL_TRAINING, *FEWER_ITEMS, settings=movielens, as_of=MOVIELENS_AS_OF))
    assert laws(spark, warehouse, movielens, MOVIELENS_AS_OF).broken() == {}


@pytest.mark.skipif("EQUIPOISE_WAREHOUSE" not in os.environ, reason="names no finished warehouse in EQUIPOISE_WAREHOUSE")
def test_the_laws_hold_in_a_finished_warehouse(spark: SparkSession) -> None:
    settings = os.environ.get("EQUIPOISE_SETTINGS", "conf/demo.toml")
    found = laws(spark, Path(os.environ["EQUIPOISE_WAREHOUSE"]), settings, os.environ.get("EQUIPOISE_AS_OF", AS_OF))
    assert found.broken() == {}
