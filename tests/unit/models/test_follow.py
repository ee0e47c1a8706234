"""What follows today's shares: against scikit-learn's ridge, by halves of the users, and at its edges."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import Ridge

from equipoise.models import follow
from equipoise.models.losses import window_shares

CATEGORIES = 5


def rows(n: int = 80, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Today's shares, counts of the next window, weights, halves."""
    draw = torch.Generator().manual_seed(seed)
    shares = torch.rand(n, CATEGORIES, generator=draw) + 0.05
    counts = torch.randint(0, 6, (n, CATEGORIES), generator=draw).float()
    counts[::7] = 0.0
    weights = (counts.sum(dim=-1) / 10.0).clamp(max=1.0)
    return shares / shares.sum(dim=-1, keepdim=True), counts, weights, torch.randint(0, 2, (n,), generator=draw)


def by_sklearn(which: torch.Tensor) -> np.ndarray:
    shares, counts, weights, _ = (t[which].double().numpy() for t in rows())
    some = counts.sum(axis=1) > 0
    shares, counts, weights = shares[some], counts[some], weights[some]
    root = np.sqrt(shares)
    residual = (counts / counts.sum(axis=1, keepdims=True) - shares) / root
    fitted = Ridge(alpha=follow.RIDGE * weights.sum(), fit_intercept=False, solver="cholesky")
    return fitted.fit(root, residual, sample_weight=weights).coef_.T


def sums() -> follow.Sums:
    """Of all rows, in two batches."""
    found, (shares, counts, weights, halves) = follow.Sums(CATEGORIES), rows()
    for part in (slice(0, 33), slice(33, None)):
        found.add(shares[part], window_shares(counts[part]), weights[part], halves[part])
    return found


def test_it_is_the_ridge_regression_of_the_next_shares_on_todays() -> None:
    np.testing.assert_allclose(sums().solved().numpy(), by_sklearn(torch.ones(80, dtype=torch.bool)), atol=2e-5)


def test_each_half_is_told_by_the_other() -> None:
    halves = rows()[3]
    for which, found in enumerate(sums().crossed().numpy()):
        np.testing.assert_allclose(found, by_sklearn(halves != which), atol=2e-5)


def test_what_follows_by_hand() -> None:
    """On top of the second comes .3 of the first's root: .49 + .3 · √.51 · √.49; never less than LEAST of today."""
    shares = torch.tensor([[0.51, 0.49]])
    weights = torch.tensor([[0.0, 0.3], [0.0, 0.0]])
    wanted = np.log((0.49 + 0.3 * np.sqrt(0.51) * np.sqrt(0.49)) / 0.49)
    torch.testing.assert_close(follow.followed(shares, weights), torch.tensor([[0.0, float(wanted)]]))
    low = follow.followed(shares, -9.0 * weights)
    torch.testing.assert_close(low, torch.tensor([[0.0, float(np.log(follow.LEAST))]]))


def test_todays_shares_are_positive_and_add_up_to_one() -> None:
    lines = torch.tensor([[0.0, 0.0, 0.0], [4.0, 0.0, 1.0]])
    for visitors in (torch.zeros(2, 3), torch.tensor([[0.2, 0.0, 0.1]]).expand(2, 3)):
        found = follow.today(lines, visitors, torch.tensor(5.0))
        assert bool((found > 0).all())
        torch.testing.assert_close(found.sum(dim=-1), torch.ones(2))


def test_without_rows_nothing_follows() -> None:
    empty = follow.Sums(CATEGORIES)
    assert float(empty.solved().abs().sum()) == 0.0 and float(empty.crossed().abs().sum()) == 0.0
