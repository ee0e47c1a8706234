"""build_features on a small made-up log: tables by other counts, files for the stream, skipping, and what bad input says."""

from __future__ import annotations

import importlib.util
from datetime import date, timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from equipoise.job.features import Night, State
from equipoise.job.recipe import decisive
from equipoise.job.run import run
from equipoise.settings import parse_command_line
from equipoise.store import Store
from tests.conftest import ROOT
from tests.small_models import tiny_bert
from tests.unit.features.world import CATALOGUE, Event, day, events, item_categories, items, random_events

AS_OF = day("06-01")
TABLES = ["daily_counts", "category_shares", "user_profile", "sequences", "examples", "examples_validation", "example_spec"]
TOML = """
warehouse = "{warehouse}"
[source]
adapter = "simulated"
name = "simulated"
[identity]
key_file = "key"
[windows]
origin = 2017-01-02
[interests]
half_life_days = 60.0
[encoder]
path = "{encoder}"
max_tokens = 16
sequence_items = 5
[training]
files_per_rank = 2
sample_examples = 30
validation_examples = 7
"""


def job() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_features", ROOT / "jobs" / "build_features.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fill(spark: SparkSession, root: Path, log: list[Event], mark: str = "test") -> Store:
    """A warehouse with this log; `mark` is another one for another log. The items are always the same, and written once."""
    store = Store(spark, str(root))
    null = {c: F.lit(None).cast(t) for c, t in (("dwell_ms", "bigint"), ("rating", "double"))}
    texts = {c: F.lit(None).cast("string") for c in ("basket_id", "campaign_id", "store_id", "channel", "text")}
    source = {"source": F.lit("simulated")}
    frames = {
        "silver.events": events(spark, log).withColumns({**null, **texts, **source, "synthetic": F.lit(True)}),
        "silver.items": items(spark).withColumns({"brand": texts["text"], "text": F.lower("title"), **source}),
        "silver.item_categories": item_categories(spark).withColumns({"category_path": F.col("category"), **source}),
    }
    for name, frame in frames.items():
        of_log = mark if name == "silver.events" else "the items"
        store.replace(frame, name, {"source": "simulated"}, fingerprint=of_log, job="test")
    return store


@pytest.fixture
def argv(tmp_path: Path) -> list[str]:
    settings = tmp_path / "settings.toml"
    encoder = tiny_bert(tmp_path / "bert")
    settings.write_text(TOML.format(warehouse=tmp_path / "warehouse", encoder=encoder))
    return ["--settings", str(settings), "--as-of", str(AS_OF)]


def versions(store: Store) -> dict[str, int | None]:
    return {t: store.version(f"feature.{t}") for t in TABLES}


