"""One step and what it is made of: losses, parts of a batch, precisions, running means, attacks, resuming, memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from equipoise.errors import ModelError, OutOfMemory
from equipoise.models.heads import Outputs
from equipoise.models.losses import LossWeights, Rows, combined, loss_sums, row_losses, squared_loss
from equipoise.models.methods import Method
from equipoise.training import step as step_module
from equipoise.training.adversarial import Attack, Perturbation, under_attack, worst
from equipoise.training.budget import Budget
from equipoise.training.checkpoint import Weights, weights_of
from equipoise.training.optimiser import make_optimiser, rate_factor
from equipoise.training.ranks import alone
from tests.unit.models import tiny
from tests.unit.training import made

QUIET = Method(lora_rank=2, lora_alpha=4.0, lora_dropout=0.0)


@pytest.fixture(scope="module")
def encoder_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny.directory(tmp_path_factory.mktemp("encoder"))


def still(encoder_path: str, **more: Any) -> Any:
    """A training without dropout, so that what a batch is cut into does not matter."""
    training = made.training(encoder_path, **{"method": QUIET, **more})
    for module in training._model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return training


PLAIN: dict[str, Any] = {"optimiser": "sgd", "learning_rate": 0.05, "head_learning_rate": 0.05}
"""AdamW divides by gradients: where they are almost 0, rounding alone would tell two trainings apart."""


def assert_near(a: Weights, b: Weights, atol: float = 1e-5) -> None:
    assert set(a) == set(b)
    for name in a:
        torch.testing.assert_close(a[name], b[name], atol=atol, rtol=1e-3, msg=name)


# Losses, against finite differences


def outputs_of(flat: Tensor) -> Outputs:
    """Logits of 4 users over CATEGORIES and 3 classes, from one vector of numbers."""
    parts = flat.view(4, 2 * tiny.CATEGORIES + 3).split([tiny.CATEGORIES, tiny.CATEGORIES, 3], dim=1)
    return Outputs(parts[0], *parts)


LOSSES: dict[str, Callable[[Outputs, Tensor, Tensor], Tensor]] = {
    "categories": lambda o, c, v: row_losses(o, c, v).category.sum(),
    "categories, smoothed": lambda o, c, v: row_losses(o, c, v, 0.2).category.sum(),
    "visits, binary": lambda o, c, v: row_losses(o, c, v).visit.sum(),
    "classes": lambda o, c, v: row_losses(o, c, v).value.sum(),
    "classes, smoothed": lambda o, c, v: row_losses(o, c, v, 0.2).value.sum(),
    "grades, squared": lambda o, c, v: squared_loss(o.value_logits, v).sum(),
    "all": lambda o, c, v: combined(loss_sums(o, c, v), LossWeights(1.0, 0.3, 0.7, 0.0, 0.0)),
    "all, graded": lambda o, c, v: combined(loss_sums(o, c, v), LossWeights(1.0, 0.3, 0.7, 0.0, 0.0), Rows(5.0, 9.0), "squared"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_against_finite_differences(name: str) -> None:
    draw = torch.Generator().manual_seed(5)
    flat = torch.randn(4 * (2 * tiny.CATEGORIES + 3), generator=draw, dtype=torch.float64)
    counts = torch.tensor([[3.0, 0, 1, 0, 0], [0, 0, 0, 0, 0], [0, 2, 2, 0, 9], [1, 0, 0, 0, 0]], dtype=torch.float64)
    labels = torch.tensor([2, 0, 1, 2])
    found = flat.clone().requires_grad_(True)
    LOSSES[name](outputs_of(found), counts, labels).backward()
    assert found.grad is not None
    step = 1e-5
    for place in range(len(flat)):
        moved = [flat.clone() for _ in range(2)]
        moved[0][place] += step
        moved[1][place] -= step
        up, down = (float(LOSSES[name](outputs_of(m), counts, labels)) for m in moved)
        assert abs(float(found.grad[place]) - (up - down) / (2 * step)) < 1e-7, (name, place)


@pytest.mark.parametrize("part", ["next_item", "behaviour"])
def test_gradients_of_the_sequence_against_finite_differences(encoder_path: str, part: str) -> None:
    net = tiny.tower(encoder_path).double()
    net.table._vectors = net.table._vectors.double()
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in net.tower.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=draw, dtype=torch.float64))
    rows = {n: t.double() if t.is_floating_point() else t for n, t in tiny.batch(6).items()}

    def loss() -> Tensor:
        found = net.tower.train()(net.table(rows["items"]), rows["types"], rows["ages"])
        sums: Tensor = getattr(net.tower.sums(found, rows["items"], rows["types"], net.table), part)
        return sums

    net.zero_grad()
    loss().backward()
    checked = 0
    for name, p in net.tower.named_parameters():
        if p.grad is None or not float(p.grad.abs().max()) or "bucket" in name:
            continue
        place = int(p.grad.abs().argmax())
        with torch.no_grad():
            kept = float(p.view(-1)[place])
            p.view(-1)[place] = kept + 1e-5
            up = float(loss())
            p.view(-1)[place] = kept - 1e-5
            down = float(loss())
            p.view(-1)[place] = kept
        assert abs(float(p.grad.view(-1)[place]) - (up - down) / 2e-5) < 1e-4 * max(1.0, abs(up - down) / 2e-5), name
        checked += 1
    assert checked > 10


def test_a_squared_loss_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, math.log(2.0)]])
    np.testing.assert_allclose(squared_loss(logits, torch.tensor([0, 2])), [1.0, (0.25 + 2 * 0.5 - 2) ** 2], rtol=1e-6)


def test_smoothing_leaves_an_empty_window_out() -> None:
    outputs = outputs_of(torch.zeros(4 * 13, dtype=torch.float64))
    rows = row_losses(outputs, torch.zeros(4, 5, dtype=torch.float64), torch.zeros(4, dtype=torch.long), 0.3)
    assert not rows.known.any() and float(rows.category.sum()) == 0.0


# Parts of a step


@pytest.mark.parametrize("size", [1, 3, 7, 8])
def test_a_step_in_parts_is_the_step(encoder_path: str, size: int) -> None:
    whole, parts = (still(encoder_path, micro_batch=n, **PLAIN).run() for n in (0, size))
    assert_near(whole.weights, parts.weights)
    assert whole.progress.best_loss == pytest.approx(parts.progress.best_loss, rel=1e-4)


def test_recomputed_activations_change_nothing(encoder_path: str) -> None:
    kept, again = (still(encoder_path, activation_checkpointing=on, epochs=1).run() for on in (False, True))
    assert_near(kept.weights, again.weights)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_learns_the_same(encoder_path: str, half: torch.dtype) -> None:
    full = still(encoder_path, epochs=4, head_learning_rate=3e-2).run().metrics
    low = still(encoder_path, epochs=4, head_learning_rate=3e-2, half=half).run().metrics
    assert low["best_loss"] < low["start_loss"]
    assert low["best_loss"] == pytest.approx(full["best_loss"], rel=0.05)


def test_float16_leaves_steps_out_until_the_gradients_fit(encoder_path: str) -> None:
    training = still(encoder_path, half=torch.float16, epochs=1)
    training._step._scaler._init_scale = 2.0**40  # overflows at once
    done = training.run()
    assert done.progress.step == made.STEPS
    assert training._step._scaler.get_scale() < 2.0**40
    assert all(bool(t.isfinite().all()) for t in done.weights.values())


def test_the_running_mean_is_what_is_judged_and_published(encoder_path: str) -> None:
    seen: list[Weights] = []
    training = still(encoder_path, ema_decay=0.9, epochs=1, evaluations_per_epoch=1)
    kept = training._one_step

    def watched(batch: Any, epoch: int) -> None:
        kept(batch, epoch)
        seen.append(weights_of(training._model))

    first = weights_of(training._model)
    training._one_step = watched
    done = training.run()
    mean = {n: t.clone() for n, t in first.items()}
    for step, weights in enumerate(seen, start=1):
        decay = min(0.9, (1 + step) / (10 + step))
        mean = {n: decay * mean[n] + (1 - decay) * t for n, t in weights.items()}
    assert done.progress.best_step == made.STEPS
    began = tuple(f"heads.{head}." for head in done.reverted)
    assert_near(done.weights, {n: first[n] if n.startswith(began) else t for n, t in mean.items()}, atol=1e-6)
    assert any(not torch.allclose(seen[-1][n], mean[n], atol=1e-4) for n in mean)


@pytest.mark.parametrize("algorithm", ["adamw", "adafactor", "sgd"])
def test_every_optimiser_learns(encoder_path: str, algorithm: str) -> None:
    rate = 0.3 if algorithm == "sgd" else 3e-2
    found = still(encoder_path, optimiser=algorithm, head_learning_rate=rate, epochs=6).run().metrics
    assert found["best_category_loss"] < 0.97 * found["start_category_loss"]


def test_biases_and_norms_do_not_decay(encoder_path: str) -> None:
    net = made.model(encoder_path, Method("full"))
    optimiser = make_optimiser(net, learning_rate=1e-3, head_learning_rate=1e-2, weight_decay=0.1)
    sizes = {(g["peak"], g["weight_decay"]): {p.ndim > 1 for p in g["params"]} for g in optimiser.param_groups}
    assert sizes == {(1e-3, 0.1): {True}, (1e-3, 0.0): {False}, (1e-2, 0.1): {True}, (1e-2, 0.0): {False}}
    assert sum(len(g["params"]) for g in optimiser.param_groups) == len(list(net.trainable()))


def test_schedules() -> None:
    for kind in ("linear", "cosine", "constant"):
        factors = [rate_factor(s, 20, 0.25, kind) for s in range(20)]  # type: ignore[arg-type]
        assert factors[:5] == sorted(factors[:5]) and factors[5] == 1.0 and min(factors) > 0
    np.testing.assert_allclose([rate_factor(s, 4, 0.0, "cosine") for s in range(4)], [1.0, 0.853553, 0.5, 0.146447], rtol=1e-5)
    assert rate_factor(19, 20, 0.0, "constant") == 1.0


def test_texts_are_changed_by_the_seed_of_the_step(encoder_path: str) -> None:
    asked: list[int] = []

    def augment(tokens: Tensor, mask: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        asked.append(seed)
        return tokens[:, :2], mask[:, :2]

    plain = made.training(encoder_path, epochs=1).run()
    changed = made.training(encoder_path, epochs=1, augment=augment).run()
    assert asked == [step_module.step_seed(1, 0, s) for s in range(made.STEPS)]
    assert any(not torch.equal(plain.weights[n], changed.weights[n]) for n in plain.weights)


# Resuming

RESUMED: dict[str, dict[str, Any]] = {
    "sgd": {"optimiser": "sgd"},
    "sgd without momentum": {"optimiser": "sgd", "momentum": 0.0},
    "adafactor": {"optimiser": "adafactor"},
    "running mean": {"ema_decay": 0.8},
    "parts": {"micro_batch": 3},
    "fgm": {"adversarial": "fgm"},
    "pgd": {"adversarial": "pgd", "adversarial_steps": 2},
    "float16": {"half": torch.float16},
    "adalora": {"method": Method("adalora", lora_rank=2, lora_dropout=0.1, total_steps=12)},
    "full": {"method": Method("full")},
    "bottleneck": {"method": Method("bottleneck", bottleneck_width=3)},
    "prefix": {"method": Method("prefix", virtual_tokens=2)},
    "learnt weights": {"weighting": "uncertainty"},
    "learnt weights, in parts, adafactor": {"weighting": "uncertainty", "micro_batch": 3, "optimiser": "adafactor"},
    "balanced": {"balance_weight": 0.5},
    "cosine, smoothed, graded": {"schedule": "cosine", "label_smoothing": 0.1, "value_loss": "squared"},
}


@pytest.mark.parametrize("kind", RESUMED)
def test_a_resumed_training_equals_an_uninterrupted_one(encoder_path: str, tmp_path: Path, kind: str) -> None:
    options = RESUMED[kind]
    whole = made.training(encoder_path, **options).run()

    with pytest.raises(KeyboardInterrupt):
        made.training(encoder_path, folder=tmp_path, train=made.dying, checkpoint_every=2, **options).run()
    resumed = made.training(encoder_path, folder=tmp_path, checkpoint_every=2, **options).run()
    assert resumed.progress.history == whole.progress.history
    assert resumed.learnt == whole.learnt
    assert all(torch.equal(whole.weights[n], resumed.weights[n]) for n in whole.weights)


# AdaLoRA


def test_adalora_takes_ranks_away_to_its_budget(encoder_path: str) -> None:
    method = Method("adalora", lora_rank=2, total_steps=12)
    training = made.training(encoder_path, method=method)
    training.run()
    matrices = [p for n, p in training._model.encoder.backbone.named_parameters() if "lora_E" in n]
    kept = sum(int((p != 0).sum()) for p in matrices)
    assert sum(p.numel() for p in matrices) == 3 * len(matrices) and kept == 2 * len(matrices)


def test_a_step_that_float16_leaves_out_does_not_end_the_dealing_of_ranks(encoder_path: str) -> None:
    training = made.training(encoder_path, method=Method("adalora", lora_rank=2, total_steps=12), half=torch.float16)
    training._step._scaler._init_scale = 2.0**28  # overflows, later fits
    training.run()
    assert training._step._scaler.get_scale() < 2.0**28
    matrices = [p for n, p in training._model.encoder.backbone.named_parameters() if "lora_E" in n]
    assert sum(int((p != 0).sum()) for p in matrices) == 2 * len(matrices)


def test_adaloras_penalty_by_hand(encoder_path: str) -> None:
    net = made.model(encoder_path, Method("adalora", lora_rank=2, total_steps=12))
    budget = Budget.of(net.encoder.backbone)
    assert budget is not None and Budget.of(made.model(encoder_path).encoder.backbone) is None
    found = []
    for name, p in net.encoder.backbone.named_parameters():
        if "lora_A" in name or "lora_B" in name:
            q = p.detach().numpy() if "lora_A" in name else p.detach().numpy().T
            found.append(np.sqrt(((q @ q.T - np.eye(len(q))) ** 2).sum()))
    assert float(budget.penalty()) == pytest.approx(0.1 * float(np.mean(found)), rel=1e-5)


# Attacks


def attacked(encoder_path: str, attack: Attack) -> tuple[Any, Any, Tensor, Tensor, Callable[[], Tensor]]:
    net = made.model(encoder_path, Method("full")).eval()
    with torch.no_grad():
        draw = torch.Generator().manual_seed(4)
        for _, p in net.trainable():
            p.add_(0.1 * torch.randn(p.shape, generator=draw))
    rows = made.learnable(6, 3)
    perturbed = Perturbation(net)

    def loss() -> Tensor:
        found = row_losses(net(*(rows[n] for n in net.inputs)), rows["label_counts"], rows["label_value"])
        return (found.category + found.value).sum()

    with perturbed.watched():
        delta = worst(loss, perturbed, rows["mask"], attack)
        embedded = net.encoder.backbone.get_input_embeddings()(rows["tokens"]) * rows["mask"].unsqueeze(-1)
    return net, perturbed, delta, embedded, loss


@pytest.mark.parametrize("attack", [Attack("fgm", 0.1), Attack("fgm", 0.5), Attack("pgd", 0.1, 3), Attack("pgd", 0.5, 5)])
def test_an_attack_stays_in_its_ball_and_raises_the_loss(encoder_path: str, attack: Attack) -> None:
    _, perturbed, delta, embedded, loss = attacked(encoder_path, attack)
    rows = made.learnable(6, 3)
    assert float(delta[rows["mask"] == 0].abs().sum()) == 0.0
    radius = attack.epsilon * embedded.flatten(1).norm(dim=1)
    size = delta.flatten(1).norm(dim=1)
    assert bool((size <= radius * (1 + 1e-4)).all())
    if attack.kind == "fgm":
        torch.testing.assert_close(size, radius, rtol=1e-4, atol=0.0)
    with torch.no_grad(), perturbed.watched():
        along = []
        for share in (0.0, 0.25, 0.5, 1.0):
            perturbed.delta = share * delta
            along.append(float(loss()))
    assert along[1] > along[0] and along[-1] > along[0]
    if attack.epsilon <= 0.1:
        assert along == sorted(along)


def test_pgd_finds_at_least_what_fgm_finds(encoder_path: str) -> None:
    losses = {}
    for attack in (Attack("fgm", 0.5), Attack("pgd", 0.5, 10)):
        _, perturbed, delta, _, loss = attacked(encoder_path, attack)
        with torch.no_grad(), perturbed.watched():
            perturbed.delta = delta
            losses[attack.kind] = float(loss())
    assert losses["pgd"] >= losses["fgm"] - 1e-3


def test_fgm_by_hand(encoder_path: str) -> None:
    """r = ε·‖e‖·g/‖g‖ with g from the embedding layer's own output."""
    net, _, delta, _, loss = attacked(encoder_path, Attack("fgm", 0.2))
    caught: list[Tensor] = []

    def catch(_: Any, __: Any, output: Tensor) -> None:
        output.retain_grad()
        caught.append(output)

    handle = net.encoder.backbone.get_input_embeddings().register_forward_hook(catch)
    loss().backward()
    handle.remove()
    rows = made.learnable(6, 3)
    seen = rows["mask"].unsqueeze(-1)
    e, g = caught[0].detach() * seen, caught[0].grad * seen  # type: ignore[operator]
    expected = 0.2 * e.flatten(1).norm(dim=1).view(-1, 1, 1) * g / g.flatten(1).norm(dim=1).view(-1, 1, 1)
    torch.testing.assert_close(delta, expected, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("kind", ["fgm", "pgd"])
def test_training_under_attack_keeps_the_clean_loss_and_withstands_more(encoder_path: str, kind: str) -> None:
    common: dict[str, Any] = {"method": Method("full"), "epochs": 10, "head_learning_rate": 2e-2, "adversarial_epsilon": 0.5}
    plain = still(encoder_path, attack_report=True, **common).run().metrics
    hard = still(encoder_path, attack_report=True, adversarial=kind, **common).run().metrics
    assert hard["best_loss"] < hard["start_loss"]
    assert hard["clean_loss"] < plain["clean_loss"] * 1.15  # clean quality within a bound
    for attack in ("fgm", "pgd"):
        assert plain[f"{attack}_loss"] > plain["clean_loss"] and hard[f"{attack}_loss"] > hard["clean_loss"]
        assert hard[f"{attack}_loss"] - hard["clean_loss"] < plain[f"{attack}_loss"] - plain["clean_loss"]
    assert 0.0 <= hard["fgm_value_accuracy"] <= 1.0 and hard["clean_category_accuracy"] > 0.0


def test_accuracies_under_attack_by_hand(encoder_path: str) -> None:
    net = made.model(encoder_path)
    losses: Any = lambda o, b: row_losses(o, b["label_counts"], b["label_value"]).value  # noqa: E731
    with made.validation() as batches:
        found = under_attack(net, batches, alone(), losses, Attack("fgm", 1e-6))
    with made.validation() as batches:
        rows = list(batches)
    right = came = hit = 0
    for row in rows:
        outputs = tiny.predict(net, row)
        right += int((outputs.value_logits.argmax(1) == row["label_value"]).sum())
        for i, counts in enumerate(row["label_counts"]):
            came += int(counts.sum() > 0)
            hit += int(counts[outputs.category_logits[i].argmax()] > 0)
    assert found["value_accuracy"] == found["attacked_value_accuracy"] == right / 24
    assert found["category_accuracy"] == hit / came
    assert all(p.grad is None for p in net.parameters())


# What goes wrong


def test_a_batch_that_is_not_finite_is_named(encoder_path: str) -> None:
    @contextmanager
    def poisoned(epoch: int, skip: int) -> Iterator[Iterator[made.Batch]]:
        def batches() -> Iterator[made.Batch]:
            for place in range(skip, made.STEPS):
                batch = made.learnable(made.BATCH, place)
                if (epoch, place) == (1, 2):
                    batch["cells"][[1, 5], 0, 0] = math.inf
                yield batch

        yield batches()

    with pytest.raises(
        ModelError, match=r"step 9, batch 2 of epoch 1 on rank 0 \(loss nan; not finite are cells in rows \[1, 5\] of 8"
    ):
        made.training(encoder_path, train=poisoned).run()


def test_a_diverging_float16_training_stops(encoder_path: str) -> None:
    training = still(encoder_path, half=torch.float16, epochs=20, adversarial_epsilon=0.1)
    training._step._scaler._init_scale = 1.0
    with torch.no_grad():
        next(p for n, p in training._model.trainable() if "heads.value.logit.weight" in n).fill_(math.nan)
    training._validate = lambda: None  # the first pass would say so before the first step
    with pytest.raises(ModelError, match=r"not finite at step 1.*the batch itself is finite.*lower training.learning_rate"):
        training.run()


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("[enforce fail] can't allocate memory")]
)
def test_running_out_of_memory_says_what_may_fit(encoder_path: str, monkeypatch: pytest.MonkeyPatch, error: RuntimeError) -> None:
    kept = step_module.forward_sums

    def tight(net: Any, model: Any, batch: Any, *rest: Any) -> Any:
        if len(batch["label_value"]) > 2:
            raise error
        return kept(net, model, batch, *rest)

    monkeypatch.setattr(step_module, "forward_sums", tight)
    with pytest.raises(
        OutOfMemory, match=r"out of memory at step 1 with 8 examples per pass.*lower training.micro_batch"
    ) as caught:
        still(encoder_path).run()
    assert caught.value.tried == 8
    parts = still(encoder_path, micro_batch=2, **PLAIN).run().weights
    monkeypatch.undo()
    assert_near(parts, still(encoder_path, **PLAIN).run().weights)


def test_another_error_stays_what_it_is(encoder_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(step_module, "forward_sums", broken)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        still(encoder_path).run()
