"""How readily users respond to what they did not know: responses ÷ expected ones, shrunk, and what is explored because of it.

Letters: s segments, c categories, p categories of one user's pool.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DRAWS = 256
"""Draws from the posteriors behind Thompson's probabilities; what is drawn in the end has exactly the probability they come to,
so their noise costs no truth of the propensity."""

QUANTILE = 0.95
"""Upper bound of `optimistic` (Bayes-UCB: Kaufmann, Cappé & Garivier, AISTATS 2012)."""

LOW, HIGH = 0.05, 0.95
"""Ends of the interval that tables and pictures show."""


@dataclass(frozen=True)
class Ratios:
    """Gamma posteriors of responses ÷ expected responses: mean shape ÷ rate; 1 means as often as the model thought."""

    shape: Floats
    rate: Floats

    @property
    def mean(self) -> Floats:
        return self.shape / self.rate

    def quantile(self, q: float) -> Floats:
        """The q-quantiles."""
        from scipy.stats import gamma

        return np.asarray(gamma.ppf(q, self.shape, scale=1.0 / self.rate), dtype=np.float64)


def shrunk(responses: Floats, expected: Floats, towards: Floats | float, strength: Floats | float) -> Ratios:
    """Posterior of observed ÷ expected where responses ~ Poisson(ratio · expected), ratio ~ Gamma(strength · towards, strength).

    Clayton & Kaldor, Empirical Bayes estimates of age-standardized relative risks, Biometrics 43 (1987); strength counts in
    expected responses.
    """
    shape = strength * np.broadcast_to(np.asarray(towards, dtype=np.float64), np.shape(responses)) + responses
    return Ratios(np.asarray(shape, dtype=np.float64), np.asarray(strength + expected, dtype=np.float64))


SPREAD = 2.0
"""Standard deviation of log strength before any feedback: within a factor of 7 as likely as not, and data soon decide."""

WEAKEST, STRONGEST, LOG_DECIMALS = 0.05, 1e4, 4


def fitted_strength(responses: Floats, expected: Floats, towards: Floats, base: Floats, usual: float) -> float:
    """Strength of the prior under which the counts are likeliest: how much cells differ, by the cells themselves.

    Marginally the responses are negative binomial (Clayton & Kaldor 1987, §3); log strength has a normal prior around that of
    `usual` with SPREAD, so that without feedback it is `usual`. Rounded, so that a sum's last bit does not show.

    Args:
        towards: mean of each cell's prior. base: strength with which that mean itself is known (see `combined`).
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import gammaln

    asked = expected > 0
    o, e, m, known = responses[asked], expected[asked], towards[asked], base[asked]

    def loss(log_strength: float) -> float:
        tau = combined(float(np.exp(log_strength)), known)
        likelihood = gammaln(o + tau * m) - gammaln(tau * m) + tau * m * np.log(tau / (tau + e)) + o * np.log(e / (tau + e))
        return float(0.5 * ((log_strength - np.log(usual)) / SPREAD) ** 2 - likelihood.sum())

    found = minimize_scalar(loss, bounds=(np.log(WEAKEST), np.log(STRONGEST)), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(round(float(found.x), LOG_DECIMALS))) if asked.any() else usual


def combined(strength: float, base: Floats) -> Floats:
    """Strength of a prior around a mean that is itself uncertain: the variances, mean ÷ strength each, add up."""
    return np.asarray(1.0 / (1.0 / strength + 1.0 / base), dtype=np.float64)


@dataclass(frozen=True)
class Responses:
    """Ratios of everybody in everything (scalars), of everybody per category (c) and per segment × category (s, c).

    strengths: of the prior of each of the three.
    """

    whole: Ratios
    category: Ratios
    cell: Ratios
    strengths: tuple[float, float, float]

    @property
    def unexplored(self) -> tuple[float, float]:
        """Shape and rate of a category without feedback: the whole's mean with the weight of the categories' prior."""
        return self.strengths[1] * float(self.whole.mean), self.strengths[1]


def pooled(responses: Floats, expected: Floats, usual: float) -> Responses:
    """Ratios of each segment × category, shrunk towards what the other segments showed of the category, a category towards the
    whole, that towards 1.

    How much they are shrunk is fitted (see `fitted_strength`); the whole is shrunk with `usual`. A cell's prior is no surer than
    what is known of its category, so one answer in one segment makes nothing certain in another.

    Args:
        responses, expected: (s, c) counted and expected responses to exploring; 0 where nothing was shown.
    """
    whole = shrunk(np.asarray(responses.sum()), np.asarray(expected.sum()), 1.0, usual)
    of, by = responses.sum(axis=0), expected.sum(axis=0)
    strength = fitted_strength(of, by, np.full(of.shape, whole.mean), np.full(of.shape, np.inf), usual)
    category = shrunk(of, by, whole.mean, strength)
    others = shrunk(of - responses, by - expected, whole.mean, strength)
    inner = fitted_strength(responses, expected, others.mean, others.rate, usual)
    return Responses(
        whole, category, shrunk(responses, expected, others.mean, combined(inner, others.rate)), (usual, strength, inner)
    )


def thompson(guess: Floats, ratios: Ratios, slots: int, generator: np.random.Generator) -> Floats:
    """Probability (p,) of each category to be among the `slots` best when its ratio is drawn from its posterior.

    Thompson, Biometrika 25 (1933), for several slots at once: the probabilities are counted over DRAWS draws and sum to
    min(slots, p).

    Args:
        guess: (p,) probability of a response before any feedback; it is multiplied by the ratio.
    """
    if slots >= len(guess):
        return np.ones(len(guess))
    drawn = guess * generator.standard_gamma(ratios.shape, size=(DRAWS, len(guess))) / ratios.rate
    best = np.argpartition(-drawn, slots - 1, axis=1)[:, :slots]
    return np.asarray(np.bincount(best.ravel(), minlength=len(guess)) / DRAWS, dtype=np.float64)


def optimistic(guess: Floats, ratios: Ratios, slots: int) -> Floats:
    """1 (p,) for the `slots` categories with the highest upper bound of their response, 0 for the others; ties by place."""
    bound = guess * ratios.quantile(QUANTILE)
    out = np.zeros(len(guess))
    out[np.argsort(-bound, kind="stable")[:slots]] = 1.0
    return out


def floored(probabilities: Floats, floor: float) -> Floats:
    """The same sum, but the part `floor` of it dealt out evenly: whatever stands in the pool can be shown, so that what another
    policy would have shown can be estimated later."""
    return np.asarray((1.0 - floor) * probabilities + floor * probabilities.sum() / len(probabilities))
