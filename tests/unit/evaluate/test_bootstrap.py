"""The bootstrap against theory and scipy, and the rows it becomes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from equipoise.evaluate import bootstrap
from equipoise.evaluate.bootstrap import Measure, averaged, per_user
from equipoise.evaluate.metrics.scores import auc
from equipoise.evaluate.table import Comparison, Method, rows, small_groups

RNG = np.random.default_rng(1)
VALUES = RNG.gamma(2, 1, 400)
OTHER = VALUES + RNG.normal(0.05, 0.2, 400)
UNIT = np.arange(400)


def test_draws_are_whole_samples_and_repeat_with_the_seed() -> None:
    first = np.concatenate(list(bootstrap.draws(50, 300, 7)))
    assert first.shape == (300, 50)
    assert (first.sum(1) == 50).all()
    assert (first == np.concatenate(list(bootstrap.draws(50, 300, 7)))).all()
    assert (first != np.concatenate(list(bootstrap.draws(50, 300, 8)))).any()


def test_interval_of_a_mean_equals_scipys_percentile_bootstrap() -> None:
    ours = bootstrap.interval(bootstrap.resampled([per_user("x", VALUES)], UNIT, 4000, 1)[:, 0])
    theirs = stats.bootstrap((VALUES,), np.mean, n_resamples=4000, method="percentile", rng=2).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.02)
    assert ours is not None
    error = 1.96 * VALUES.std() / np.sqrt(len(VALUES))
    assert ours == pytest.approx((VALUES.mean() - error, VALUES.mean() + error), abs=0.03)


def test_chunks_do_not_change_the_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    measures = [per_user("x", VALUES), Measure("auc", 0, auc, ((VALUES > 2).astype(float), OTHER))]
    whole = bootstrap.resampled(measures, UNIT, 50, 3)
    slow = np.array(
        [[m.statistic(w[None], *m.arrays)[0] for m in measures] for w in np.concatenate(list(bootstrap.draws(400, 50, 3)))]
    )
    assert whole == pytest.approx(slow, abs=1e-12)
    monkeypatch.setattr(bootstrap, "CHUNK_CELLS", 400 * 7)
    assert bootstrap.resampled(measures, UNIT, 50, 3).shape == (50, 2)


def test_a_user_with_several_rows_is_drawn_with_all_of_them() -> None:
    """Rows of one user that are copies of each other must not make the interval narrower."""
    once = bootstrap.interval(bootstrap.resampled([per_user("x", VALUES)], UNIT, 2000, 1)[:, 0])
    copied = bootstrap.resampled([per_user("x", np.tile(VALUES, 3))], np.tile(UNIT, 3), 2000, 1)
    assert bootstrap.interval(copied[:, 0]) == pytest.approx(once, abs=1e-9)


def test_rows_hold_values_intervals_paired_differences_groups_and_seeds() -> None:
    base = Method.fixed("base", [per_user("x", VALUES, 10)])
    trained = Method("model", ((per_user("x", OTHER, 10),), (per_user("x", OTHER + 0.2, 10),)), seeds=2)
    groups = {"age=old": np.arange(0, 100), "age=tiny": np.arange(5)}
    comparison = Comparison("items", "2020-01-01", UNIT, (base, trained), "base", groups=groups)
    found = {(r.method, r.metric, r.user_group): r for r in rows(comparison, resamples=2000, seed=1)}
    assert set(found) == {
        ("base", "x", "all"), ("model", "x", "all"), ("model", "x_minus_base", "all"), ("model", "x_seed_sd", "all"),
        ("base", "x", "age=old"), ("model", "x", "age=old"), ("model", "x_seed_sd", "age=old"),
    }  # fmt: skip
    assert small_groups(groups, UNIT) == 1
    assert found["model", "x", "all"].value == pytest.approx(OTHER.mean() + 0.1)
    assert found["model", "x_seed_sd", "all"].value == pytest.approx(0.2 / np.sqrt(2))
    assert found["model", "x_seed_sd", "all"].ci_low is None
    assert (found["base", "x", "all"].seeds, found["model", "x", "all"].seeds, found["base", "x", "age=old"].n) == (None, 2, 100)
    gap = found["model", "x_minus_base", "all"]
    difference = OTHER + 0.1 - VALUES
    error = 1.96 * difference.std() / 20
    assert gap.value == pytest.approx(difference.mean())
    assert (gap.ci_low, gap.ci_high) == pytest.approx((difference.mean() - error, difference.mean() + error), abs=0.005)


def test_undefined_values_leave_no_row_and_do_not_count_as_users() -> None:
    holes = np.where(UNIT < 300, np.nan, VALUES)
    comparison = Comparison("items", "o", UNIT, (Method.fixed("m", [per_user("x", holes), per_user("y", np.full(400, np.nan))]),))
    (row,) = rows(comparison, resamples=200, seed=1)
    assert (row.metric, row.n, row.value) == ("x", 100, pytest.approx(VALUES[300:].mean()))


def test_averaged_measures_are_the_mean_of_each_seed() -> None:
    label = (VALUES > 2).astype(float)
    single = [Measure("auc", 0, auc, (label, s)) for s in (VALUES, OTHER, -VALUES)]
    assert averaged(single).value() == pytest.approx(np.mean([m.value() for m in single]))
