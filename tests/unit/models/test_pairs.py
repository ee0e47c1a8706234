"""The pair network's inputs against plain Python, EASE against its definition, and the fit against planted behaviour."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from equipoise.errors import ModelError
from equipoise.models.fit_pairs import (
    PairOptions,
    _add,
    _follows,
    _losses,
    counted_state,
    ease,
    fit_pairs,
    freshen,
    start_counted,
)
from equipoise.models.follow import Sums
from equipoise.models.heads import Heads
from equipoise.models.pairs import PAIR_INPUTS, PairNet
from equipoise.tables.packing import CELL_VALUES
from tests.unit.models import tiny

OPTIONS = PairOptions(seed=1, pair_steps=120, pair_batch=32, pair_learning_rate=6e-3, visit_weight=0.1)
Batch = dict[str, torch.Tensor]


def slow_inputs(cell: dict[str, float], trend: list[float], mean_lines: float) -> dict[str, float]:
    """One pair's inputs but the neighbours, value by value."""
    days, never = cell["days"], cell["days"] == 0
    gap = (cell["first_days"] - cell["recency_days"]) / (days - 1) if days > 1 else 400.0
    recency = 400.0 if never else min(cell["recency_days"], 400.0)
    logs = {name: math.log(1 + value) for name, value in cell.items()}
    return logs | {
        "recency_days": math.log(1 + recency),
        "share": math.log(1 + cell["lines"]) - mean_lines,
        "gap": math.log(1 + gap),
        "recency_over_gap": math.log(1 + min(recency / max(gap, 1.0), 50.0)),
        "never": float(never),
        "visitors_share": math.log(trend[0] + 1e-4),
        "visitors_share_before": math.log((trend[0] + 1e-3) / (trend[1] + 1e-3)),
        "entry_rate": math.log(trend[2] + 1e-4),
    }


def test_inputs_against_plain_python() -> None:
    rows = tiny.batch(30)
    net = PairNet(tiny.CATEGORIES, tiny.FEATURES)
    found = net.inputs(rows["cells"], rows["trends"]).double().numpy()
    assert found.shape == (30, tiny.CATEGORIES, len(PAIR_INPUTS))
    for u in range(30):
        cells = [dict(zip(CELL_VALUES, c, strict=True)) for c in rows["cells"][u].double().tolist()]
        mean = sum(math.log(1 + c["lines"]) for c in cells) / len(cells)
        for c, cell in enumerate(cells):
            wanted = slow_inputs(cell, rows["trends"][u, c].double().tolist(), mean)
            for name, value in wanted.items():
                assert found[u, c, PAIR_INPUTS.index(name)] == pytest.approx(value, abs=2e-5), (u, c, name)


def test_ease_predicts_each_column_from_the_others_by_ridge() -> None:
    """Column j of the weights is the ridge regression of column j on the others (Steck 2019, §3)."""
    x = np.random.default_rng(3).poisson(1.0, (200, 6)).astype(float)
    weights = ease(torch.tensor(x.T @ x), 12.0).numpy()
    for j in range(6):
        others = [k for k in range(6) if k != j]
        by_ridge = Ridge(alpha=12.0, fit_intercept=False, solver="cholesky").fit(x[:, others], x[:, j]).coef_
        np.testing.assert_allclose(weights[others, j], by_ridge, rtol=1e-5)
        assert weights[j, j] == 0.0


def world(rows: int, seed: int) -> Batch:
    """Users who come back to a category when they were there lately, whatever their decayed weights say."""
    made = tiny.batch(rows, seed)
    at = CELL_VALUES.index("recency_days")
    recency, visited = made["cells"][..., at], made["cells"][..., CELL_VALUES.index("days")] > 0
    draw = torch.Generator().manual_seed(seed + 1)
    chance = torch.where(visited & (recency < 40), 0.9, 0.05)
    came = (torch.rand(rows, tiny.CATEGORIES, generator=draw) < chance).float()
    return {**made, "label_counts": came * torch.randint(1, 5, came.shape, generator=draw)}


def passes(total: int = 320, seed: int = 5) -> Any:
    rows = world(total, seed)

    @contextmanager
    def opened(number: int) -> Iterator[Iterator[Batch]]:
        order = torch.randperm(total, generator=torch.Generator().manual_seed(number))
        yield ({k: v[order[i : i + 32]] for k, v in rows.items()} for i in range(0, total, 32))

    return opened


def check() -> AbstractContextManager[Iterator[Batch]]:
    @contextmanager
    def opened() -> Iterator[Iterator[Batch]]:
        yield iter([world(200, 77), world(56, 78)])

    return opened()


def fresh() -> Heads:
    torch.manual_seed(0)
    return Heads(0, tiny.FEATURES, tiny.POPULATION, dirichlet=3.0, sharpening=1.0)


def test_the_fit_finds_what_the_prior_cannot() -> None:
    heads, said = fresh(), []
    figures = fit_pairs(heads, passes(), check, OPTIONS, said.append).figures
    assert figures["counted_category_loss"] < 0.9 * figures["prior_category_loss"]
    rows = world(400, 99)
    with torch.no_grad():
        _, visit = heads.category.counted(rows["prior"], rows["cells"], rows["trends"], heads.standardised(rows["features"]))
    p, came = visit.sigmoid(), rows["label_counts"] > 0
    assert float(p[came].mean()) > 0.6 and float(p[~came].mean()) < 0.3
    assert said[0].startswith("pairs: 320 examples, validation shares") and "120 of 120 steps" in said[-1]


