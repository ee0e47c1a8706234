"""Value over several origins: every method is asked at each of them, from days before it alone, and judged by what came.

A measure is the mean of those at the origins; a bootstrap draws whole users with all their origins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from equipoise.evaluate.arrays import Floats, Ints
from equipoise.evaluate.baselines.answers import METHODS, WITH_AMOUNTS, Fitter, Question, cuts_before
from equipoise.evaluate.bootstrap import Measure, interval, resampled
from equipoise.evaluate.tasks.value import Answer, Outcome, measures
from equipoise.segments.history import History
from equipoise.segments.worth import Ladder, labels_at, threshold_of

LESS_IS_BETTER = ("brier", "ece", "log_loss", "mae", "mse")


@dataclass(frozen=True)
class Judged:
    """Methods over origins: unit (n,) is the user of each row, a user having a row per origin at which they are known."""

    origins: tuple[int, ...]
    unit: Ints
    measures: Mapping[str, tuple[Measure, ...]]


@dataclass(frozen=True)
class Line:
    """One measure of one method with its 95 % interval, and its paired difference from `against`, None for that method itself."""

    method: str
    metric: str
    value: float
    ends: tuple[float, float] | None
    against: str | None
    difference: float
    difference_ends: tuple[float, float] | None


def question(
    history: History, origin: int, days: int, *, ladder: Ladder, amounts: bool, seed: int, cuts: Sequence[int] | None = None
) -> Question:
    """The question of an origin, with the cuts of `cuts_before` where none are given.

    Raises:
        ValueError: when no cut lies before the origin, or one given reaches beyond it.
    """
    past = history.where(history.day < origin)
    chosen = cuts_before(past, origin, days) if cuts is None else list(cuts)
    if not chosen:
        raise ValueError(f"no whole window of {days} days to learn from before day {origin}; take a later origin")
    threshold = threshold_of(past, chosen, days) if ladder == "spend" else 0.0
    return Question(past, origin, days, tuple(chosen), ladder, threshold, amounts, seed)


def outcome(history: History, asked: Question) -> Outcome:
    """What the known users did in the window from the origin on."""
    seen = labels_at(history, asked.origin, asked.days, asked.ladder, asked.threshold)
    spend = seen.spend[asked.known] if asked.amounts else None
    return Outcome(seen.label[asked.known], seen.buys[asked.known].astype(np.float64), spend)


def judged(
    history: History,
    origins: Sequence[int],
    days: int,
    *,
    until: int,
    ladder: Ladder,
    amounts: bool,
    seed: int,
    further: Mapping[str, Fitter] | None = None,
    cuts: Sequence[int] | None = None,
) -> Judged:
    """Every plain method and every `further` one, asked at each origin whose window ends at or before `until`.

    Args:
        until: first day of which nothing is known.
        cuts: cuts to learn from instead of the latest.

    Raises:
        ValueError: when no origin's window is known, or none lies behind an origin to learn from.
    """
    whole = tuple(origin for origin in origins if origin + days <= until)
    if not whole:
        raise ValueError(f"no window of {days} days from {list(origins)} ends at or before day {until}; take earlier origins")
    methods = {**METHODS, **(WITH_AMOUNTS if amounts else {}), **(further or {})}
    units, found = [], []
    for origin in whole:
        asked = question(history, origin, days, ladder=ladder, amounts=amounts, seed=seed, cuts=cuts)
        truth = outcome(history, asked)
        units.append(asked.known)
        found.append({name: _named(truth, method(asked)) for name, method in methods.items()})
    at = np.repeat(np.arange(len(whole)), [len(u) for u in units])
    pooled = {name: tuple(_over(at, [one[name][m] for one in found]) for m in found[0][name]) for name in methods}
    return Judged(whole, np.concatenate(units), pooled)


def lines(of: Judged, metrics: Sequence[str], ours: Sequence[str], *, resamples: int, seed: int) -> list[Line]:
    """Every method by each metric, beside the best method by it that is not `ours`: the best on these very origins, which is more
    than a baseline chosen beforehand could do."""
    chosen = [(name, m) for metric in metrics for name, every in of.measures.items() for m in every if m.metric == metric]
    values = [m.value() for _, m in chosen]
    again = resampled([m for _, m in chosen], np.unique(of.unit, return_inverse=True)[1], resamples, seed)
    out = []
    for metric in metrics:
        places = [i for i, (_, m) in enumerate(chosen) if m.metric == metric]
        sign = -1.0 if metric in LESS_IS_BETTER else 1.0
        rivals = [i for i in places if chosen[i][0] not in ours and not np.isnan(values[i])]
        best = max(rivals, key=lambda i: sign * values[i], default=None)
        for i in places:
            name, other = chosen[i][0], None if best is None or i == best else best
            gap = np.nan if other is None else values[i] - values[other]
            ends = None if other is None else interval(again[:, i] - again[:, other])
            against = None if other is None else chosen[other][0]
            out.append(Line(name, metric, values[i], interval(again[:, i]), against, gap, ends))
    return out


def _named(truth: Outcome, answer: Answer) -> dict[str, Measure]:
    return {one.metric: one for one in measures(truth, answer)}


def _over(at: Ints, parts: Sequence[Measure]) -> Measure:
    """The mean over origins of one measure; `at`: number of the origin of each row."""
    first = parts[0]
    statistics = [one.statistic for one in parts]
    arrays = tuple(np.concatenate([one.arrays[i] for one in parts]) for i in range(len(first.arrays)))
    edges = np.searchsorted(at, np.arange(len(parts) + 1))

    def mean_over(weights: Floats, *columns: Floats) -> Floats:
        each = [
            statistic(weights[:, a:b], *(c[a:b] for c in columns))
            for statistic, a, b in zip(statistics, edges[:-1], edges[1:], strict=True)
        ]
        found: Floats = np.mean(each, axis=0)
        return found

    return Measure(first.metric, first.cutoff, mean_over, arrays, first.interval)
