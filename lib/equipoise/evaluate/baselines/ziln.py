"""Zero-inflated lognormal spend: a chance of any, and a lognormal amount of it, both linear (Wang, Liu & Miao 2019, arXiv
1912.07753)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from equipoise.evaluate.arrays import Floats

PENALTY = 1e-3
LEAST_SIGMA = 1e-2
MOST_LOG = 20.0
"""Ceiling of μ + σ² ÷ 2: an expected spend of half a billion."""

STEPS = 500


@dataclass(frozen=True)
class Ziln:
    """weight (1 + S, 3): of the log-odds of any spend, of μ, and of what softplus makes σ of, on standardised log(1 + x)."""

    mean: Floats
    scale: Floats
    weight: Floats

    def probability(self, x: Floats) -> Floats:
        """(n,) of any spend, for features (n, S)."""
        return self._parts(x)[0]

    def expected(self, x: Floats) -> Floats:
        """(n,) p · exp(μ + σ² ÷ 2)."""
        p, mu, sigma = self._parts(x)
        found: Floats = p * np.exp(np.minimum(mu + sigma**2 / 2, MOST_LOG))
        return found

    def _parts(self, x: Floats) -> tuple[Floats, Floats, Floats]:
        z = _design(x, self.mean, self.scale) @ self.weight
        return expit(z[:, 0]), z[:, 1], _sigma(z[:, 2])


def loss(z: Floats, spend: Floats) -> tuple[float, Floats]:
    """Mean negative log-likelihood of spends under (n, 3) outputs, and its gradient in them; no spend is 0 or below."""
    yes = spend > 0
    log = np.log(np.where(yes, spend, 1.0))
    sigma = _sigma(z[:, 2])
    apart = (log - z[:, 1]) / sigma
    chance = np.logaddexp(0.0, z[:, 0]) - yes * z[:, 0]
    amount = np.where(yes, log + np.log(sigma) + 0.5 * np.log(2 * np.pi) + apart**2 / 2, 0.0)
    slopes = np.stack(
        [expit(z[:, 0]) - yes, np.where(yes, -apart / sigma, 0.0), np.where(yes, (1 - apart**2) / sigma * expit(z[:, 2]), 0.0)],
        axis=1,
    )
    return float((chance + amount).mean()), slopes / len(spend)


def fit(x: Floats, spend: Floats) -> Ziln:
    """Fitted by L-BFGS with a ridge on everything but the intercepts.

    Args:
        x: (n, S) features, counts, days or money; refunds count as 0.

    Raises:
        ValueError: when nobody spends, or nobody does not.
    """
    if not (spend > 0).any() or (spend > 0).all():
        raise ValueError(f"{int((spend > 0).sum())} of {len(spend)} rows have spend; some must, and some must not")
    logs = np.log1p(np.maximum(x, 0.0))
    mean, sd = logs.mean(axis=0), logs.std(axis=0)
    scale = np.where(sd > 0, sd, 1.0)
    design = _design(x, mean, scale)
    ridge = np.full((design.shape[1], 3), PENALTY)
    ridge[0] = 0.0

    def of(flat: Floats) -> tuple[float, Floats]:
        weight = flat.reshape(-1, 3)
        value, slopes = loss(design @ weight, spend)
        return value + float((ridge * weight**2).sum()) / 2, (design.T @ slopes + ridge * weight).ravel()

    start = np.zeros((design.shape[1], 3))
    start[0, 1] = float(np.log(spend[spend > 0]).mean())
    found = minimize(of, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": STEPS})
    return Ziln(mean, scale, found.x.reshape(-1, 3))


def _sigma(raw: Floats) -> Floats:
    found: Floats = np.logaddexp(0.0, raw) + LEAST_SIGMA
    return found


def _design(x: Floats, mean: Floats, scale: Floats) -> Floats:
    return np.column_stack([np.ones(len(x)), (np.log1p(np.maximum(x, 0.0)) - mean) / scale])
