from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from equipoise.errors import ModelError
from equipoise.models import TowerModel, TowerOptions, load_package
from equipoise.models.encoder import load_backbone
from equipoise.models.methods import BESIDE, Method
from equipoise.training.augment import AugmentOptions
from equipoise.training.checkpoint import _seal
from equipoise.training.judge import Gate, GateOptions
from equipoise.training.launch import fine_tune
from equipoise.training.recipe import Recipe
from equipoise.training.registry import Registry
from tests.unit.models import tiny
from tests.unit.training.recipes import recipe

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def ranks_find_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'lib'}{os.pathsep}{ROOT}")


def test_two_ranks_train_and_leave_a_package(spark: SparkSession, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """160 rows in batches of 8 on 2 ranks: 10 steps an epoch, 20 in all; validation shards are uneven (27 and 9 rows)."""
    made = recipe(tmp_path)
    metrics = fine_tune(spark, made, processes=2, cluster_mode=False)
    assert metrics["steps"] == 20
    assert metrics["start_rows"] == 36
    assert metrics["best_loss"] < metrics["start_loss"]
    registry = Registry(tmp_path / "registry")
    lines: list[str] = []
    options = GateOptions(1, "category", 0.0, 2048, 1.0, 0.1, 1.0, "cpu", "float32")
    verdict = Gate(registry, options, lines.append).judge(made, promotes=True)
    loaded = load_package(registry.publish(made.staging, "m1"))
    registry.promote("m1", verdict)
    # One pass on the driver and the two ranks' shards together say the same of every loss, before training and after.
    beside = {(c.other, c.metric): c for c in verdict.comparisons}
    for metric, name in (("category", "category_loss"), ("visit", "visit_loss"), ("value", "value_loss"), ("loss", "loss")):
        found = beside["counted", metric]
        said = [metrics[f"{when}_{name}"] / math.log(2) for when in ("best", "start")]
        assert [found.candidate_bits, found.other_bits] == pytest.approx(said, rel=1e-4), metric
    assert beside["prior", "category"].other_bits == pytest.approx(metrics["prior_category_loss"] / math.log(2), rel=1e-4)
    assert loaded.meta.gate == json.loads(json.dumps(verdict.as_dict()))
    assert lines[-1] == "gate: not compared with CURRENT: there is none yet"
    assert loaded.meta.metrics == metrics
    shares = tiny.predict(loaded.model, tiny.batch(5)).category_logits.softmax(dim=1)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(5))
    said = capfd.readouterr().out
    assert "validation at step 0: loss " in said
    assert "training ended after" in said
    assert said.count("validation at step 20") == 1  # one rank speaks
    card = (registry.path("m1") / "MODEL_CARD.md").read_text()
    assert "| step | loss |" in card
    assert "160 training examples at the cuts 2017-08-14, 2017-09-11" in card
    assert "`feature.examples` version 3" in card
    assert "## Promotion gate" in card
    assert f"| next categories | counted | {beside['counted', 'category'].users} |" in card


@pytest.mark.slow
def test_a_tower_trains_on_two_ranks_and_meets_its_predecessor_at_the_gate(spark: SparkSession, tmp_path: Path) -> None:
    """The encoder stays as it was; what was published scores as what was trained; a second tower is compared with the first."""
    registry, options = Registry(tmp_path / "registry"), GateOptions(1, "category", 0.5, 2048, 1.0, 0.1, 1.0, "cpu", "float32")
    made = as_tower(recipe(tmp_path, epochs=1), tmp_path)
    metrics = fine_tune(spark, made, processes=2, cluster_mode=False)
    assert metrics["steps"] == 10 and metrics["best_next_item_loss"] < metrics["start_next_item_loss"]
    rows = metrics["best_behaviour_rows"]
    assert 0 < metrics["best_behaviour_base_loss"] < math.log(3) + 1e-9
    assert metrics["best_behaviour_base_loss"] == metrics["start_behaviour_base_loss"]
    assert 0 < metrics["best_behaviour_buy_f1"] <= 1 and rows == metrics["start_behaviour_rows"] > 0
    verdict = Gate(registry, options, print).judge(made, promotes=True)
    registry.promote(registry.publish(made.staging, "m1").name, verdict)
    loaded = load_package(registry.path("m1"))
    assert isinstance(loaded.model, TowerModel)
    pretrained = load_backbone(made.encoder_path).state_dict()
    assert all(torch.equal(t, pretrained[n]) for n, t in loaded.model.encoder.backbone.state_dict().items())
    card = (registry.path("m1") / "MODEL_CARD.md").read_text()
    assert "sequence model (attention" in card and "next_item_loss" in card

    other = as_tower(recipe(tmp_path / "other", epochs=1, seed=2), tmp_path / "other")
    again = replace(other, meta=replace(other.meta, model_id="m2"), staging=str(tmp_path / "registry" / "_staging" / "m2"))
    fine_tune(spark, again, processes=1, cluster_mode=False)
    found = Gate(registry, options, print).judge(again, promotes=True)
    assert (found.current, found.not_compared) == ("m1", "")
    assert {c.other for c in found.comparisons} == {"prior", "counted", "CURRENT m1"}


