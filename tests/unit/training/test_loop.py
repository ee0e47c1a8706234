from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from equipoise.errors import ModelError
from equipoise.models.losses import LossWeights, combined, loss_sums
from equipoise.training.checkpoint import Checkpoints, Weights, put_weights, weights_of
from equipoise.training.optimiser import rate_factor
from equipoise.training.ranks import alone
from equipoise.training.step import step_seed
from equipoise.training.tracking import Tracker
from equipoise.training.validation import validate
from tests.unit.models import tiny
from tests.unit.training import made


@pytest.fixture(scope="module")
def encoder_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny.directory(tmp_path_factory.mktemp("encoder"))


def assert_equal_weights(a: Weights, b: Weights) -> None:
    assert set(a) == set(b)
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_it_learns_what_is_there_to_learn(encoder_path: str) -> None:
    figures = made.training(encoder_path, epochs=12, head_learning_rate=3e-2).run().metrics
    assert figures["best_category_loss"] < 0.85 * figures["start_category_loss"]
    assert figures["best_step"] > 0


def test_the_same_arguments_give_the_same_weights_to_the_bit(encoder_path: str) -> None:
    first, second = (made.training(encoder_path).run() for _ in range(2))
    assert_equal_weights(first.weights, second.weights)
    other = made.training(encoder_path, seed=2).run()
    assert any(not torch.equal(first.weights[n], other.weights[n]) for n in first.weights)  # dropout follows the seed


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("killed_after", [1, 3, 6, 7, 11])
def test_a_resumed_training_equals_an_uninterrupted_one_to_the_bit(encoder_path: str, tmp_path: Path, killed_after: int) -> None:
    whole = made.training(encoder_path).run()

    @contextmanager
    def dying(epoch: int, skip: int) -> Iterator[Iterator[made.Batch]]:
        def batches() -> Iterator[made.Batch]:
            for place, batch in enumerate(list(range(skip, made.STEPS)), start=skip):
                if epoch * made.STEPS + place == killed_after:
                    raise Killed
                yield made.learnable(made.BATCH, 100 * epoch + batch)

        yield batches()

    with pytest.raises(Killed):
        made.training(encoder_path, folder=tmp_path, train=dying, checkpoint_every=2).run()
    resumed = made.training(encoder_path, folder=tmp_path, checkpoint_every=2).run()
    assert_equal_weights(whole.weights, resumed.weights)
    assert resumed.progress.history == whole.progress.history
    assert (resumed.progress.step, resumed.progress.best_step) == (whole.progress.step, whole.progress.best_step)


def test_step_zero_is_a_candidate(encoder_path: str) -> None:
    """At a senseless rate everything gets worse; what comes out is the untrained model, which is the prior."""
    done = made.training(encoder_path, learning_rate=0.3, head_learning_rate=0.3).run()
    assert done.progress.best_step == 0
    assert done.metrics["best_loss"] == done.metrics["start_loss"]
    fresh = made.model(encoder_path)
    assert_equal_weights(done.weights, {n: p.detach() for n, p in fresh.trainable()})


def test_patience_ends_it(encoder_path: str) -> None:
    done = made.training(encoder_path, learning_rate=0.3, head_learning_rate=0.3, patience=2, epochs=5).run()
    assert done.ended == "no gain in 2 validation passes"
    assert done.progress.step == 6  # passes at steps 3 and 6


def test_time_ends_it_with_a_validation_pass(encoder_path: str) -> None:
    done = made.training(encoder_path, max_seconds=0.001, epochs=50).run()
    assert (done.ended, done.progress.step) == ("out of time", 1)
    assert [h["step"] for h in done.progress.history] == [0.0, 1.0]


def test_validation_passes_fall_where_they_should(encoder_path: str) -> None:
    done = made.training(encoder_path, evaluations_per_epoch=4).run()
    assert [h["step"] for h in done.progress.history] == [0, 2, 4, 6, 8, 10, 12]


