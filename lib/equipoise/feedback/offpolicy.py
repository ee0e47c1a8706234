"""What another way to explore would have brought, from the log of the one that ran.

A list's explore slots are drawn with known probabilities, and each slot's response hangs on its own category, so the responses
of a list are a sum over its places: importance weights stand per place, not per list (Swaminathan et al., Off-policy evaluation
for slate recommendation, NeurIPS 2017, with logged marginals).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Z95 = 1.959963984540054


@dataclass(frozen=True)
class Logged:
    """Explored places (n,) of a log: list (position in 0..lists−1), propensity by which it was shown, response 0 or 1, and the
    probability with which the other policy would have shown it.

    Lists count as independent, but for those of one cluster (cluster: (lists,) position of each list's, such as its user's). What
    the other policy would show and the logging one never could is not in a log; its probability is missing from every estimate.

    Raises:
        ValueError: when there are fewer than two lists (or clusters) or no places, or a propensity is 0.
    """

    list_: Ints
    propensity: Floats
    response: Floats
    probability: Floats
    lists: int
    cluster: Ints | None = None

    def __post_init__(self) -> None:
        if self.lists < 2 or not len(self.propensity):
            raise ValueError(f"{len(self.propensity)} places of {self.lists} lists: expected some of at least 2; log more")
        if self.cluster is not None and len(np.unique(self.cluster)) < 2:
            raise ValueError(
                f"{self.lists} lists of 1 cluster: expected at least 2, or nothing says how much they differ; log more"
            )
        if not (self.propensity > 0).all():
            worst = int(np.argmin(self.propensity))
            raise ValueError(
                f"propensity {self.propensity[worst]:g} of logged place {worst}: expected above 0, or what was never shown "
                "cannot be judged; leave places out that were not drawn"
            )

    @property
    def weight(self) -> Floats:
        """Importance weight of each place."""
        return self.probability / self.propensity

    @property
    def effective(self) -> float:
        """How many places of equal weight would tell as much: (Σ w)² ÷ Σ w² (Kish, Survey Sampling, 1965); 0 without weight."""
        square = float((self.weight**2).sum())
        return float(self.weight.sum()) ** 2 / square if square else 0.0


@dataclass(frozen=True)
class Estimate:
    """Responses per list that the other policy would have brought, with a 95 % interval over lists (normal approximation)."""

    value: float
    low: float
    high: float


def logged_mean(log: Logged) -> Estimate:
    """Responses per list that the policy that ran brought: nothing is weighted."""
    return _of(_per_list(log, log.response), log.cluster)


def ips(log: Logged) -> Estimate:
    """Inverse propensity scores (Horvitz & Thompson, JASA 47, 1952): no bias while every propensity is above 0."""
    return _of(_per_list(log, log.weight * log.response), log.cluster)


def snips(log: Logged, slots: float) -> Estimate:
    """Self-normalised (Swaminathan & Joachims, NeurIPS 2015): weights are scaled to sum to what they do in the mean.

    Args:
        slots: Σ of the other policy's probabilities per list.
    """
    weight, total = log.weight, float(log.weight.sum())
    if total == 0.0:  # the other policy would have shown none of it
        return Estimate(0.0, 0.0, 0.0)
    ratio = float((weight * log.response).sum()) / total
    # Linearised ratio estimator: its residuals carry the spread (Särndal, Swensson & Wretman 1992, §5.6).
    spread = _of(_per_list(log, weight * (log.response - ratio)) * (slots * log.lists / total), log.cluster)
    value = slots * ratio
    return Estimate(value, value + spread.low - spread.value, value + spread.high - spread.value)


def doubly_robust(log: Logged, predicted: Floats, expected: Floats) -> Estimate:
    """Predicted responses, corrected by the weighted residuals of what was shown (Dudík, Langford & Li, ICML 2011).

    Args:
        predicted: (n,) predicted response of each logged place.
        expected: (lists,) Σ over all categories of the other policy's probability times the predicted response.
    """
    return _of(expected + _per_list(log, log.weight * (log.response - predicted)), log.cluster)


def _per_list(log: Logged, value: Floats) -> Floats:
    return np.bincount(log.list_, weights=value, minlength=log.lists).astype(np.float64)


def _of(per_list: Floats, cluster: Ints | None) -> Estimate:
    """The mean; its variance from the clusters' sums of residuals (Liang & Zeger, Biometrika 73, 1986), which without clusters is
    the usual one."""
    number, value = len(per_list), float(per_list.mean())
    residual = per_list - value
    sums = residual if cluster is None else np.bincount(cluster, weights=residual)
    groups = number if cluster is None else len(np.unique(cluster))
    half = Z95 * float(np.sqrt(groups / (groups - 1) * (sums**2).sum())) / number
    return Estimate(value, value - half, value + half)