def as_tower(made: Recipe, folder: Path) -> Recipe:
    """The same training on the tower route."""
    options = TowerOptions("attention", width=8, layers=1, attention_heads=2, dropout=0.1, events=tiny.EVENTS)
    tiny.item_table().save(folder / "items.safetensors")
    meta = replace(made.meta, route="tower", tower=asdict(options))
    return replace(made, tower=options, items=str(folder / "items.safetensors"), meta=meta)


@pytest.mark.slow
def test_a_resumed_training_on_two_ranks_ends_in_the_same_weights(spark: SparkSession, tmp_path: Path) -> None:
    whole = recipe(tmp_path / "whole", epochs=1)
    fine_tune(spark, whole, processes=2, cluster_mode=False)
    cut = recipe(tmp_path / "cut", epochs=1)
    (Path(cut.train_files[3])).rename(tmp_path / "away")  # the ranks fail at once; nothing is left behind
    with pytest.raises(ModelError, match=r"StreamError: 1 of 4 files not there"):
        fine_tune(spark, cut, processes=2, cluster_mode=False)
    (tmp_path / "away").rename(cut.train_files[3])
    stopped = replace(cut, options=replace(cut.options, max_seconds=0.01))
    assert fine_tune(spark, stopped, processes=2, cluster_mode=False)["steps"] == 1
    later = Path(cut.checkpoints) / "step-00000001" / "state.json"
    state = json.loads(later.read_text())
    del state["seal"]
    state["progress"]["history"] = state["progress"]["history"][:1]  # the pass at the time limit is not one of the whole training
    state["progress"].update(seconds=0.0, best_step=0, best_loss=state["progress"]["history"][0]["loss"], passes_without_gain=0)
    later.write_text(json.dumps(state | {"seal": _seal(state)}))
    fine_tune(spark, cut, processes=2, cluster_mode=False)
    for name in ("heads.safetensors", "adapter/adapter_model.safetensors"):
        assert (Path(whole.staging) / name).read_bytes() == (Path(cut.staging) / name).read_bytes(), name


def test_a_gpu_that_is_not_there_is_said(spark: SparkSession, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ModelError, match=r"training.device = 'cuda', but torch sees no GPU"):
        fine_tune(spark, replace(recipe(tmp_path), device="cuda"), processes=1, cluster_mode=False)


@pytest.mark.slow
def test_cluster_mode_gives_the_weights_of_local_mode(spark: SparkSession, tmp_path: Path) -> None:
    """Own process: a cluster needs a Spark context of its own."""
    local = recipe(tmp_path / "local", epochs=1)
    expected = fine_tune(spark, local, processes=2, cluster_mode=False)
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.cluster_training", str(tmp_path / "cluster")],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    timing = ("seconds", "examples_per_second")
    assert {k: v for k, v in found.items() if k not in timing} == {k: v for k, v in expected.items() if k not in timing}
    remote = tmp_path / "cluster" / "registry" / "_staging" / "m1" / "heads.safetensors"
    assert remote.read_bytes() == (Path(local.staging) / "heads.safetensors").read_bytes()


class InThisProcess:
    """Stands in for TorchDistributor: one rank, here, so that what a rank does can be tampered with."""

    def __init__(self, **_: object) -> None: ...

    def run(self, work: Any, given: Recipe) -> Any:
        return work(given)


