"""What the mean of several models costs: scoring the same users with one model and with all, in turns, in one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from equipoise.inference.interface import BatchPredictor

TURNS = 3


@dataclass(frozen=True)
class Cost:
    """Time of all models ÷ time of one on the same rows: the middle of the turns, and the smallest and largest."""

    models: int
    rows: int
    ratio: float
    least: float
    most: float

    def told(self) -> str:
        """A sentence."""
        return (
            f"The mean of {self.models} models takes {self.ratio:.1f} times as long to score as one ({self.least:.1f} to "
            f"{self.most:.1f} in {TURNS} turns on {self.rows:,} users, measured in this run)."
        )


def in_turns(models: Sequence[BatchPredictor], rows: pa.RecordBatch, clock: Callable[[], float] = time.perf_counter) -> Cost:
    """One model, then all of them, TURNS times after a turn that only warms up; which one is alone changes from turn to turn."""

    def took(some: Sequence[BatchPredictor]) -> float:
        began = clock()
        for model in some:
            model.predict(rows)
        return clock() - began

    took(models)
    ratios = []
    for turn in range(TURNS):
        alone = took([models[turn % len(models)]])
        ratios.append(took(models) / alone)
    return Cost(len(models), rows.num_rows, float(np.median(ratios)), min(ratios), max(ratios))
