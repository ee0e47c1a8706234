"""Which interests a user gained, lost and came back to, window by window, with evidence for each. Pure numpy and scipy.

Evidence is counted in visit days, not lines: a day with the category is one hit, however many lines it has.

Legend: W the user's windows, oldest first; C categories. The trend of a category in a window is how much likelier everybody
is to have it on a visit day than usual: what everybody does in December is expected of everybody, and is no gain.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Changes(NamedTuple):
    """(W, C) each: true where the category is listed in the window."""

    gained: Bools
    lost: Bools
    returning: Bools


def changes(hits: Ints, days: Ints, trend: Floats, *, level: float, min_hits: int, absent_windows: int) -> Changes:
    """Categories that rose above, vanished from or came back to the user's own history.

    gained: on at least `min_hits` days of the window, and so many by chance (see `hit_chances`), against all earlier windows,
    passes the level; not returning, and not so in the window before: a rise that lasts is listed once.
    lost: on no day of the last `absent_windows` windows (fewer where there are not as many), and that by chance, against all
    windows before them, passes the level; listed once, in the first window where it does.
    returning: was lost, and is back on at least `min_hits` days; until then it stays lost.
    The level bounds the rate of false discoveries over the user's categories in the window, see `discoveries`.

    Args:
        hits: (W, C) days with the category.
        days: (W,) visit days, each above 0 and not below hits.
        trend: (W, C) odds of the category on anybody's visit day in the window ÷ its usual odds, above 0.
    """
    found = Changes(*(np.zeros(hits.shape, bool) for _ in Changes._fields))
    all_hits, all_days = hits.cumsum(axis=0), days.cumsum()  # up to and with each window
    trended = (days[:, None] * trend).cumsum(axis=0)
    gone, risen = np.zeros(hits.shape[1], bool), np.zeros(hits.shape[1], bool)
    for w in range(1, len(hits)):
        total, back = all_hits[w], hits[w] >= min_hits
        start = max(w - absent_windows, 0)  # the last window before the absence
        none = hit_chances(all_days[w] - all_days[start], all_days[w], total, _odds(trended, all_days, start, w))[:, 0]
        passed = discoveries(np.where(all_hits[start] == total, none, 1.0), none <= level, level)
        found.lost[w] = passed & ~gone
        found.returning[w] = gone & back
        gone = (gone | passed) & ~found.returning[w]
        chances = hit_chances(days[w], all_days[w], total, _odds(trended, all_days, w - 1, w))
        tail = chances[:, ::-1].cumsum(axis=1)[:, ::-1]  # (C, days + 1): at least so many
        rows = np.arange(len(total))
        least = tail[rows, np.minimum(total, days[w])]
        rise = discoveries(tail[rows, hits[w]], least <= level, level) & back
        found.gained[w] = rise & ~risen & ~found.returning[w]
        risen = rise
    return found


def hit_chances(late: int, days: int, total: Ints, odds: Floats) -> Floats:
    """(C, late + 1): chance that 0, 1, … of the `total` days with a category are among the last `late` of all `days`.

    Fisher's noncentral hypergeometric distribution (Fog 2008): what Fisher's exact test of two rates uses, with the ratio of
    odds that the population had. For odds of 1 every order of the days is equally likely.
    """
    x = np.arange(late + 1)[None, :]
    rest = total[:, None] - x
    possible = (rest >= 0) & (rest <= days - late)
    log = _log_choose(late, x) + _log_choose(days - late, np.where(possible, rest, 0)) + x * np.log(odds)[:, None]
    log = np.where(possible, log, -np.inf)
    weight = np.exp(log - log.max(axis=1, keepdims=True))
    return np.asarray(weight / weight.sum(axis=1, keepdims=True), dtype=np.float64)


def discoveries(p: Floats, family: Bools, level: float) -> Bools:
    """Which of the family's p-values Benjamini & Hochberg (1995) reject at this false discovery rate.

    The family holds those that can pass at all, known from totals alone (Tarone 1990): a category with too few days ever does
    not cost the others evidence. Where nothing changed, the chance that anything is listed is at most `level`.
    """
    tested = np.flatnonzero(family)
    order = tested[np.argsort(p[tested], kind="stable")]
    passed = np.flatnonzero(p[order] <= level * np.arange(1, len(order) + 1) / max(len(order), 1))
    found = np.zeros(len(p), bool)
    found[order[: passed[-1] + 1 if len(passed) else 0]] = True
    return found


def _odds(trended: Floats, days: Ints, start: int, end: int) -> Floats:
    """Mean trend of the days after window `start`, up to and with window `end`, ÷ that of the days before."""
    late = (trended[end] - trended[start]) / (days[end] - days[start])
    return np.asarray(late / (trended[start] / days[start]), dtype=np.float64)


def _log_choose(n: int, k: Ints) -> Floats:
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1), dtype=np.float64)
