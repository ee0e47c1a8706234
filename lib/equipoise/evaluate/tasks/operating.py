"""Task operating_points: ways to balance compared at equal loss of accuracy, and the whole frontier as one number.

The weight of an operating point is chosen by what gold.balance foretold before anybody had seen what came next, never by the
losses that are measured here: so a measured loss can stand above its bound, and then says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from equipoise.evaluate.arrays import Floats
from equipoise.evaluate.bootstrap import Measure, per_user
from equipoise.evaluate.table import Comparison, Method

BOUNDS = (0.01, 0.03, 0.05)
"""Parts of the NDCG of λ = 0 that balance may cost."""

LEAST = 0.9
"""The frontier is looked at down to this part of the accuracy of λ = 0."""

POINT = re.compile(r"^calibrated λ=(?P<weight>[\d.e-]+) slots=(?P<slots>\d+)$")
ACCURACY, DISTANCE = "ndcg", "kl_bits"


def comparison(balance: Comparison, foretold: Mapping[float, float], k: int) -> Comparison | None:
    """From task balance: per number of explore slots the frontier's `hypervolume`, and per bound the strongest λ that was
    foretold to stay inside it: its NDCG, divergence, `ndcg_loss` and `kl_cut` against λ = 0. None where λ was not swept.

    Args:
        foretold: λ → expected loss, as in gold.balance; λ between two of them is interpolated.
    """
    values = {m.name: {x.metric: x.arrays[0] for x in m.runs[0] if x.metric in (ACCURACY, DISTANCE)} for m in balance.methods}
    methods = [method for slots, points in _swept(values) for method in _of(slots, points, values, foretold, k)]
    return replace(balance, task="operating_points", methods=tuple(methods), baseline=None) if methods else None


def _swept(values: Mapping[str, object]) -> Iterator[tuple[int, list[tuple[float, str]]]]:
    """Number of slots → (λ, method) by rising λ, where several λ were tried and none of them is 0."""
    found = [(int(m["slots"]), float(m["weight"]), name) for name in values if (m := POINT.match(name))]
    for slots in sorted({s for s, _, _ in found}):
        points = sorted((weight, name) for s, weight, name in found if s == slots)
        if len(points) > 2 and points[0][0] == 0.0:
            yield slots, points


def _of(
    slots: int,
    points: Sequence[tuple[float, str]],
    values: Mapping[str, Mapping[str, Floats]],
    foretold: Mapping[float, float],
    k: int,
) -> list[Method]:
    every = {metric: np.stack([values[name][metric] for _, name in points], axis=1) for metric in (ACCURACY, DISTANCE)}
    area = Measure("hypervolume", k, hypervolume, (every[ACCURACY], every[DISTANCE]))
    out = [Method(f"frontier slots={slots}", ((area,),), 1)]
    expected = np.interp([w for w, _ in points], sorted(foretold), [foretold[w] for w in sorted(foretold)])
    first = values[points[0][1]]
    for bound in BOUNDS:
        weight, name = points[int(np.flatnonzero(expected <= bound).max(initial=0))]
        mine = values[name]
        measures = (
            per_user(ACCURACY, mine[ACCURACY], k),
            per_user(DISTANCE, mine[DISTANCE]),
            Measure("ndcg_loss", k, lost, (mine[ACCURACY], first[ACCURACY])),
            Measure("kl_cut", 0, lost, (mine[DISTANCE], first[DISTANCE])),
        )
        out.append(Method(f"λ={weight:g} foretold ≤ {bound:.0%} slots={slots}", (measures,), 1))
    return out


def lost(weights: Floats, value: Floats, base: Floats) -> Floats:
    """(r,) 1 − Σ value ÷ Σ base over the users of each resample (r, n); users without either do not count."""
    known = ~(np.isnan(value) | np.isnan(base))
    out: Floats = 1.0 - (weights[:, known] @ value[known]) / (weights[:, known] @ base[known])
    return out


def hypervolume(weights: Floats, accuracy: Floats, distance: Floats) -> Floats:
    """(r,) part of the rectangle between LEAST and all of the accuracy of the first point, and between its divergence and none,
    that some point dominates (Zitzler & Thiele, PPSN V 1998); 0 for the first point alone.

    Args:
        accuracy, distance: (n, points) per user; the first is λ = 0.
    """
    known = ~(np.isnan(accuracy).any(1) | np.isnan(distance).any(1))
    means = [weights[:, known] @ x[known] for x in (accuracy, distance)]
    kept = np.clip(means[0] / means[0][:, :1], LEAST, 1.0)
    gain = np.clip(1.0 - means[1] / means[1][:, :1], 0.0, 1.0)
    order = np.argsort(kept, axis=1)
    kept, gain = np.take_along_axis(kept, order, axis=1), np.take_along_axis(gain, order, axis=1)
    best = np.maximum.accumulate(gain[:, ::-1], axis=1)[:, ::-1]  # of all points that keep at least as much
    steps = np.diff(np.concatenate([np.full((len(kept), 1), LEAST), kept], axis=1), axis=1)
    out: Floats = (steps * best).sum(axis=1) / (1.0 - LEAST)
    return out