def test_where_memory_runs_out_training_goes_on_with_smaller_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the seventh step on no more than three examples fit into a pass: 8, 4, 2; the end is that of an untroubled
    training."""
    import pyspark.ml.torch.distributor

    from equipoise.training import step

    monkeypatch.setattr(pyspark.ml.torch.distributor, "TorchDistributor", InThisProcess)
    plain = {"epochs": 1, "optimiser": "sgd", "learning_rate": 0.05, "head_learning_rate": 0.05, "max_steps": 12}
    whole, tight = (without_dropout(recipe(tmp_path / name, **plain)) for name in ("whole", "tight"))
    untroubled = fine_tune(None, whole, processes=1, cluster_mode=False)  # type: ignore[arg-type]
    kept, passes, said = step.forward_sums, [], []

    def forward_sums(net: Any, model: Any, batch: Any, *rest: Any) -> Any:
        passes.append(len(batch["label_value"]))
        if len(passes) > 6 and passes[-1] > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return kept(net, model, batch, *rest)

    monkeypatch.setattr(step, "forward_sums", forward_sums)
    found = fine_tune(None, tight, processes=1, cluster_mode=False, say=said.append)  # type: ignore[arg-type]
    assert said == [
        "out of memory with 8 examples per pass: going on from the last checkpoint with 4",
        "out of memory with 4 examples per pass: going on from the last checkpoint with 2",
    ]
    assert found["steps"] == untroubled["steps"] == 12
    assert found["best_loss"] == pytest.approx(untroubled["best_loss"], rel=1e-4)
    monkeypatch.setattr(step, "forward_sums", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory")))
    hopeless = without_dropout(recipe(tmp_path / "hopeless", **plain))
    with pytest.raises(ModelError, match=r"out of memory at step 1 with 1 examples per pass.*encoder.max_tokens"):
        fine_tune(None, hopeless, processes=1, cluster_mode=False, say=said.append)  # type: ignore[arg-type]
    assert not Path(hopeless.staging).exists()


def without_dropout(made: Recipe) -> Recipe:
    return replace(made, dropout=0.0, method=replace(made.method, lora_dropout=0.0))


WAYS: dict[str, dict[str, Any]] = {
    "prompt, augmented": {
        "method": Method("prompt", virtual_tokens=3),
        "augment": AugmentOptions(token_dropout=0.2, attribute_shuffle=0.5),
    },
    "bottleneck, attacked": {"method": Method("bottleneck", bottleneck_width=4)},
    "adalora": {"method": Method("adalora", lora_rank=2)},
    "full, sharded over one": {"method": Method("full"), "sharded": True},
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_ends_in_a_package_that_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    import pyspark.ml.torch.distributor

    monkeypatch.setattr(pyspark.ml.torch.distributor, "TorchDistributor", InThisProcess)
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29577"}.items():
        monkeypatch.setenv(name, value)
    more: dict[str, Any] = {"adversarial": "fgm", "attack_report": True} if "attacked" in way else {}
    made = replace(recipe(tmp_path, epochs=1, max_steps=6, head_learning_rate=5e-2, **more), **WAYS[way])
    beside = asdict(made.method) if made.method.method in BESIDE else {}
    made = replace(made, meta=replace(made.meta, beside=beside))
    metrics = fine_tune(None, made, processes=1, cluster_mode=False)  # type: ignore[arg-type]
    assert metrics["steps"] == 6 and metrics["best_loss"] <= metrics["start_loss"]
    assert ("fgm_value_accuracy" in metrics) == ("attacked" in way)
    loaded = load_package(made.staging)
    options = GateOptions(1, "category", 0.0, 2048, 1.0, 0.1, 1.0, "cpu", "float32")
    verdict = Gate(Registry(tmp_path / "registry"), options, print).judge(made, promotes=True)
    said = next(c.candidate_bits for c in verdict.comparisons if (c.other, c.metric) == ("counted", "loss"))
    assert said == pytest.approx(metrics["best_loss"] / math.log(2), rel=1e-4)  # what was trained is what was written
    assert bool(tiny.predict(loaded.model, tiny.batch(5)).category_logits.isfinite().all())
