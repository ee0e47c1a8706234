"""How interests moved from window to window: the population's here, those of single users in `drift`."""

from __future__ import annotations

from statistics import fmean

import pandas as pd

from equipoise.report.charts import areas, heat
from equipoise.report.facts import Facts
from equipoise.report.page import Figure, NumberTable, Section, empty
from equipoise.report.sections import drift
from equipoise.report.words import category, count, listed, percent, signed

ANCHOR, TITLE = "migration", "Migration of interests"
STACKED, MOVERS, WINDOWS = 7, 14, 13
LEAST_USERS = 0.5
"""Of the median window's active users; a thinner window is left out of the pictures."""

SMALLEST_SHARE = 0.002
"""A category needs this mean share in some window: below it a ratio tells of a handful of users."""

Shares = dict[str, list[float]]
"""Mean share of a category in each window, oldest first."""


def section(facts: Facts) -> Section:
    """Those categories that moved most as a grid, the largest as areas; then what single users moved, and where to."""
    if facts.windows.empty:
        return empty(ANCHOR, TITLE, "feature.category_shares has no closed window up to this date.")
    ends, shares = table(lively(facts.windows))
    if len(ends) < 2:
        return empty(ANCHOR, TITLE, "There is one closed window only; a movement needs two.")
    users = lively(facts.windows).drop_duplicates("window_end")["users"]
    lead = (
        "Behaviour is cut into windows. In each, a user's interest is a distribution over categories that sums to 1; the "
        "pictures show its mean over the users active in the window, so heavy buyers count like light ones. Shown: the last "
        f"{len(ends)} closed windows, with {count(float(users.min()))} to {count(float(users.max()))} active users; windows "
        f"with less than {percent(LEAST_USERS, 0)} of the median number are left out."
    )
    return Section(ANCHOR, TITLE, (lead,), (_grid(ends, shares), _areas(ends, shares), *drift.blocks(facts)))


def lively(windows: pd.DataFrame) -> pd.DataFrame:
    """Windows with at least LEAST_USERS of the usual number of active users: a source may begin with a day or two."""
    users = windows.drop_duplicates("window_end").set_index("window_end")["users"]
    kept = set(users.index[users >= LEAST_USERS * users.median()])
    return windows[windows["window_end"].isin(kept)]


def table(windows: pd.DataFrame) -> tuple[list[str], Shares]:
    """Ends of the last windows as day and month, and the shares in them; 0 where a category was not touched."""
    wide = windows.pivot_table(index="category", columns="window_end", values="share", fill_value=0.0, aggfunc="sum")
    last = wide.sort_index(axis=1).iloc[:, -WINDOWS:].sort_index()
    ends = [pd.Timestamp(str(end)).strftime("%-d %b") for end in last.columns]
    return ends, {str(c): [float(v) for v in row] for c, row in zip(last.index, last.to_numpy(), strict=True)}


def movers(shares: Shares) -> list[str]:
    """Categories by how far their share moved, largest less smallest over the windows; ties by name."""
    return sorted((c for c, v in shares.items() if max(v) >= SMALLEST_SHARE), key=lambda c: (min(shares[c]) - max(shares[c]), c))


def _grid(ends: list[str], shares: Shares) -> Figure:
    top = movers(shares)[:MOVERS]
    ratio = {c: shares[c][-1] / max(fmean(shares[c][:-1]), 1e-9) for c in top if fmean(shares[c][:-1]) > 0}
    ordered = sorted(ratio, key=lambda c: (ratio[c], c))
    finding = f"{category(top[0])} moved most over all windows"
    if ordered:
        down, up = ordered[0], ordered[-1]
        high, low = f"{category(up)} stands at {ratio[up]:.1f} times", f"{category(down)} at {ratio[down]:.1f} times"
        finding += f"; in the newest one {high} its earlier mean and {low}"
    cells: list[list[float | None]] = [[v / fmean(shares[c]) - 1 for v in shares[c]] for c in top]
    svg = heat(
        [category(c) for c in top],
        ends,
        cells,
        "Share of a category per window against its own mean over all windows",
        reach=1.0,
        text=lambda v: signed(v, 0),
        x_label="end of window · cell: per cent above (orange) or below (blue) the category's own mean over these windows",
    )
    rows = [(c, *(percent(v, 2) for v in shares[c])) for c in top]
    note = (
        f"The {len(top)} categories whose mean share moved over the widest span, of those that reach {percent(SMALLEST_SHARE)} "
        "in some window."
    )
    return Figure(finding, svg, note, NumberTable("Mean shares as numbers", ("category", *ends), rows))


def _areas(ends: list[str], shares: Shares) -> Figure:
    largest = sorted(shares, key=lambda c: (-fmean(shares[c]), c))[:STACKED]
    first, last = (sum(shares[c][i] for c in largest) for i in (0, -1))
    finding = (
        f"The {len(largest)} largest categories, led by {listed([category(c) for c in largest[:2]])}, went from "
        f"{percent(first)} to {percent(last)} of all interest"
    )
    stack = [(category(c), shares[c]) for c in largest]
    return Figure(
        finding, areas(ends, stack, "end of window", "mean share of interest", "Mean share of the largest categories per window")
    )
