"""From texts and packed examples to the directory that fine-tuning starts from, and to a package; no Spark."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from equipoise.errors import ModelError
from equipoise.job import pretraining
from equipoise.models import load_package
from equipoise.models.encoder import load_backbone
from equipoise.settings.training import Training
from equipoise.training.launch import fine_tune
from equipoise.training.start import Files
from tests.integration.test_training_launch import InThisProcess
from tests.unit.models import tiny
from tests.unit.training import recipes


class Rows:
    """Stands in for feature.example_items: the calls that are made of it, in the order of item_id."""

    def __init__(self, rows: list[dict[str, str]]) -> None:
        self._rows = rows

    def select(self, *_: str) -> Rows:
        return self

    def filter(self, _: str) -> Rows:
        return Rows([r for r in self._rows if r["text"]])

    def orderBy(self, _: str) -> Rows:
        return Rows(sorted(self._rows, key=lambda r: r["item_id"]))

    def collect(self) -> list[dict[str, str]]:
        return self._rows


def _context(monkeypatch: pytest.MonkeyPatch, said: list[str], **training: Any) -> Any:
    """Items 1 … ITEMS as in the examples, whose keys are their numbers; the last has no text."""
    words = tiny.WORDS[5:]
    texts = {i: f"{words[i % 12]} {words[(5 * i + 1) % 12]} {words[i // 12]}" for i in range(1, tiny.ITEMS)} | {tiny.ITEMS: ""}
    monkeypatch.setattr(pretraining, "item_keys", lambda ids: ids.cast("int64").to_numpy(zero_copy_only=False))
    settings = SimpleNamespace(training=Training(**training), encoder=SimpleNamespace(max_item_tokens=8))
    rows = Rows([{"item_id": str(i), "text": t} for i, t in texts.items()])
    return SimpleNamespace(settings=settings, say=said.append, read=lambda _: rows)


OPTIONS: dict[str, Any] = {"pretraining_steps": 6, "pretraining_rate": 1e-3, "pretraining_batch": 8, "pretraining_days": 31}


def test_an_encoder_that_is_pre_trained_is_fine_tuned_and_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyspark.ml.torch.distributor

    monkeypatch.setattr(pyspark.ml.torch.distributor, "TorchDistributor", InThisProcess)
    made = replace(recipes.recipe(tmp_path, epochs=1, max_steps=3), task_adapter_width=3)
    files, said = Files(made.train_files, made.validation_files, recipes.WIDTHS), list[str]()
    ctx = _context(monkeypatch, said, pretraining="both", precision="float32", **OPTIONS)
    path, told = pretraining.pretrained_encoder(ctx, made.encoder_path, files, tmp_path / "scratch")
    assert path == str(tmp_path / "scratch" / "pretrained") and told["texts"] < tiny.ITEMS
    assert said[0].startswith(f"pre-training (both) on {told['texts']} texts and {told['pairs']} pairs of texts out of ")
    fine_tune(None, replace(made, encoder_path=path, meta=replace(made.meta, pretraining=told)), processes=1, cluster_mode=False)  # type: ignore[arg-type]
    loaded = load_package(made.staging)
    assert loaded.meta.pretraining["identity"] == told["identity"]
    assert loaded.model.heads.value.adapter is not None
    assert "## Pre-training" in (Path(made.staging) / "MODEL_CARD.md").read_text()
    words = "embeddings.word_embeddings.weight"  # LoRA leaves them alone
    assert torch.equal(loaded.model.encoder.backbone.state_dict()[words], load_backbone(path).state_dict()[words])


def test_off_it_reads_nothing(tmp_path: Path) -> None:
    ctx = SimpleNamespace(settings=SimpleNamespace(training=Training()))
    assert pretraining.pretrained_encoder(ctx, "as it was", None, tmp_path) == ("as it was", {})  # type: ignore[arg-type]


def test_a_decoder_is_refused_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = _context(monkeypatch, [], pretraining="masked")
    ctx.read = None
    with pytest.raises(ModelError, match="it is a decoder"):
        pretraining.pretrained_encoder(ctx, tiny.directory(tmp_path, "qwen"), None, tmp_path)  # type: ignore[arg-type]


def test_a_driver_without_the_gpu_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    said: list[str] = []
    assert pretraining._device(_context(monkeypatch, said, device="cuda")) == torch.device("cpu")
    assert said == ["pre-training on the processor: training.device = 'cuda', but torch sees no GPU on the driver"]
