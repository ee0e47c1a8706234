from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from equipoise.errors import ModelError
from equipoise.models import expected_spend
from equipoise.models.heads import CategoryHead, Heads, Outputs, heads_from_state, signed_log1p
from equipoise.models.losses import LossWeights, combined, loss_sums
from equipoise.models.statistics import RIDGE, Prior, fit_logit, fit_prior, fit_statistics, start_heads
from tests.unit.models import tiny


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("dirichlet", [0.5, 5.0, 80.0])
@pytest.mark.parametrize("sharpening", [0.7, 1.0, 1.4])
def test_an_untrained_model_is_the_smoothed_decayed_average(tmp_path: Path, dirichlet: float, sharpening: float) -> None:
    net = tiny.model(tiny.directory(tmp_path), dirichlet=dirichlet, sharpening=sharpening).eval()
    rows = tiny.batch(10)
    rows["prior"][0] = 0  # nobody knows this user: the population's shares
    shares = tiny.predict(net, rows).category_logits.softmax(dim=-1).numpy()
    weights = rows["prior"].double().numpy()
    expected = ((weights + dirichlet * np.array(tiny.POPULATION)) / (weights.sum(1, keepdims=True) + dirichlet)) ** sharpening
    np.testing.assert_allclose(shares, expected / expected.sum(1, keepdims=True), rtol=2e-6)


def test_an_untrained_value_head_is_the_logit_of_scikit_learn(tmp_path: Path) -> None:
    rows = tiny.batch(400)
    noise = torch.randn(400, 2, generator=torch.Generator().manual_seed(8)) * 200
    rows["label_value"] = (rows["features"][:, :2] > noise).long().sum(dim=1)
    statistics = fit_statistics([{k: v[:150] for k, v in rows.items()}, {k: v[150:] for k, v in rows.items()}])
    net = tiny.model(tiny.directory(tmp_path)).eval()
    start_heads(net.heads, statistics)
    x = np.sign(rows["features"].numpy()) * np.log1p(np.abs(rows["features"].numpy()))
    z = (x - x.mean(0)) / x.std(0)
    other = LogisticRegression(C=1 / (2 * RIDGE * 400), tol=1e-10, max_iter=5000).fit(z, rows["label_value"].numpy())
    ours = softmax(tiny.predict(net, rows).value_logits.numpy())
    np.testing.assert_allclose(ours, other.predict_proba(z), atol=2e-3)  # theirs leaves the intercept without a penalty
    assert statistics.rows == 400


def test_statistics_by_hand() -> None:
    rows = {
        "features": torch.tensor([[0.0, 7.0], [np.e - 1, 7.0], [-(np.e - 1), 7.0], [0.0, 7.0]]),
        "label_value": torch.tensor([0, 2, 2, 2]),
        "label_spend": torch.tensor([0.0, 10.0, 20.0, 60.0], dtype=torch.float64),
    }
    found = fit_statistics([rows])
    np.testing.assert_allclose(found.feature_mean, [0.0, np.log(8)], atol=1e-7)
    np.testing.assert_allclose(found.feature_std, [np.sqrt(0.5), 1.0], atol=1e-7)  # a constant is divided by 1
    assert found.class_mean_spend == [0.0, 0.0, 30.0]
    assert found.class_rows == [1, 0, 3]


