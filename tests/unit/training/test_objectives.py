"""Learnt weights of the losses, task adapters, the balance term, and the kind of a sequence."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from equipoise.models import ModelMeta, Outputs, TowerModel, TowerOptions, load_package, save_package
from equipoise.models.heads import Adapter, Heads, heads_from_state
from equipoise.models.losses import LossWeights, Rows, balance_loss, combined, loss_sums, mean_losses
from equipoise.models.methods import Method
from equipoise.models.tower import behaviour_codes, sequence_kinds
from equipoise.settings.training import Training as Settings
from equipoise.tables.vocabulary import BEHAVIOURS, EVENT_TYPES
from equipoise.training.ranks import alone
from equipoise.training.validation import validate
from equipoise.training.weighting import Uncertainty
from tests.unit.models import tiny
from tests.unit.training import made

BUY, LOOK, REVIEW = (1 + EVENT_TYPES.index(t) for t in ("purchase", "view", "review"))
EXPOSE = 1 + EVENT_TYPES.index("expose")
CODES = torch.tensor(behaviour_codes())
FIXED = LossWeights(1.0, 0.1, 2.0, 0.1, 0.1)


@pytest.fixture(scope="module")
def encoder_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny.directory(tmp_path_factory.mktemp("encoder"))


def _numeric(loss: Any, at: Tensor, step: float = 1e-6) -> Tensor:
    """Central differences of a loss at every entry of `at`, which is moved in place and put back."""
    found = torch.zeros_like(at)
    flat, out = at.detach().view(-1), found.view(-1)
    for i in range(len(flat)):
        kept = float(flat[i])
        flat[i] = kept + step
        up = float(loss())
        flat[i] = kept - step
        out[i] = (up - float(loss())) / (2 * step)
        flat[i] = kept
    return found


# The balance term


def test_the_balance_by_hand() -> None:
    """Shares ¾ and ¼ against an even prediction: ¾ ln 1.5 + ¼ ln ½; an own share that is met costs nothing; no history, none."""
    logits = torch.zeros(3, 2, dtype=torch.float64)
    logits[1] = torch.tensor([math.log(3.0), 0.0])
    prior = torch.tensor([[6.0, 2.0], [9.0, 3.0], [0.0, 0.0]], dtype=torch.float64)
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert balance_loss(logits, prior).tolist() == pytest.approx([expected, 0.0, 0.0], abs=1e-12)


def test_gradients_of_the_balance() -> None:
    draw = torch.Generator().manual_seed(1)
    prior = torch.tensor([[3.0, 0, 1, 0, 2], [0, 0, 0, 0, 0], [0, 0, 5, 0, 0]], dtype=torch.float64)
    logits = torch.randn(3, 5, generator=draw, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: balance_loss(x, prior), logits.requires_grad_(True))


def test_the_balance_is_a_mean_over_users_with_a_history() -> None:
    draw = torch.Generator().manual_seed(2)
    outputs = Outputs(*(torch.randn(4, n, generator=draw) for n in (3, 5, 5, 3)))
    prior = torch.rand(4, 5, generator=draw)
    prior[2] = 0
    counts, value = torch.ones(4, 5), torch.zeros(4, dtype=torch.long)
    sums = loss_sums(outputs, counts, value, prior=prior)
    only = LossWeights(0.0, 0.0, 0.0, 0.0, 0.0, balance_weight=2.0)
    expected = 2.0 * balance_loss(outputs.category_logits, prior)[[0, 1, 3]].mean()
    torch.testing.assert_close(combined(sums, only), expected)
    torch.testing.assert_close(combined(sums, only, Rows(9.0, 9.0, balance=6.0)), expected / 2)


def test_training_with_it_keeps_predictions_nearer_to_the_users_own_shares(encoder_path: str) -> None:
    def balance(weight: float) -> float:
        net = made.model(encoder_path)
        training = made.training(encoder_path, net=net, epochs=4, balance_weight=weight, head_learning_rate=3e-2)
        training._options.__dict__["patience"] = 100
        training.run()
        rows = made.learnable(40, 77)
        return float(balance_loss(tiny.predict(net.eval(), rows).category_logits, rows["prior"]).mean())

    assert balance(3.0) < 0.7 * balance(0.0)


def test_without_a_weight_nothing_is_reported_and_no_weight_moves(encoder_path: str) -> None:
    """To the bit: a balance of weight 0 adds nothing to a gradient."""
    done = made.training(encoder_path).run()
    assert not any("balance" in name or "variance" in name for name in done.metrics)
    net = made.model(encoder_path)
    rows = made.learnable(8, 5)
    losses = []
    for prior in (None, rows["prior"]):
        net.zero_grad()
        torch.manual_seed(3)
        out = tiny.forward(net, rows)
        combined(loss_sums(out, rows["label_counts"], rows["label_value"], prior=prior), FIXED).backward()
        losses.append({n: p.grad.clone() for n, p in net.trainable() if p.grad is not None})
    assert all(torch.equal(losses[0][n], losses[1][n]) for n in losses[0])


# Learnt weights


def test_uncertainty_by_hand(encoder_path: str) -> None:
    """w·f·exp(−s)·L + ½·s; the balance stays at its weight; what the text route lacks has no s."""
    weights = FIXED._replace(balance_weight=0.5)
    learnt = Uncertainty.of(made.model(encoder_path), weights, "squared")
    assert learnt.names == ("category_weight", "visit_weight", "value_weight")
    with torch.no_grad():
        learnt.log_variance.copy_(torch.tensor([0.3, -0.2, 1.0]))
    means = [torch.tensor(x) for x in (2.0, 5.0, 0.7, 0.0, 0.0, 0.4, 0.0)]
    expected = math.exp(-0.3) * 2.0 + 0.15 + 0.1 * math.exp(0.2) * 5.0 - 0.1 + 2.0 * 0.5 * math.exp(-1.0) * 0.7 + 0.5 + 0.5 * 0.4
    assert float(learnt(means, weights, 1.0).detach()) == pytest.approx(expected)
    half = expected - 0.5 * 0.5 * (0.3 - 0.2 + 1.0)
    assert float(learnt(means, weights, 0.5).detach()) == pytest.approx(half)
    figures = learnt.figures()
    assert figures["visit_log_variance"] == pytest.approx(-0.2)
    assert figures["value_learnt_factor"] == pytest.approx(0.5 * math.exp(-1.0))


def test_it_begins_as_the_fixed_weights(encoder_path: str) -> None:
    rows = made.learnable(8, 5)
    sums = loss_sums(tiny.predict(made.model(encoder_path), rows), rows["label_counts"], rows["label_value"])
    learnt = Uncertainty.of(made.model(encoder_path), FIXED, "cross_entropy")
    torch.testing.assert_close(learnt(mean_losses(sums), FIXED, 1.0), combined(sums, FIXED))


@pytest.mark.parametrize("value_loss", ["cross_entropy", "squared"])
def test_gradients_of_the_learnt_weights(encoder_path: str, value_loss: Any) -> None:
    learnt = Uncertainty.of(tiny.tower(encoder_path), FIXED, value_loss).double()
    assert len(learnt.names) == 5
    draw = torch.Generator().manual_seed(4)
    with torch.no_grad():
        learnt.log_variance.copy_(torch.randn(5, generator=draw, dtype=torch.float64))
    means = torch.rand(7, generator=draw, dtype=torch.float64, requires_grad=True)

    def loss() -> Tensor:
        found: Tensor = learnt(means.unbind(), FIXED, 0.7)
        return found

    loss().backward()
    for at in (learnt.log_variance, means):
        assert at.grad is not None
        torch.testing.assert_close(at.grad, _numeric(loss, at), atol=1e-7, rtol=1e-6)


def test_where_the_losses_stand_still_it_ends_where_the_formula_says(encoder_path: str) -> None:
    learnt = Uncertainty.of(made.model(encoder_path), FIXED, "cross_entropy")
    means = [torch.tensor(x) for x in (2.0, 5.0, 0.7, 0.0, 0.0, 0.0, 0.0)]
    optimiser = torch.optim.SGD(learnt.parameters(), lr=0.5)
    for _ in range(200):
        optimiser.zero_grad()
        learnt(means, FIXED, 1.0).backward()
        optimiser.step()
    expected = [math.log(2 * w * float(m)) for w, m in zip(FIXED, means[:3], strict=False)]
    assert learnt.log_variance.tolist() == pytest.approx(expected, abs=1e-4)


def test_learnt_weights_move_are_told_and_not_published(encoder_path: str) -> None:
    done = made.training(encoder_path, weighting="uncertainty", epochs=3).run()
    moved = {n: v for n, v in done.metrics.items() if n.endswith("_log_variance")}
    assert set(moved) == {"category_log_variance", "visit_log_variance", "value_log_variance"}
    assert all(v != 0 for v in moved.values())
    assert set(done.weights) == {n for n, _ in made.model(encoder_path).trainable()}


def test_a_step_in_parts_is_the_step_with_all_of_it(encoder_path: str) -> None:
    """Text route and tower: adapters, balance, learnt weights, and the kinds of sequences, whose number differs by part."""
    plain: dict[str, Any] = {"optimiser": "sgd", "learning_rate": 0.02, "head_learning_rate": 0.02, "epochs": 1}
    plain |= {"weighting": "uncertainty", "balance_weight": 0.5, "next_item_weight": 0.0, "behaviour_weight": 0.0}
    for route in ("text", "tower"):
        found = []
        for size in (0, 1, 3):
            quiet = Method(lora_rank=2, lora_dropout=0.0)
            net: Any = made.model(encoder_path, quiet, adapter_width=3)
            net = net if route == "text" else tiny.tower(encoder_path, kinds=True, adapter_width=3)
            net.heads.value.dropout.p = 0.0
            for module in net.modules():
                if isinstance(module, torch.nn.Dropout):
                    module.p = 0.0
            done = made.training(encoder_path, net=net, micro_batch=size, sequence_behaviour_weight=0.3, **plain).run()
            found.append((done, {n: p.detach().clone() for n, p in net.trainable()}))
        for done, weights in found[1:]:
            assert done.learnt == pytest.approx(found[0][0].learnt, rel=1e-4, abs=1e-6)
            for name, tensor in weights.items():
                torch.testing.assert_close(tensor, found[0][1][name], atol=1e-5, rtol=1e-3, msg=f"{route} {name}")


def test_the_rows_of_a_step_are_counted_by_kind(encoder_path: str) -> None:
    """By a loop over the users: with a label window, at all, with a history, and with a kind to tell."""
    net = tiny.tower(encoder_path, kinds=True)
    batch = tiny.batch(12)
    batch["prior"][:5] = 0
    found = made.training(encoder_path, net=net)._step._rows(batch)
    kinds = 0
    for row in batch["types"].tolist():
        events = [t for t in row if t]
        kinds += any(CODES[t] >= 0 for t in events[(len(events) + 1) // 2 :])
    assert 0 < kinds < 12
    assert found == Rows(8.0, 12.0, balance=7.0, sequence=float(kinds))
    assert made.training(encoder_path, net=tiny.tower(encoder_path))._step._rows(batch).sequence == 0.0


# Task adapters


def test_an_untrained_adapter_changes_nothing_to_the_bit(encoder_path: str) -> None:
    rows = made.learnable(8, 5)
    plain, adapted = (made.model(encoder_path, adapter_width=w).eval() for w in (0, 4))
    with torch.no_grad():
        for net in (plain, adapted):
            net.heads.category.out.weight.copy_(
                torch.linspace(-1, 1, net.heads.category.out.weight.numel()).view_as(net.heads.category.out.weight)
            )
            net.heads.value.out.weight.copy_(
                torch.linspace(-1, 1, net.heads.value.out.weight.numel()).view_as(net.heads.value.out.weight)
            )
    for one, two in zip(tiny.predict(plain, rows)[:4], tiny.predict(adapted, rows)[:4], strict=True):
        assert torch.equal(one, two)
    assert {n for n, _ in adapted.named_parameters()} > {n for n, _ in plain.named_parameters()}
    for name, parameter in plain.named_parameters():
        assert torch.equal(parameter, dict(adapted.named_parameters())[name]), name


def test_gradients_of_an_adapter() -> None:
    adapter = Adapter(4, 3).double()
    draw = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for p in adapter.parameters():
            p.copy_(torch.randn(p.shape, generator=draw, dtype=torch.float64))
    x = torch.randn(5, 4, generator=draw, dtype=torch.float64)

    def loss() -> Tensor:
        found: Tensor = adapter(x).square().sum()
        return found

    loss().backward()
    for p in adapter.parameters():
        assert p.grad is not None
        torch.testing.assert_close(p.grad, _numeric(loss, p), atol=1e-5, rtol=1e-6)


def test_adapters_learn_beside_what_is_counted(encoder_path: str) -> None:
    net = made.model(encoder_path, adapter_width=4)
    net.heads.category.hold()
    before = {n: p.detach().clone() for n, p in net.named_parameters()}
    made.training(encoder_path, net=net, epochs=2).run()
    moved = {n for n, p in net.named_parameters() if not torch.equal(p, before[n])}
    assert {f"heads.{h}.adapter.{part}.weight" for h in ("category", "value") for part in ("down", "up")} <= moved
    assert not any("pairs" in n or "log_dirichlet" in n for n in moved)


def test_a_resumed_training_of_adapters_and_kinds_equals_an_uninterrupted_one(encoder_path: str, tmp_path: Path) -> None:
    def fresh() -> TowerModel:
        return tiny.tower(encoder_path, dropout=0.1, kinds=True, adapter_width=3)

    options: dict[str, Any] = {"weighting": "uncertainty", "sequence_behaviour_weight": 0.2, "balance_weight": 0.1}
    whole = made.training(encoder_path, net=fresh(), **options).run()

    with pytest.raises(KeyboardInterrupt):
        made.training(encoder_path, net=fresh(), folder=tmp_path, train=made.dying, checkpoint_every=2, **options).run()
    resumed = made.training(encoder_path, net=fresh(), folder=tmp_path, checkpoint_every=2, **options).run()
    assert resumed.progress.history == whole.progress.history
    assert resumed.learnt == whole.learnt
    assert all(torch.equal(whole.weights[n], resumed.weights[n]) for n in whole.weights)


def test_a_published_model_keeps_adapters_and_kinds(encoder_path: str, tmp_path: Path) -> None:
    net = tiny.tower(encoder_path, kinds=True, adapter_width=3)
    draw = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for _, p in net.trainable():
            p.add_(0.1 * torch.randn(p.shape, generator=draw))
    meta = ModelMeta(
        model_id="x",
        categories=[str(i) for i in range(tiny.CATEGORIES)],
        max_tokens=8,
        max_item_tokens=8,
        class_mean_spend=(0.0, 1.0, 2.0),
        has_amounts=True,
        feature_names=[str(i) for i in range(tiny.FEATURES)],
        pooling="mean",
        route="tower",
        tower=vars(net.tower.options),
        pretraining={"kind": "both", "step": 3},
    )
    save_package(tmp_path / "model", net, tokenizer_path=encoder_path, meta=meta, card="# x\n")
    loaded = load_package(tmp_path / "model")
    rows = made.learnable(8, 5)
    one, two = tiny.predict(net.eval(), rows), tiny.predict(loaded.model, rows)
    for mine, theirs in zip(one[:4], two[:4], strict=True):
        assert torch.equal(mine, theirs)
    assert torch.equal(one.sequence.whole.loss, two.sequence.whole.loss)
    assert loaded.meta.pretraining == {"kind": "both", "step": 3}


def test_heads_without_adapters_are_restored_without() -> None:
    heads = Heads(4, 3, [0.5, 0.5], dirichlet=1.0, sharpening=1.0)
    assert heads_from_state(heads.state_dict()).category.adapter is None
    adapted = Heads(4, 3, [0.5, 0.5], dirichlet=1.0, sharpening=1.0, adapter_width=7)
    again = heads_from_state(adapted.state_dict())
    assert again.value.adapter is not None and again.value.adapter.down.out_features == 7


# The kind of a sequence


def test_the_kind_of_a_sequence_by_hand() -> None:
    """Place of the last event of the first half, and what most of the second half is; buy before look before review in a tie."""
    rows = {
        (BUY, BUY, LOOK, LOOK): (1, "look"),
        (BUY, LOOK, REVIEW, LOOK, BUY): (2, "buy"),  # a tie of look and buy
        (LOOK, REVIEW): (0, "review"),
        (BUY, LOOK, LOOK, EXPOSE, EXPOSE, REVIEW): (2, "review"),  # what the shop does is of no kind
        (BUY, LOOK, EXPOSE): (1, None),
        (BUY,): (0, None),
        (): (0, None),
    }
    types = torch.zeros(len(rows), 6, dtype=torch.long)
    for i, row in enumerate(rows):
        types[i, : len(row)] = torch.tensor(row, dtype=torch.long)
    place, label = sequence_kinds(types, CODES)
    assert place.tolist() == [p for p, _ in rows.values()]
    assert label.tolist() == [-1 if k is None else list(BEHAVIOURS).index(k) for _, k in rows.values()]


def test_padding_and_later_events_are_out_of_its_loss(encoder_path: str) -> None:
    """More padding changes nothing; nor do the items of the second half, which the answer may not see."""
    net = tiny.tower(encoder_path, kinds=True).eval()
    draw = torch.Generator().manual_seed(3)
    assert net.tower.kind is not None
    with torch.no_grad():
        for p in net.tower.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=draw))
    items = torch.tensor([[3, 4, 5, 6, 0, 0]])
    types = torch.tensor([[BUY, LOOK, LOOK, BUY, 0, 0]])
    ages = torch.tensor([[40.0, 30.0, 9.0, 2.0, 0.0, 0.0]])

    def loss(i: Tensor, t: Tensor, a: Tensor) -> Tensor:
        with torch.no_grad():
            found = net.tower.sums(net.tower(net.table(i), t, a), i, t, net.table).whole
        assert found is not None and float(found.rows) == 1
        return found.loss

    whole = loss(items, types, ages)
    torch.testing.assert_close(loss(items[:, :4], types[:, :4], ages[:, :4]), whole)
    later = items.clone()
    later[0, 2:4] = torch.tensor([7, 8])
    assert torch.equal(loss(later, types, ages), whole)
    first = items.clone()
    first[0, 0] = 9
    assert not torch.allclose(loss(first, types, ages), whole)


def test_gradients_of_the_kind(encoder_path: str) -> None:
    net = tiny.tower(encoder_path, kinds=True).double()
    net.table._vectors = net.table._vectors.double()
    rows = {n: t.double() if t.is_floating_point() else t for n, t in tiny.batch(6).items()}
    assert net.tower.kind is not None
    with torch.no_grad():
        net.tower.kind.weight.add_(0.3 * torch.randn(net.tower.kind.weight.shape, generator=torch.Generator().manual_seed(2)))

    def loss() -> Tensor:
        found = net.tower(net.table(rows["items"]), rows["types"], rows["ages"])
        whole = net.tower.sums(found, rows["items"], rows["types"], net.table).whole
        assert whole is not None
        return whole.loss

    loss().backward()
    for p in (net.tower.kind.weight, net.tower.kind.bias, net.tower.of_type.weight):
        assert p.grad is not None and float(p.grad.abs().max()) > 0
        torch.testing.assert_close(p.grad, _numeric(loss, p), atol=1e-6, rtol=1e-4)


def test_a_planted_kind_is_learnt_and_reported(encoder_path: str) -> None:
    """Who begins with reviews goes on reviewing, who begins with looks buys."""

    def rows(number: int, seed: int) -> made.Batch:
        batch = made.learnable(number, seed)
        reviews = torch.rand(number, 1, generator=torch.Generator().manual_seed(seed)) < 0.5
        batch["types"] = torch.where(reviews, REVIEW, torch.tensor([LOOK, LOOK, LOOK, BUY, BUY, BUY]))
        batch["items"] = batch["items"].clamp(min=1)
        batch["ages"] = torch.arange(6, 0, -1).float().expand(number, -1).clone()
        return batch

    @contextmanager
    def epoch(number: int, skip: int) -> Iterator[Iterator[made.Batch]]:
        yield (rows(made.BATCH, 100 * number + p) for p in range(skip, made.STEPS))

    @contextmanager
    def check() -> Iterator[Iterator[made.Batch]]:
        yield iter([rows(40, 9000)])

    net = tiny.tower(encoder_path, kinds=True)
    training = made.training(
        encoder_path, net=net, train=epoch, check=check, sequence_behaviour_weight=1.0, epochs=6, learning_rate=2e-2
    )
    done = training.run()
    start, best = done.progress.history[0], done.progress.history[-1]
    assert start["sequence_behaviour_loss"] == pytest.approx(math.log(3))
    assert best["sequence_behaviour_loss"] < 0.2 < best["sequence_behaviour_base_loss"] == pytest.approx(math.log(2), abs=0.05)
    assert best["sequence_behaviour_rows"] == 40
    assert best["sequence_behaviour_buy_f1"] == best["sequence_behaviour_review_f1"] == 1.0
    assert best["sequence_behaviour_look_recall"] == 0.0


def test_a_tower_that_does_not_learn_it_says_nothing_of_it(encoder_path: str) -> None:
    net = tiny.tower(encoder_path)
    found = validate(net, [tiny.batch(6)], alone(), FIXED)
    assert net.tower.kind is None and not any("sequence" in name for name in found)
    assert TowerOptions("gru", 4, 1, 1, 0.0, 5).kinds is False


# Settings


def test_everything_is_off_by_default() -> None:
    s = Settings()
    assert (s.pretraining, s.weighting, s.task_adapter_width, s.balance_weight, s.sequence_behaviour_weight) == (
        "none",
        "fixed",
        0,
        0,
        0,
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"pretraining": "words"},
        {"weighting": "learnt"},
        {"task_adapter_width": -1},
        {"balance_weight": -0.1},
        {"pretraining_mask_share": 0.0},
        {"pretraining_mask_share": 1.0},
        {"pretraining_temperature": 0.0},
        {"pretraining_pull": -1.0},
        {"pretraining_days": 32},
        {"pretraining_steps": 0},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings(**wrong)
