"""Signals of a user's worth at a cut, from days before it alone."""

from __future__ import annotations

import numpy as np

from equipoise.segments.history import Bools, Floats, History, Ints

HALF_LIVES = (7, 14, 28, 56, 112, 224)
SPANS = (7, 14, 28, 56, 84, 112)
WINDOW, WINDOWS = 28, 6
"""Spend is also told window by window, counted back from the cut."""

MOST_GAPS = 100.0

GROUPS: dict[str, tuple[str, ...]] = {
    "recency": ("recency", "recency_over_gap", "recency_over_longest_gap"),
    "rhythm": ("gap_mean", "gap_sd", "gap_longest", "windows_active"),
    "trips": ("trips", *(f"trips_half_{h}" for h in HALF_LIVES), *(f"trips_{s}d" for s in SPANS)),
    "spend": (
        "spend",
        *(f"spend_half_{h}" for h in HALF_LIVES),
        *(f"spend_{s}d" for s in SPANS),
        *(f"spend_window_{w}" for w in range(WINDOWS)),
        "spend_window_sd",
        "spend_window_least",
        "spend_trend",
    ),
    "basket": ("basket_mean", "basket_largest", "basket_last", "lines_mean"),
    "tenure": ("tenure",),
    "looks and offers": ("looks_half_28", "exposed_112d", "redeemed_112d"),
}
"""What a person calls it → the signals behind it. Days are days, money is the source's; see `signals_at`."""

SIGNALS: tuple[str, ...] = tuple(name for names in GROUPS.values() for name in names)


def known_at(history: History, cut: int) -> Bools:
    """(U,) users with an event of their own before the cut."""
    found = np.zeros(len(history.users), dtype=bool)
    found[history.user[history.own & (history.day < cut)]] = True
    return found


def signals_at(history: History, cut: int) -> Floats:
    """(U, S) SIGNALS of every user at the start of day `cut`; nothing on or after it counts.

    A trip is a day that the history marks as one. Recency counts from the last trip, else from the last day of one's own; gaps
    lie between trips in a row, and are the tenure for who has one trip. `spend_half_h` is Σ spend · 2^(−age ÷ h), trips alike;
    `spend_nd` the sum of the last n days; `spend_window_w` that of days 28 w + 1 … 28 (w + 1) back; `spend_trend` the last 28
    days ÷ a quarter of the last 112. Users that are not known at the cut have rows of zeros.
    """
    at, users = history.where((history.day < cut) & (history.own | (history.exposed > 0))), len(history.users)
    age = (cut - at.day).astype(np.float64)

    def total(weights: Floats) -> Floats:
        found: Floats = np.bincount(at.user, weights=weights, minlength=users).astype(np.float64)
        return found

    trip = at.trip.astype(np.float64)
    out: dict[str, Floats] = {"trips": total(trip), "spend": total(at.spend)}
    for half in HALF_LIVES:
        decay = np.exp2(-age / half)
        out[f"trips_half_{half}"], out[f"spend_half_{half}"] = total(trip * decay), total(at.spend * decay)
    for span in SPANS:
        inside = (age <= span).astype(np.float64)
        out[f"trips_{span}d"], out[f"spend_{span}d"] = total(trip * inside), total(at.spend * inside)
    spends, visited = [], []
    for w in range(WINDOWS):
        inside = ((age > WINDOW * w) & (age <= WINDOW * (w + 1))).astype(np.float64)
        spends.append(total(at.spend * inside))
        visited.append(total(trip * inside) > 0)
        out[f"spend_window_{w}"] = spends[-1]
    out["spend_window_sd"], out["spend_window_least"] = np.std(spends, axis=0), np.min(spends, axis=0)
    out["windows_active"] = np.sum(visited, axis=0).astype(np.float64)
    out["spend_trend"] = out["spend_28d"] / (out["spend_112d"] / 4 + 1)
    out |= _rhythm(at, cut, users)
    out |= _baskets(at, out["trips"], users)
    out["looks_half_28"] = total(at.looks * np.exp2(-age / 28))
    out["exposed_112d"], out["redeemed_112d"] = (total(x * (age <= 112)) for x in (at.exposed, at.redeemed))
    whole: Floats = np.stack([out[name] for name in SIGNALS], axis=1)
    whole[~known_at(history, cut)] = 0.0
    return whole


def _rhythm(at: History, cut: int, users: int) -> dict[str, Floats]:
    """Recency, tenure and gaps; rows are sorted by user and day."""
    own, trips = at.own, at.where(at.trip)
    first = _edge(at.user[own][::-1], at.day[own][::-1], users)
    last_own, last_trip = _edge(at.user[own], at.day[own], users), _edge(trips.user, trips.day, users)
    tenure = np.where(first >= 0, cut - first, 0).astype(np.float64)
    last = np.where(last_trip >= 0, last_trip, last_own)
    recency = np.where(last >= 0, cut - last, 0).astype(np.float64)
    same = trips.user[1:] == trips.user[:-1]
    of, gap = trips.user[1:][same], np.diff(trips.day)[same].astype(np.float64)
    number = np.bincount(of, minlength=users)
    mean = np.where(number > 0, np.bincount(of, weights=gap, minlength=users) / np.maximum(number, 1), tenure)
    square = np.bincount(of, weights=(gap - mean[of]) ** 2, minlength=users) / np.maximum(number, 1)
    longest = np.where(number > 0, 0.0, tenure)
    np.maximum.at(longest, of, gap)
    return {
        "recency": recency,
        "tenure": tenure,
        "gap_mean": mean,
        "gap_sd": np.sqrt(square),
        "gap_longest": longest,
        "recency_over_gap": np.minimum(recency / np.maximum(mean, 0.5), MOST_GAPS),
        "recency_over_longest_gap": np.minimum(recency / np.maximum(longest, 1.0), MOST_GAPS),
    }


def _baskets(at: History, trips: Floats, users: int) -> dict[str, Floats]:
    buys = at.where(at.lines > 0)
    largest = np.zeros(users)
    np.maximum.at(largest, buys.user, buys.spend)
    last = np.zeros(users)
    last[buys.user] = buys.spend  # rows are sorted by day: the latest is written last
    number = np.maximum(np.bincount(buys.user, minlength=users), 1)
    return {
        "basket_mean": np.bincount(buys.user, weights=buys.spend, minlength=users) / number,
        "basket_largest": largest,
        "basket_last": last,
        "lines_mean": np.bincount(buys.user, weights=buys.lines, minlength=users) / number,
    }


def _edge(user: Ints, day: Ints, users: int) -> Ints:
    """The day of each user's last given row; −1 without one."""
    out = np.full(users, -1, dtype=np.int64)
    out[user] = day
    return out