def test_a_thin_window_counts_in_proportion() -> None:
    """By hand: of windows with 20, 4, 1 and 0 events the mean loss is over weights 1, .4, .1 and 0."""
    heads, rows = fresh(), world(4, 3)
    rows["label_counts"] = torch.zeros_like(rows["label_counts"])
    for row, (place, events) in enumerate(((0, 20.0), (1, 4.0), (2, 1.0))):
        rows["label_counts"][row, place] = events
    share, _, total = _losses(heads, rows)
    said, _ = heads.category.counted(rows["prior"], rows["cells"], rows["trends"], heads.standardised(rows["features"]))
    told = [-float(said[row].log_softmax(-1)[place]) for row, place in enumerate((0, 1, 2))]
    assert total == pytest.approx(1.5)
    assert float(share) == pytest.approx((told[0] + 0.4 * told[1] + 0.1 * told[2]) / 1.5, rel=1e-5)
    rows["label_counts"][:] = 0.0
    assert float(_losses(heads, rows)[0]) == 0.0, "nothing happened to anybody"


def test_the_same_arguments_fit_the_same_numbers() -> None:
    states = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        heads = Heads(0, tiny.FEATURES, tiny.POPULATION, dirichlet=3.0, sharpening=1.0)
        fit_pairs(heads, passes(), check, OPTIONS, str)
        states.append(counted_state(heads))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_what_makes_validation_worse_is_not_kept() -> None:
    wild = PairOptions(seed=1, pair_steps=20, pair_batch=32, pair_learning_rate=50.0, visit_weight=0.1)
    figures = fit_pairs(fresh(), passes(), check, wild, str).figures
    assert figures["counted_loss"] == figures["prior_loss"]


def test_nobodys_own_labels_are_in_what_is_trained_on() -> None:
    heads, rows = fresh(), world(60, 5)
    mine = rows["user_id"][:, -1] % 2 == 0

    def told(labels: torch.Tensor) -> torch.Tensor:
        sums = Sums(tiny.CATEGORIES)
        changed = {**rows, "label_counts": labels}
        _add(sums, heads, changed)
        return _follows(heads, changed, sums.crossed())

    before, shuffled = told(rows["label_counts"]), rows["label_counts"].clone()
    shuffled[mine] = shuffled[mine].roll(1, dims=1) + 3.0
    after = told(shuffled)
    torch.testing.assert_close(after[mine], before[mine], rtol=0, atol=0)
    assert not torch.allclose(after[~mine], before[~mine])


def test_a_start_holds_and_only_the_vector_is_trained(tmp_path_factory: pytest.TempPathFactory) -> None:
    heads = fresh()
    fit_pairs(heads, passes(), check, OPTIONS, str)
    net = tiny.model(tiny.directory(tmp_path_factory.mktemp("encoder")))
    start_counted(net.heads, counted_state(heads))
    rows = world(9, 3)
    with torch.no_grad():
        share, visit = heads.category.counted(rows["prior"], rows["cells"], rows["trends"], heads.standardised(rows["features"]))
    out = tiny.predict(net.eval(), rows)
    torch.testing.assert_close(out.category_logits, share)
    torch.testing.assert_close(out.visit_logits, visit)
    trained = {name for name, _ in net.trainable() if name.startswith("heads.category")}
    assert trained == {"heads.category.out.weight", "heads.category.out.bias"}


def test_a_start_of_another_model_is_refused() -> None:
    with pytest.raises(ModelError, match=r"lack or have too many of .*'population'"):
        start_counted(fresh(), {"sharpening": torch.ones(())})


def test_no_examples_and_values_that_are_not_finite_are_refused() -> None:
    @contextmanager
    def nothing(number: int) -> Iterator[Iterator[Batch]]:
        yield iter([])

    with pytest.raises(ModelError, match="no training examples to fit the pairs on"):
        fit_pairs(fresh(), nothing, check, OPTIONS, str)

    @contextmanager
    def poisoned(number: int) -> Iterator[Iterator[Batch]]:
        rows = world(32, 1)
        rows["trends"][3, 1, 0] = math.nan
        yield iter([rows])

    with pytest.raises(ModelError, match=r"pair features \['visitors_share', 'visitors_share_before', 'follows'\] .* not finite"):
        fit_pairs(fresh(), poisoned, check, OPTIONS, str)


def test_freshening_learns_what_the_latest_cut_alone_shows() -> None:
    """A category that nobody visited in training and everybody does in the latest window."""
    heads = fresh()
    sums = fit_pairs(heads, passes(), check, OPTIONS, str).sums
    rows = world(256, 31)
    rows["label_counts"][:, 4] = 3.0

    @contextmanager
    def latest(number: int) -> Iterator[Iterator[Batch]]:
        yield ({k: v[i : i + 8] for k, v in rows.items()} for i in range(0, 256, 8))

    def chance() -> float:
        with torch.no_grad():
            _, visit = heads.category.counted(rows["prior"], rows["cells"], rows["trends"], heads.standardised(rows["features"]))
        return float(visit[:, 4].sigmoid().mean())

    before = chance()
    assert freshen(heads, sums, latest, OPTIONS, batches=32) == 64
    assert chance() > before + 0.1