@pytest.mark.parametrize(("steps", "passes"), [(4, [0, 2, 4]), (6, [0, 3, 6]), (9, [0, 3, 6, 9])])
def test_steps_end_it_within_an_epoch_and_at_its_end(encoder_path: str, steps: int, passes: list[int]) -> None:
    done = made.training(encoder_path, max_steps=steps, checkpoint_every=2).run()
    assert (done.ended, done.progress.step) == ("all steps done", steps)
    assert [h["step"] for h in done.progress.history] == passes


def test_a_training_that_was_done_is_not_gone_on_with(encoder_path: str, tmp_path: Path) -> None:
    whole = made.training(encoder_path, folder=tmp_path, max_steps=4).run()
    again = made.training(encoder_path, folder=tmp_path, max_steps=4).run()
    assert_equal_weights(whole.weights, again.weights)
    assert (again.progress.step, again.progress.history) == (4, whole.progress.history)


WEIGHTS = LossWeights(2.0, 0.3, 0.5, 9.0, 9.0)  # the text route reads no sequence: the last two weigh nothing


def test_a_head_that_training_made_worse_is_as_it_began(encoder_path: str) -> None:
    """Everybody buys in training and nobody in validation, so that the value head can only lose; the categories gain."""

    def everywhere(rows: made.Batch, label: int) -> made.Batch:
        return {**rows, "label_value": torch.full_like(rows["label_value"], label)}

    @contextmanager
    def train(epoch: int, skip: int) -> Iterator[Any]:
        with made.epochs(epoch, skip) as batches:
            yield (everywhere(batch, 2) for batch in batches)

    @contextmanager
    def check() -> Iterator[Any]:
        with made.validation() as batches:
            yield (everywhere(batch, 0) for batch in batches)

    training = made.training(encoder_path, train=train, check=check, value_weight=0.01)
    before = weights_of(training._model)
    found = training.run()
    assert found.reverted == ("value",) and found.progress.best_step > 0
    for name, tensor in found.weights.items():
        assert torch.equal(tensor, before[name]) == name.startswith("heads.value."), name
    net = made.model(encoder_path)
    put_weights(net, found.weights)
    with check() as batches:
        said = validate(net, batches, alone(), training._weights)
    metrics = found.metrics
    for name in ("loss", "category_loss", "visit_loss", "value_loss"):
        np.testing.assert_allclose(metrics[f"best_{name}"], said[name], rtol=1e-5, err_msg=name)
    assert (
        metrics["best_value_loss"] == metrics["start_value_loss"]
        and metrics["best_category_loss"] < metrics["start_category_loss"]
    )


def test_validation_against_a_plain_loop(encoder_path: str) -> None:
    net = made.model(encoder_path).eval()
    with made.validation() as batches:
        found = validate(net, batches, alone(), WEIGHTS)
    rows = {k: [] for k in made.learnable(1, 1)}  # type: ignore[var-annotated]
    with made.validation() as batches:
        for batch in batches:
            for name, tensor in batch.items():
                rows[name].append(tensor)
    whole = {k: torch.cat(v) for k, v in rows.items()}
    outputs = tiny.predict(net, whole)
    sums = loss_sums(outputs, whole["label_counts"], whole["label_value"])
    np.testing.assert_allclose(found["loss"], float(combined(sums, WEIGHTS)), rtol=1e-5)
    kept = whole["label_counts"].sum(1) > 0
    p = outputs.category_logits.softmax(1)[kept].double().numpy()
    q = whole["label_counts"][kept].double().numpy()
    q /= q.sum(1, keepdims=True)
    kl = np.where(q > 0, q * np.log2(np.where(q > 0, q, 1) / p), 0).sum(1).mean()
    np.testing.assert_allclose(found["category_kl_bits"], kl, rtol=1e-5)
    assert found["rows"] == 24
    assert found["category_rows"] == int(kept.sum())


def test_a_loss_that_is_not_finite_stops_with_the_way_out(encoder_path: str) -> None:
    @contextmanager
    def poisoned(epoch: int, skip: int) -> Iterator[Iterator[made.Batch]]:
        batch = made.learnable(made.BATCH, 1)
        batch["features"][0, 0] = math.nan
        yield iter([batch] * made.STEPS)

    with pytest.raises(
        ModelError,
        match=r"step 1, batch 0 of epoch 0 on rank 0 .*features in rows \[0\] of 8: build.*lower training.learning_rate",
    ):
        made.training(encoder_path, train=poisoned).run()


