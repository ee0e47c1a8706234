"""BG/NBD and gamma–gamma: how often and for how much a customer comes back who buys at random until they silently leave.

Fader, Hardie & Lee 2005, "Counting your customers" the easy way, Marketing Science 24(2); Fader & Hardie 2013, The gamma-gamma
model of monetary value. x repeat purchases, the last t_x after the first, T since the first; any unit of time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh_tridiagonal
from scipy.optimize import minimize
from scipy.special import betaln, gammaln

from equipoise.segments.history import Floats, Ints

LEAST, MOST = -12.0, 12.0
"""Bounds of the logarithms of the parameters: likelihoods rise without end towards nobody leaving or nobody coming back."""

STARTS = ((0.0, 0.0, 0.0, 0.0), (-1.5, -1.0, -0.5, 1.0), (0.5, -1.0, -3.0, 1.0), (1.0, 1.0, 1.0, 1.0))
"""log r, α, a, b to start from, time scaled to a longest T of 10."""

MONEY_STARTS = ((0.0, 0.0, 0.0), (1.5, 1.0, 0.0), (0.0, 2.0, 1.0))
"""log p, q − 1, γ to start from, money scaled to a mean of 1."""

SCALE = 10.0
NODES = 64
"""Of the quadrature over the chance to leave: one and two hundred nodes agree to 1e-9 at horizons seven times α + T."""

DAY_SPAN = 100_000


@dataclass(frozen=True)
class Customers:
    """One row per customer: repeats x, recency t_x (0 without repeats) and age T since the first purchase, 0 ≤ t_x ≤ T."""

    repeats: Floats
    recency: Floats
    age: Floats

    def __post_init__(self) -> None:
        columns = {n: np.asarray(getattr(self, n), dtype=np.float64) for n in ("repeats", "recency", "age")}
        for name, values in columns.items():
            object.__setattr__(self, name, values)
        x, last, age = columns.values()
        if len({len(v) for v in columns.values()}) > 1:
            raise ValueError(f"repeats, recency and age have {len(x):,}, {len(last):,} and {len(age):,} rows; they need as many")
        good = np.isfinite(x) & np.isfinite(last) & np.isfinite(age) & (x >= 0) & (last >= 0) & (last <= age)
        if not good.all():
            at = int(np.flatnonzero(~good)[0])
            raise ValueError(
                f"{int((~good).sum()):,} customers break 0 ≤ x and 0 ≤ t_x ≤ T, "
                f"first row {at}: x {x[at]}, t_x {last[at]}, T {age[at]}"
            )


@dataclass(frozen=True)
class Buying:
    """BG/NBD: purchases at rate λ ~ Gamma(r, α) per unit of time; after each the customer leaves with chance ~ Beta(a, b)."""

    r: float
    alpha: float
    a: float
    b: float
    log_likelihood: float

    def alive(self, of: Customers) -> Floats:
        """(n,) P(has not left by T): 1 without repeats, as one leaves after a purchase only (Fader, Hardie & Lee 2008, eq. 3)."""
        x = of.repeats
        log_odds = np.log(self.a) - np.log(self.b + np.maximum(x - 1, 0))
        log_odds = log_odds + (self.r + x) * np.log((self.alpha + of.age) / (self.alpha + of.recency))
        out: Floats = np.where(x > 0, np.exp(-np.logaddexp(0.0, log_odds)), 1.0)
        return out

    def returns(self, of: Customers, time: float) -> Floats:
        """(n,) P(at least one purchase in (T, T + time]).

        Who has not left has λ ~ Gamma(r + x, α + T) and leaves after a purchase only, so the chance of none is the transform
        ((α + T) ÷ (α + T + time))^(r + x).
        """
        none = (self.r + of.repeats) * -np.log1p(time / (self.alpha + of.age))
        out: Floats = self.alive(of) * -np.expm1(none)
        return out

    def purchases(self, of: Customers, time: float) -> Floats:
        """(n,) expected purchases in (T, T + time].

        Eq. 10 of the paper, in which the hypergeometric function cancels near a = 1 and fails for a → 0, as an integral: who has
        not left has p ~ Beta(a, b + x), apart from λ, and makes (1 − e^(−λ p time)) ÷ p purchases on average. λ is integrated by
        its transform, p by Gauss–Jacobi quadrature.
        """
        out: Floats = np.zeros(len(of.repeats))
        share = time / (self.alpha + of.age)
        for x in np.unique(of.repeats):
            rows = of.repeats == x
            p, weight = _beta_nodes(self.a, self.b + float(x))
            made = -np.expm1(-(self.r + x) * np.log1p(share[rows, None] * p)) / p
            out[rows] = made @ weight
        return self.alive(of) * out


@dataclass(frozen=True)
class Spending:
    """Gamma–gamma: each purchase of a customer ~ Gamma(p, ν), ν ~ Gamma(q, γ). `middle`: said where no purchase is known."""

    p: float
    q: float
    gamma: float
    middle: float

    def each(self, purchases: Floats, mean: Floats) -> Floats:
        """(n,) expected money of a purchase, from the mean of the customer's `purchases`; `middle` where one is not above 0."""
        n, m = np.asarray(purchases, dtype=np.float64), np.asarray(mean, dtype=np.float64)
        known = (n > 0) & (m > 0) & np.isfinite(m)
        if np.isnan(self.p):
            return np.full(len(n), self.middle)
        below = self.p * np.where(known, n, 1.0) + self.q - 1
        found = self.p * (self.gamma + np.where(known, n * m, 0.0)) / below
        return np.where(known, found, self.middle)