def test_the_job_fills_its_tables_and_repeats_itself(
    spark: SparkSession, tmp_path: Path, argv: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("equipoise.job.run.code_version", lambda _: "the same code")  # even while somebody edits the library
    log = random_events(4, day("01-03"), 200, 400, users=14)
    store = fill(spark, tmp_path / "warehouse", log)
    module = job()
    assert run(module.JOB, module.run, argv, Path("build_features.py")) == 0, capsys.readouterr().err
    said = capsys.readouterr().err
    past = [e for e in log if e[5] < AS_OF]
    users = {e[1] for e in past if e[3] != "expose"}
    check_tables(store, past, users)
    check_examples(store, past, said)
    state = store.read("ops.feature_state").collect()[0]
    assert (state["as_of"], state["days"], state["examples"]) == (AS_OF, [], ""), "no pass over the log for marks nobody reads"
    known = State(state["run_id"], AS_OF, state["basis"], "", dict(state["tables"]), {})
    asked = parse_command_line([*argv, "--features.incremental=true"], needs_as_of=True).settings
    night = Night(SimpleNamespace(settings=asked), None)  # type: ignore[arg-type]
    night.__dict__["state"] = known
    assert night.why_anew() == f"the night of {AS_OF} was counted with features.incremental off and noted no days"

    first = versions(store)
    assert run(module.JOB, module.run, argv, Path("build_features.py")) == 0
    assert run(module.JOB, module.run, [*argv, "--training.learning_rate", "0.1"], Path("build_features.py")) == 0
    assert versions(store) == first and capsys.readouterr().err.count("skipped") == 2


def check_tables(store: Store, past: list[Event], users: set[str]) -> None:
    daily = store.read("feature.daily_counts")
    assert daily.agg(F.round(F.sum("events"))).collect()[0][0] == len(past), "every event, whole"
    assert daily.agg(F.max("event_date")).collect()[0][0] < AS_OF
    for name in ("user_profile", "sequences"):
        frame = store.read(f"feature.{name}")
        assert {r["user_id"] for r in frame.collect()} == users and frame.select("as_of").distinct().count() == 1
    shares = store.read("feature.category_shares")
    assert {r["window_end"] for r in shares.filter("NOT closed").collect()} == {AS_OF}
    texts = [r["behaviour_text"] for r in store.read("feature.sequences").collect()]
    assert all(texts) and not any(i in t.split() for t in texts for i in [*CATALOGUE, *users])


def check_examples(store: Store, past: list[Event], said: str) -> None:
    """Cuts by hand: as_of 1 June leaves validation on 24 April (27 March and before train; 22 May's labels pass as_of)."""
    spec = store.read("feature.example_spec").orderBy("position").collect()
    names = [r["category"] for r in spec]
    assert names == sorted(names) and [r["position"] for r in spec] == list(range(len(names)))
    assert sum(r["population_share"] for r in spec) == pytest.approx(1.0)
    assert "validation cut 2017-04-24" in said and "3 training cuts to 2017-03-27" in said
    assert "28 examples of" in said and "4 files of 7" in said and "2 left out so that files are equal" in said
    for name, rows in (("examples", 28), ("examples_validation", 4)):
        files = store.files(f"feature.{name}", store.version(f"feature.{name}") or 0)
        footers = [pq.ParquetFile(f).metadata for f in files]
        assert [(m.num_row_groups, m.num_rows) for m in footers] == [(1, rows // 4)] * 4
    log_by_user = {u: [e for e in past if e[1] == u] for u in {e[1] for e in past}}
    for row in store.read("feature.examples").collect():
        own = log_by_user[bytes(row["user_id"]).hex()]
        cut = date(1970, 1, 1) + timedelta(days=row["cut_day"])
        assert cut in (day("01-30"), day("02-27"), day("03-27"))
        window = [e for e in own if cut <= e[5] < cut + timedelta(days=28)]
        bought = [e for e in window if e[3] == "purchase"]
        assert row["label_value"] == (2 if bought else 1 if any(e[3] != "expose" for e in window) else 0)
        assert row["label_spend"] == pytest.approx(sum(e[7] or 0.0 for e in bought))
        known = [e for e in window if e[3] in ("purchase", "cart", "click", "rate")]
        assert np.frombuffer(row["label_counts"], "<f4").sum() == pytest.approx(len(known))
        assert np.frombuffer(row["features"], "<f4")[2] == (cut - min(e[5] for e in own if e[3] != "expose")).days
        assert len(row["prior"]) == 4 * len(names) and len(row["tokens"]) == 64


def test_what_decides_the_features_and_what_does_not(argv: list[str]) -> None:

    def told(*flags: str) -> dict[str, str]:
        invocation = parse_command_line([*argv, *flags], needs_as_of=True)
        found: dict[str, str] = decisive(invocation.settings, invocation.settings_path.parent)
        return found

    plain = told()
    for flag, value in {"training.learning_rate": "0.1", "training.epochs": "3", "interests.dirichlet": "9"}.items():
        assert told(f"--{flag}", value) == plain
    for flag, value in {"training.seed": "2", "interests.half_life_days": "7", "encoder.max_tokens": "32"}.items():
        assert told(f"--{flag}", value) != plain, flag
    assert told("--source.has_amounts", "false") != plain


def test_bad_input_is_told_and_leaves_nothing(
    spark: SparkSession, tmp_path: Path, argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    store = fill(spark, tmp_path / "warehouse", random_events(4, day("03-01"), 30, 40, users=3))
    module = job()
    cases = {
        "no event lies before it, the first is of 2017-03-0": [*argv[:2], "--as-of", "2017-02-27"],
        "leaves no training cut": [*argv[:2], "--as-of", "2017-03-15"],
        "no tokenizer; expected one of": [*argv, "--encoder.path", str(tmp_path)],
    }
    for message, line in cases.items():
        assert run(module.JOB, module.run, line, Path("build_features.py")) == 1
        assert message in capsys.readouterr().err
    assert set(versions(store).values()) == {None}