def test_a_short_epoch_is_an_error(encoder_path: str) -> None:
    @contextmanager
    def short(epoch: int, skip: int) -> Iterator[Iterator[made.Batch]]:
        yield iter([made.learnable(made.BATCH, 1)] * 4)

    with pytest.raises(ModelError, match="gave 4 batches, expected 6"):
        made.training(encoder_path, train=short).run()


def test_checkpoints_are_safetensors_and_json_and_only_the_newest_stays(encoder_path: str, tmp_path: Path) -> None:
    made.training(encoder_path, folder=tmp_path, epochs=1).run()
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000006"]
    names = {p.name for p in (tmp_path / "step-00000006").iterdir()}
    assert names == {"weights.safetensors", "optimiser.safetensors", "best.safetensors", "more.safetensors", "state.json"}


def test_a_half_written_checkpoint_is_not_seen(encoder_path: str, tmp_path: Path) -> None:
    (tmp_path / ".step-00000009").mkdir(parents=True)
    assert Checkpoints(tmp_path, "x").newest() is None


def test_a_checkpoint_of_other_settings_is_refused(encoder_path: str, tmp_path: Path) -> None:
    made.training(encoder_path, folder=tmp_path, epochs=1).run()
    with pytest.raises(ModelError, match=r"of a training with other settings \(x, expected y\).*delete"):
        made.training(encoder_path, folder=tmp_path, identity="y").run()


def test_only_adapters_and_heads_change(encoder_path: str) -> None:
    run = made.training(encoder_path, epochs=1)
    before = {n: p.detach().clone() for n, p in run._model.named_parameters() if not p.requires_grad}
    done = run.run()
    assert all("lora_" in n or n.startswith("heads.") for n in done.weights)
    after = dict(run._model.named_parameters())
    assert all(torch.equal(before[n], after[n]) for n in before)


@pytest.mark.parametrize(("total", "share"), [(10, 0.0), (10, 0.3), (100, 0.1), (1, 0.5), (3, 1.0)])
def test_the_rate_rises_then_falls_and_is_never_zero(total: int, share: float) -> None:
    warmup = int(total * share)
    factors = (
        [rate_factor(s, total, share) for s in range(total)]
        if warmup < total
        else [rate_factor(s, total, share) for s in range(warmup)]
    )
    assert all(0 < f <= 1 for f in factors)
    assert factors[:warmup] == sorted(factors[:warmup])
    assert factors[warmup:] == sorted(factors[warmup:], reverse=True)
    if warmup < total:
        assert factors[warmup] == 1.0


def test_step_seeds_differ_by_step_rank_and_seed() -> None:
    seeds = {step_seed(s, r, k) for s in range(3) for r in range(4) for k in range(50)}
    assert len(seeds) == 600


def test_tracking_writes_lines_json_and_tensorboard(encoder_path: str, tmp_path: Path) -> None:
    said: list[str] = []
    tracker = Tracker(tmp_path, say=said.append)
    made.training(encoder_path, tracker=tracker, epochs=1).run()
    tracker.close()
    records: list[dict[str, Any]] = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records if r["kind"] == "validation"] == [0, 3, 6]
    assert [r["step"] for r in records if r["kind"] == "train"] == [1, 2, 3, 4, 5, 6]
    assert any(s.startswith("step 6 of 6: loss ") and "examples/s, 0 s left" in s for s in said)
    assert said[0].startswith("validation at step 0: loss ")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [e.step for e in events.Scalars("validation/loss")] == [0, 3, 6]


def test_weights_and_biases_stay_on_this_machine(encoder_path: str, tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="the extra equipoise[wandb] is not installed")
    tracker = Tracker(tmp_path / "m1", say=lambda _: None, wandb=True)
    made.training(encoder_path, tracker=tracker, epochs=1).run()
    tracker.close()
    runs = list((tmp_path / "m1").rglob("offline-run-*"))
    assert len(runs) == 1 and list(runs[0].glob("*.wandb"))


def test_without_the_extra_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ModelError, match=r"the package wandb is not installed; install equipoise\[wandb\], or set it to false"):
        Tracker(tmp_path, wandb=True)
