"""search_settings on a small made-up log: rows as trainings end, going on after a stop, and a space that is refused."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from pyspark.sql import SparkSession

from equipoise.job.run import run
from equipoise.store import Store
from tests.conftest import ROOT
from tests.integration.test_features_job import AS_OF, TOML
from tests.integration.test_training_launch import InThisProcess
from tests.small_models import tiny_bert

if TYPE_CHECKING:
    from pyspark.sql import Row

pytestmark = pytest.mark.slow
SEARCH = """
processes = 1
batch_size = 4
max_steps = 4
pair_steps = 4
pair_batch = 8
threads = 1
[search]
trials = {trials}
sampler = "random"
first_steps = 2
reduction = 2
metric = "loss"
[search.space]
"training.learning_rate" = {{ low = 1e-5, high = 1e-2, log = true }}
"training.method" = ["lora", "full"]
"training.lora_rank" = {{ low = 1, high = 4, integer = true }}
"""


def job() -> ModuleType:
    spec = importlib.util.spec_from_file_location("search_settings", ROOT / "jobs" / "search_settings.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One warehouse for both tests."""
    return tmp_path_factory.mktemp("search")


@pytest.fixture(scope="module")
def argv(small_features: Path, tmp_path: Path) -> Iterator[list[str]]:
    import pyspark.ml.torch.distributor

    patch = pytest.MonkeyPatch()
    patch.setattr(pyspark.ml.torch.distributor, "TorchDistributor", InThisProcess)
    (tmp_path / "settings.toml").write_text(text(tmp_path, trials=2))
    shutil.copytree(small_features, tmp_path / "warehouse")
    yield ["--settings", str(tmp_path / "settings.toml"), "--as-of", str(AS_OF)]
    patch.undo()


def text(folder: Path, trials: int) -> str:
    encoder = folder / "bert" if (folder / "bert").exists() else tiny_bert(folder / "bert")
    start = TOML.format(warehouse=folder / "warehouse", encoder=encoder)
    return start.rstrip("\n") + SEARCH.replace("threads = 1\n", "").format(trials=trials)


def rows(spark: SparkSession, folder: Path) -> list[Row]:
    return Store(spark, str(folder / "warehouse")).read("ops.trials").orderBy("rung", "trial").collect()


def test_a_search_goes_on_where_it_stopped_and_publishes_nothing(
    spark: SparkSession, argv: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = job()
    file = ROOT / "jobs" / "search_settings.py"
    kept, trained = module.search.run, []

    def stopping(plan, done, train, late):  # type: ignore[no-untyped-def]
        for outcome in kept(plan, done, train, late):
            trained.append((outcome.trial, outcome.rung))
            yield outcome
            if len(trained) == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(module.search, "run", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(module.JOB, module.run, argv, file)
    assert [(r["trial"], r["rung"]) for r in rows(spark, tmp_path)] == [(0, 0), (1, 0)]
    assert run(module.JOB, module.run, argv, file) == 0
    found = rows(spark, tmp_path)
    assert len(trained) == len(found) and {r["rung"] for r in found} == {0, 1}
    assert [r["max_steps"] for r in found] == [2] * 3 + [4] * (len(found) - 3)
    assert (
        {r["status"] for r in found} == {"done"}
        and all(r["value"] > 0 for r in found)
        and len({r["search_id"] for r in found}) == 1
    )
    assert found[0]["params"] == {"training.learning_rate": "null", "training.lora_rank": "8", "training.method": '"lora"'}
    said = capsys.readouterr().err
    assert "goes on: 2 trainings are in ops.trials" in said and "the settings as they are: " in said and "[training]" in said
    models = tmp_path / "warehouse" / "models" / "encoder"
    assert not [p for p in models.rglob("*") if p.is_file()]  # nothing published, nothing left behind

    before = len(trained)
    assert run(module.JOB, module.run, argv, file) == 0
    assert len(trained) == before  # there was nothing left to do
    (tmp_path / "settings.toml").write_text(text(tmp_path, trials=3))
    assert run(module.JOB, module.run, argv, file) == 0
    assert {r["trial"] for r in rows(spark, tmp_path)} == {0, 1, 2, 3}


def test_a_space_that_is_refused_ends_with_two(argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module = job()
    settings = tmp_path / "settings.toml"
    settings.write_text(text(tmp_path, trials=2).replace("training.lora_rank", "training.lora_ranks"))
    assert run(module.JOB, module.run, argv, ROOT / "jobs" / "search_settings.py") == 2
    assert "no setting 'training.lora_ranks'; expected one of training" in capsys.readouterr().err
