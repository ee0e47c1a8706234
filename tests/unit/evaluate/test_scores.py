"""Score metrics against scikit-learn and plain loops; weights must mean repeated rows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from equipoise.evaluate.metrics import classes, scores


def _case(seed: int, n: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """label, amount, coarse score with many ties, probability."""
    rng = np.random.default_rng(seed)
    probability = rng.beta(2, 2, n)
    label = (rng.random(n) < probability).astype(float)
    amount = np.where(label > 0, rng.gamma(2, 30, n), 0.0)
    return label, amount, np.round(probability * 8), probability


def _weights(seed: int, n: int, r: int = 4) -> np.ndarray:
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=r)
    counts[0] = 1
    return counts.astype(float)


def test_auc_ap_and_brier_equal_scikit_learn_with_ties_and_weights() -> None:
    label, _, score, probability = _case(1)
    weights = _weights(2, len(label))
    for i, w in enumerate(weights):
        assert scores.auc(weights, label, score)[i] == pytest.approx(sk.roc_auc_score(label, score, sample_weight=w), abs=1e-12)
        expected = sk.average_precision_score(label, score, sample_weight=w)
        assert scores.average_precision(weights, label, score)[i] == pytest.approx(expected, abs=1e-12)
        expected = sk.brier_score_loss(label, probability, sample_weight=w)
        assert scores.brier(weights, label, probability)[i] == pytest.approx(expected, abs=1e-12)


def test_weights_mean_repeated_rows_for_every_statistic() -> None:
    label, amount, score, probability = _case(3)
    weights = _weights(4, len(label))[1:2]
    again = np.repeat(np.arange(len(label)), weights[0].astype(int))
    ones = np.ones((1, len(again)))
    for statistic, arrays in [
        (scores.auc, (label, score)),
        (scores.average_precision, (label, score)),
        (scores.normalised_gini, (amount, score)),
        (scores.decile_lift, (amount, score)),
        (scores.brier, (label, probability)),
        (lambda w, y, s: scores.true_positive_rate(w, y, s, 0.3), (label, score)),
        (scores.mean, (np.where(label > 0, amount, np.nan),)),
    ]:
        repeated = statistic(ones, *(a[again] for a in arrays))
        assert statistic(weights, *arrays)[0] == pytest.approx(repeated[0], abs=1e-10)


def test_the_roc_curve_equals_scikit_learn() -> None:
    label, _, score, probability = _case(9)
    ones = np.ones((1, len(label)))
    for ranked in (score, probability):
        rates, heights, _ = sk.roc_curve(label, ranked, drop_intermediate=False)
        for at in (0.0333, 0.1234, 0.5001, 0.9):  # off the corners, where a curve has one height
            assert scores.true_positive_rate(ones, label, ranked, at)[0] == pytest.approx(np.interp(at, rates, heights), abs=1e-9)


def test_normalised_gini_equals_a_loop_over_pairs() -> None:
    _, amount, score, _ = _case(5, n=80)
    ones = np.ones((1, 80))

    def slow(order_by: np.ndarray) -> float:
        """Mean over ordered pairs of amount(i) × [i ranks before j], ties half: the area under the capture curve."""
        ahead = (order_by[:, None] > order_by[None, :]) + (order_by[:, None] == order_by[None, :]) / 2
        return 2 * (amount[:, None] * ahead).sum() / (80 * amount.sum()) - 1

    assert scores.normalised_gini(ones, amount, score)[0] == pytest.approx(slow(score) / slow(amount), abs=1e-12)
    assert scores.normalised_gini(ones, amount, amount)[0] == pytest.approx(1.0)
    assert scores.normalised_gini(ones, amount, np.zeros(80))[0] == pytest.approx(0.0, abs=1e-12)
    assert scores.normalised_gini(ones, amount, -amount)[0] == pytest.approx(-1.0)


def test_decile_lift_by_hand() -> None:
    amount = np.r_[np.full(10, 50.0), np.full(90, 10.0)]  # mean 14
    ones = np.ones((1, 100))
    assert scores.decile_lift(ones, amount, np.arange(100, 0, -1.0))[0] == pytest.approx(50 / 14)
    assert scores.decile_lift(ones, amount, np.zeros(100))[0] == pytest.approx(1.0)
    half = np.r_[np.ones(20), np.zeros(80)]  # the best 20 tie: half of them enter, 30 on average
    assert scores.decile_lift(ones, amount, half)[0] == pytest.approx(30 / 14)


def test_calibration_error_equals_a_loop_and_its_null_is_what_perfect_models_show() -> None:
    label, _, _, probability = _case(6, n=1000)
    bins = scores.equal_mass_bins(probability)
    assert np.bincount(bins.astype(int)).tolist() == [100] * 10
    slow = sum(abs(probability[bins == b].mean() - label[bins == b].mean()) * (bins == b).mean() for b in range(10))
    assert scores.calibration_error(np.ones((1, 1000)), label, probability)[0] == pytest.approx(slow, abs=1e-12)
    mean, high = scores.calibration_null(probability, 400, seed=1)
    assert 0 < mean < high < 0.1
    shown = []
    for seed in range(200):
        outcome = (np.random.default_rng(1000 + seed).random(1000) < probability).astype(float)
        shown.append(scores.calibration_error(np.ones((1, 1000)), outcome, probability)[0])
    assert np.mean(shown) == pytest.approx(mean, rel=0.05)
    assert np.mean(np.array(shown) > high) == pytest.approx(0.05, abs=0.04)


def test_undefined_statistics_are_nan() -> None:
    ones = np.ones((1, 3))
    assert np.isnan(scores.auc(ones, np.ones(3), np.arange(3.0)))
    assert np.isnan(scores.average_precision(ones, np.zeros(3), np.arange(3.0)))
    assert np.isnan(scores.normalised_gini(ones, np.zeros(3), np.arange(3.0)))
    assert np.isnan(scores.mean(ones, np.full(3, np.nan)))


def test_class_metrics_equal_scikit_learn() -> None:
    rng = np.random.default_rng(7)
    label, predicted = rng.integers(0, 3, 200), rng.integers(0, 3, 200)
    predicted[label == 1] = rng.integers(0, 2, (label == 1).sum())
    weights = _weights(8, 200)
    for i, w in enumerate(weights):
        precision, recall, f1, _ = sk.precision_recall_fscore_support(
            label, predicted, labels=range(3), sample_weight=w, zero_division=0
        )
        for of in range(3):
            assert classes.class_precision(weights, label, predicted, 3, of)[i] == pytest.approx(precision[of], abs=1e-12)
            assert classes.class_recall(weights, label, predicted, 3, of)[i] == pytest.approx(recall[of], abs=1e-12)
            assert classes.class_f1(weights, label, predicted, 3, of)[i] == pytest.approx(f1[of], abs=1e-12)
        assert classes.macro_f1(weights, label, predicted, 3)[i] == pytest.approx(f1.mean(), abs=1e-12)
        assert classes.accuracy(weights, label, predicted)[i] == pytest.approx(
            sk.accuracy_score(label, predicted, sample_weight=w)
        )