def test_a_class_without_rows_gets_almost_no_probability() -> None:
    x = torch.randn(300, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weight, bias = fit_logit(x, (x[:, 0] > 0).long() * 2)
    p = (x @ weight.T + bias).softmax(dim=1)
    assert float(p[:, 1].max()) < 0.1
    assert bool(weight.isfinite().all())


def test_statistics_refuse_what_is_not_finite() -> None:
    rows = tiny.batch(5)
    rows["features"][3, 1] = torch.nan
    with pytest.raises(ModelError, match="1 of 5 training examples"):
        fit_statistics([rows])
    with pytest.raises(ModelError, match="no training examples"):
        fit_statistics([])


def windows(prior: Prior, users: int, seed: int) -> dict[str, torch.Tensor]:
    """Users whose windows are drawn from the very prior of their histories; every tenth window is empty."""
    rng = np.random.default_rng(seed)
    population = np.array(tiny.POPULATION)
    weights = rng.poisson(rng.gamma(0.4, 12.0, (users, len(population)))).astype(float)
    p = (weights + prior.dirichlet * population) ** prior.sharpening
    counts = np.stack([rng.multinomial(0 if i % 10 == 0 else 40, q / q.sum()) for i, q in enumerate(p)])
    return {"prior": torch.tensor(weights).float(), "label_counts": torch.tensor(counts).float()}


@pytest.mark.parametrize("true", [Prior(3.0, 1.0), Prior(30.0, 0.7), Prior(8.0, 1.4)])
def test_the_prior_is_found_again_in_windows_drawn_from_it(true: Prior) -> None:
    rows = windows(true, 4000, seed=3)
    batches = [{k: v[:900] for k, v in rows.items()}, {k: v[900:] for k, v in rows.items()}]
    found = fit_prior(batches, tiny.POPULATION, Prior(5.0, 1.0))
    assert found.dirichlet == pytest.approx(true.dirichlet, rel=0.15)
    assert found.sharpening == pytest.approx(true.sharpening, rel=0.05)


def test_the_fitted_prior_is_no_worse_than_any_on_a_grid(tmp_path: Path) -> None:
    rows, path = windows(Prior(12.0, 0.9), 800, seed=4), tiny.directory(tmp_path)
    features = {**tiny.batch(800), **rows}

    def loss(prior: Prior) -> float:
        net = tiny.model(path, dirichlet=prior.dirichlet, sharpening=prior.sharpening).eval()
        out = tiny.predict(net, features)
        sums = loss_sums(out, rows["label_counts"], features["label_value"])
        return float(sums.category / sums.category_rows)

    best = loss(fit_prior([rows], tiny.POPULATION, Prior(5.0, 1.0)))
    assert best <= min(loss(Prior(a, s)) for a in (3.0, 8.0, 12.0, 20.0, 60.0) for s in (0.7, 0.9, 1.0, 1.2)) + 1e-5


def test_windows_without_an_event_leave_the_prior_where_it_was() -> None:
    rows = windows(Prior(3.0, 1.0), 20, seed=5)
    rows["label_counts"].zero_()
    assert fit_prior([rows], tiny.POPULATION, Prior(7.0, 1.1)) == Prior(7.0, 1.1)


def test_a_history_that_is_not_finite_is_refused() -> None:
    rows = windows(Prior(3.0, 1.0), 20, seed=6)
    rows["prior"][3, 0] = torch.nan
    with pytest.raises(ModelError, match="not finite"):
        fit_prior([rows], tiny.POPULATION, Prior(5.0, 1.0))


def test_signed_log1p() -> None:
    np.testing.assert_allclose(signed_log1p(torch.tensor([-9.0, 0.0, 99.0])), [-np.log(10), 0, np.log(100)], rtol=1e-6)


def test_heads_come_back_from_their_state() -> None:
    heads = Heads(16, tiny.FEATURES, tiny.POPULATION, dirichlet=3.0, sharpening=1.2, hidden=9)
    with torch.no_grad():
        for p in heads.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(2)))
    back = heads_from_state(heads.state_dict())
    assert back.gain == heads.gain
    for (name, a), (other, b) in zip(heads.state_dict().items(), back.state_dict().items(), strict=True):
        assert name == other
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_zero_population_shares_are_refused() -> None:
    with pytest.raises(ValueError, match="must all be positive"):
        CategoryHead(4, 2, [0.5, 0.5, 0.0], dirichlet=1.0, sharpening=1.0)


def test_losses_against_a_plain_loop() -> None:
    rows = tiny.batch(20)
    draw = torch.Generator().manual_seed(9)
    logits, visits = (torch.randn(20, tiny.CATEGORIES, generator=draw) for _ in range(2))
    values = torch.randn(20, 3, generator=draw)
    rows["prior"][4] = 0
    sums = loss_sums(Outputs(values, logits, visits, values), rows["label_counts"], rows["label_value"], prior=rows["prior"])
    category = entropy = visit = value = squared = balance = 0.0
    known = 0
    for i in range(20):
        q = rows["label_counts"][i].double().numpy()
        p_visit = 1 / (1 + np.exp(-visits[i].double().numpy()))
        visit -= float(np.where(q > 0, np.log(p_visit), np.log(1 - p_visit)).sum())
        value -= np.log(softmax(values[i].double().numpy())[int(rows["label_value"][i])])
        squared += (softmax(values[i].double().numpy()) @ np.arange(3) - int(rows["label_value"][i])) ** 2
        own = rows["prior"][i].double().numpy() / max(1e-9, float(rows["prior"][i].sum()))
        balance += float((own * np.log(np.where(own > 0, own, 1.0) / softmax(logits[i].double().numpy()))).sum())
        if q.sum() == 0:
            continue
        q, p, known = q / q.sum(), softmax(logits[i].double().numpy()), known + 1
        category -= float((q * np.log(p)).sum())
        entropy -= float((q[q > 0] * np.log(q[q > 0])).sum())
    expected = [category, entropy, known, visit, value, squared, 20, 0, 0, 0, 0, balance, 19, 0, 0]
    np.testing.assert_allclose([float(s) for s in sums], expected, rtol=1e-5)
    np.testing.assert_allclose(
        float(combined(sums, LossWeights(2.0, 0.1, 0.5, 1.0, 1.0))),
        2.0 * category / known + 0.1 * visit / 20 + 0.5 * value / 20,
        rtol=1e-5,
    )


def test_a_batch_of_empty_windows_trains_the_value_alone() -> None:
    rows = tiny.batch(4)
    logits = torch.zeros(4, tiny.CATEGORIES, requires_grad=True)
    outputs = Outputs(logits, logits, torch.full((4, tiny.CATEGORIES), -20.0), torch.zeros(4, 3))
    loss = combined(
        loss_sums(outputs, torch.zeros(4, tiny.CATEGORIES), rows["label_value"]), LossWeights(1.0, 1.0, 1.0, 1.0, 1.0)
    )
    loss.backward()  # type: ignore[no-untyped-call]
    np.testing.assert_allclose(float(loss.detach()), np.log(3), rtol=1e-6)  # and the visits are as good as certain
    assert float(logits.grad.abs().sum()) == 0.0


def test_expected_spend() -> None:
    assert expected_spend(torch.tensor([[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]]), (0.0, 40.0, 200.0)).tolist() == [60.0, 200.0]
