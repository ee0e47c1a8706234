"""finetune_encoder with continued pre-training, on both routes, on a small made-up log."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from equipoise.job.run import run
from equipoise.models import load_package
from equipoise.models.encoder import load_backbone
from equipoise.training.registry import Registry
from tests.conftest import ROOT
from tests.integration.test_features_job import AS_OF, TOML
from tests.integration.test_training_launch import InThisProcess
from tests.small_models import tiny_bert

pytestmark = pytest.mark.slow
MORE = """
processes = 1
batch_size = 4
max_steps = 4
pair_steps = 4
pair_batch = 8
precision = "float32"
pretraining = "both"
pretraining_steps = 12
pretraining_rate = 1e-3
pretraining_batch = 8
pretraining_days = 28
task_adapter_width = 4
weighting = "uncertainty"
balance_weight = 0.1
sequence_behaviour_weight = 0.1
"""


def job() -> ModuleType:
    spec = importlib.util.spec_from_file_location("finetune_encoder", ROOT / "jobs" / "finetune_encoder.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(small_features: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    import pyspark.ml.torch.distributor

    made, patch = tmp_path_factory.mktemp("pretraining"), pytest.MonkeyPatch()
    patch.setattr(pyspark.ml.torch.distributor, "TorchDistributor", InThisProcess)
    text = TOML.format(warehouse=made / "warehouse", encoder=tiny_bert(made / "bert"))
    (made / "settings.toml").write_text(text.rstrip("\n") + MORE)
    shutil.copytree(small_features, made / "warehouse")
    yield made
    patch.undo()


def arguments(folder: Path) -> list[str]:
    return ["--settings", str(folder / "settings.toml"), "--as-of", str(AS_OF)]


def test_names_of_categories_are_learnt_from_the_shop(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module, registry = job(), Registry(folder / "warehouse" / "models" / "encoder")
    before = set(registry.root.iterdir()) if registry.root.exists() else set()
    argv = [*arguments(folder), "--training.pretraining", "categories", "--training.pretraining_steps", "4"]
    assert run(module.JOB, module.run, argv, ROOT / "jobs" / "finetune_encoder.py") in (0, 3)
    (model_id,) = {p.name for p in set(registry.root.iterdir()) - before if (p / "model.json").is_file()}
    assert "pre-training (categories) on " in capsys.readouterr().err
    told = load_package(registry.path(model_id)).meta.pretraining
    assert told["kind"] == "categories" and told["pairs"] > 0
    assert "Continued pre-training (categories) on" in (registry.path(model_id) / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize("route", ["text", "tower"])
def test_what_it_did_stands_in_the_model_and_its_card(folder: Path, route: str, capsys: pytest.CaptureFixture[str]) -> None:
    module, registry = job(), Registry(folder / "warehouse" / "models" / "encoder")
    before = set(registry.root.iterdir()) if registry.root.exists() else set()
    argv = [*arguments(folder), "--encoder.route", route]
    assert run(module.JOB, module.run, argv, ROOT / "jobs" / "finetune_encoder.py") in (0, 3)
    (model_id,) = {p.name for p in set(registry.root.iterdir()) - before if (p / "model.json").is_file()}
    said = capsys.readouterr().err
    assert "pre-training (both) on " in said and "pre-training: kept step " in said
    loaded = load_package(registry.path(model_id))
    told = loaded.meta.pretraining
    assert told["kind"] == "both" and told["pairs"] > 0 and len(told["history"]) == 7
    assert told["best_retrieval_loss"] <= told["start_retrieval_loss"]
    card = (registry.path(model_id) / "MODEL_CARD.md").read_text()
    assert f"## Pre-training\n\nContinued pre-training (both) on {told['texts']} item texts" in card
    assert ("## Kinds of sequences" in card) == (route == "tower")
    assert {"category_log_variance", "best_balance_kl"} <= set(loaded.meta.metrics)
    assert loaded.model.heads.category.adapter is not None
    untouched = load_backbone(folder / "bert").state_dict()
    same = all(torch.equal(t, untouched[n]) for n, t in loaded.model.encoder.backbone.state_dict().items() if "pooler" not in n)
    assert same == (route == "tower" and told["step"] == 0)  # on the text route LoRA moves the encoder in any case