def fit_buying(of: Customers) -> Buying:
    """The parameters of greatest likelihood; those that would run away (nobody leaves, nobody comes back) stop at a bound.

    Raises:
        ValueError: without customers, or when none has an age.
    """
    longest = float(of.age.max(initial=0.0))
    if longest <= 0:
        raise ValueError(
            f"{len(of.age):,} customers, the oldest {longest:g} since the first purchase: nothing to fit; take a later day"
        )
    scale = SCALE / longest
    rows, count = np.unique(np.stack([of.repeats, of.recency * scale, of.age * scale], axis=1), axis=0, return_counts=True)
    share, (x, last, age) = count / count.sum(), rows.T

    def loss(log: Floats) -> float:
        return -float(share @ _log_likelihood(np.exp(log), x, last, age))

    r, alpha, a, b = np.exp(_least(loss, STARTS))
    found = (float(r), float(alpha / scale), float(a), float(b))
    return Buying(*found, float(_log_likelihood(np.array(found), of.repeats, of.recency, of.age).sum()))


def fit_spending(purchases: Floats, mean: Floats) -> Spending:
    """The parameters of greatest likelihood over customers with a positive mean; q is held above 1, where the mean is finite.

    Without two such customers of different means nothing can be fitted: everybody has the mean of them all, 0 without any.
    """
    n, m = np.asarray(purchases, dtype=np.float64), np.asarray(mean, dtype=np.float64)
    kept = (n > 0) & (m > 0) & np.isfinite(m) & np.isfinite(n)
    n, m = n[kept], m[kept]
    plain = float((n * m).sum() / n.sum()) if len(n) else 0.0
    if len(n) < 2 or float(m.max()) <= float(m.min()) * (1 + 1e-9):
        return Spending(np.nan, np.nan, np.nan, plain)
    scale = 1.0 / float(m.mean())
    z = m * scale

    def loss(log: Floats) -> float:
        p, q, gamma = np.exp(log[0]), 1.0 + np.exp(log[1]), np.exp(log[2])
        parts = gammaln(p * n + q) - gammaln(p * n) - gammaln(q) + q * log[2]
        parts = parts + (p * n - 1) * np.log(z) + p * n * np.log(n) - (p * n + q) * np.log(gamma + n * z)
        return -float(parts.mean())

    logs = _least(loss, MONEY_STARTS)
    p, q, gamma = float(np.exp(logs[0])), float(1.0 + np.exp(logs[1])), float(np.exp(logs[2]) / scale)
    middle = p * gamma / (q - 1)
    # Near q = 1 the population's mean runs away from every mean that was seen.
    return Spending(p, q, gamma, middle if middle <= float(m.max()) else plain)


def customers_at(user: Ints, day: Ints, origin: int, users: int) -> tuple[Ints, Customers]:
    """(numbers of users with a purchase before the origin, their x, t_x and T in days): purchases of a day count as one."""
    keys = np.unique(user[day < origin] * DAY_SPAN + day[day < origin])
    who, when = keys // DAY_SPAN, keys % DAY_SPAN
    number = np.bincount(who, minlength=users)
    known = np.flatnonzero(number > 0)
    ends = np.cumsum(number)[known]
    first, last = when[ends - number[known]], when[ends - 1]
    return known, Customers(
        (number[known] - 1).astype(np.float64), (last - first).astype(np.float64), (origin - first).astype(np.float64)
    )


def _log_likelihood(parameters: Floats, x: Floats, last: Floats, age: Floats) -> Floats:
    """(n,) eq. 6: still here after x repeats, or left after the last of them."""
    r, alpha, a, b = parameters
    common = gammaln(r + x) - gammaln(r) + r * np.log(alpha) - betaln(a, b)
    here = betaln(a, b + x) - (r + x) * np.log(alpha + age)
    left = betaln(a + 1, b + np.maximum(x, 1) - 1) - (r + x) * np.log(alpha + last)
    out: Floats = common + np.where(x > 0, np.logaddexp(here, left), here)
    return out


def _least(loss: object, starts: tuple[tuple[float, ...], ...]) -> Floats:
    """Where the loss is least of all that the starts lead to; ties fall to the earlier start."""
    found = [
        minimize(
            loss,
            start,
            method="L-BFGS-B",
            bounds=[(LEAST, MOST)] * len(start),
            options={"ftol": 1e-13, "gtol": 1e-8, "maxiter": 500},
        )
        for start in starts
    ]
    values = [one.fun if np.isfinite(one.fun) else np.inf for one in found]
    return np.asarray(found[int(np.argmin(values))].x, dtype=np.float64)


def _beta_nodes(a: float, b: float) -> tuple[Floats, Floats]:
    """NODES points in (0, 1) and weights of sum 1 for means under Beta(a, b) (Golub & Welsch 1969, Jacobi polynomials).

    The weights come from eigenvectors, without the beta function itself, which underflows for many repeats.
    """
    low, high = b - 1.0, a - 1.0
    n = np.arange(1, NODES, dtype=np.float64)
    total = low + high
    middle = np.empty(NODES)
    middle[0] = (high - low) / (total + 2)
    middle[1:] = (high**2 - low**2) / ((2 * n + total) * (2 * n + total + 2))
    beside = np.empty(NODES - 1)
    beside[0] = 4 * (1 + low) * (1 + high) / ((2 + total) ** 2 * (3 + total))
    k = n[1:]
    beside[1:] = 4 * k * (k + low) * (k + high) * (k + total) / ((2 * k + total) ** 2 * (2 * k + total + 1) * (2 * k + total - 1))
    values, vectors = eigh_tridiagonal(middle, np.sqrt(beside))
    weight = vectors[0] ** 2
    return np.clip((1 + values) / 2, np.finfo(float).tiny, 1.0), weight / weight.sum()
