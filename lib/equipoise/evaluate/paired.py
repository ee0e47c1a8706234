"""Rows of gold.evaluation compared in pairs, at one origin or over several, by the resamples that they keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from equipoise.evaluate.arrays import Floats
from equipoise.evaluate.bootstrap import interval
from equipoise.evaluate.table import EVERYBODY

SEED_SD = "_seed_sd"


@dataclass(frozen=True)
class Asked:
    """Which figure: a task's metric at a cut-off (None: whichever there is), over a group of users."""

    task: str
    metric: str
    cutoff: int | None = None
    group: str = EVERYBODY
    split: str = "test"


@dataclass(frozen=True)
class Told:
    """A figure or a difference, its 95 % interval over users (None: none can be told), the rows of users behind it, the training
    seeds that it averages and their standard deviation."""

    value: float
    low: float | None
    high: float | None
    n: int
    seeds: int | None = None
    seed_sd: float | None = None


class Figures:
    """Rows of gold.evaluation of one or several as-of dates, each date's own window alone: origin = as_of."""

    def __init__(self, evaluation: pd.DataFrame) -> None:
        own = evaluation["origin"].astype(str) == evaluation["as_of"].astype(str)
        self._rows = evaluation[own] if len(evaluation) else evaluation

    @property
    def origins(self) -> list[str]:
        """Origins there are, the earliest first."""
        return sorted(set(self._rows["origin"].astype(str)))

    def methods(self, asked: Asked, origin: str | None = None) -> list[str]:
        """Methods that have the figure, in order of name."""
        rows = self._of(asked, asked.metric)
        return sorted(set((rows if origin is None else rows[rows["origin"] == origin])["method"]))

    def told(self, asked: Asked, method: str, origins: Sequence[str]) -> Told | None:
        """The mean of a method's figure over the origins; None where one of them lacks it."""
        found = self._each(asked, asked.metric, method, origins)
        if found is None:
            return None
        spread = self._each(asked, asked.metric + SEED_SD, method, origins)
        sd = float(spread["value"].mean()) if spread is not None else None
        seeds = found["seeds"].min()
        ends = self._ends(found)
        return Told(float(found["value"].mean()), *ends, int(found["n"].sum()), None if pd.isna(seeds) else int(seeds), sd)

    def difference(self, asked: Asked, method: str, other: str, origins: Sequence[str]) -> Told | None:
        """A method's figure less another's, the mean over the origins, both on the same resamples of users."""
        mine, theirs = (self._each(asked, asked.metric, m, origins) for m in (method, other))
        if mine is None or theirs is None:
            return None
        draws = [_draws(part) for part in (mine, theirs)]
        marks = {*mine["resampled"], *theirs["resampled"]}
        paired = draws[0] is not None and draws[1] is not None and len(marks) == 1
        low, high = (interval(draws[0] - draws[1]) if paired else None) or (None, None)  # type: ignore[operator]
        return Told(float(mine["value"].mean() - theirs["value"].mean()), low, high, int(mine["n"].sum()))

    def _of(self, asked: Asked, metric: str) -> pd.DataFrame:
        r = self._rows
        found = r[(r["task"] == asked.task) & (r["metric"] == metric) & (r["user_group"] == asked.group)]
        found = found[found["split"] == asked.split]
        return found if asked.cutoff is None else found[found["cutoff"] == asked.cutoff]

    def _each(self, asked: Asked, metric: str, method: str, origins: Sequence[str]) -> pd.DataFrame | None:
        """One row per origin, in their order."""
        rows = self._of(asked, metric)
        rows = rows[rows["method"] == method]
        found = [rows[rows["origin"] == origin] for origin in origins]
        return pd.concat([f.iloc[:1] for f in found]) if found and all(len(f) for f in found) else None

    def _ends(self, rows: pd.DataFrame) -> tuple[float | None, float | None]:
        if len(rows) == 1:
            low, high = rows["ci_low"].iloc[0], rows["ci_high"].iloc[0]
            return (None, None) if pd.isna(low) or pd.isna(high) else (float(low), float(high))
        draws = _draws(rows)
        return (interval(draws) if draws is not None else None) or (None, None)


def _draws(rows: pd.DataFrame) -> Floats | None:
    """(resamples,) mean over the rows, which must be of one mark; None where they keep none."""
    marks = set(rows["resampled"])
    if len(marks) != 1 or pd.isna(next(iter(marks))):
        return None
    mean: Floats = np.mean([np.asarray(d, dtype=np.float64) for d in rows["draws"]], axis=0)
    return mean
