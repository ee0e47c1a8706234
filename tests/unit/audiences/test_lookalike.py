"""Likeness to a list: chances told of everybody, though the list and the others were sampled apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from equipoise.audiences.lookalike import Drawn, Likeness, learnt
from equipoise.spark.draw import PER_MILLION


def chances(model: Likeness, x: np.ndarray) -> np.ndarray:
    p: np.ndarray = 1.0 / (1.0 + np.exp(-((x - model.mean) / model.scale @ model.weight + model.intercept)))
    return p


def test_sampling_moves_neither_the_chances_nor_what_is_found() -> None:
    """Of 60,000 users 1.6 % are of a planted seed: learnt from a third of these and a twentieth of the others, as from all."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60_000, 2))
    truth = 1.0 / (1.0 + np.exp(-(x @ [1.0, -0.5] - 4.7)))
    yes = rng.random(len(x)) < truth
    rows = pd.DataFrame({"x": list(x), "is_seed": yes})
    drawn = Drawn(0.33, 0.05)
    kept = rng.random(len(x)) < np.where(yes, drawn.seed, drawn.others)
    whole, part = learnt(rows, 1), learnt(rows[kept].reset_index(drop=True), 1, drawn)
    assert chances(whole, x).mean() == pytest.approx(yes.mean(), rel=0.01)
    assert chances(part, x).mean() == pytest.approx(yes.mean(), rel=0.15), "not 6.6 times as much"
    assert np.quantile(chances(part, x) / truth, (0.05, 0.95)) == pytest.approx([1.0, 1.0], abs=0.5)
    assert part.found == pytest.approx(whole.found, abs=0.08)
    assert whole.found == pytest.approx(yes[np.argsort(-truth)][:6_000].sum() / yes.sum(), abs=0.08)


def test_at_most_so_many_are_drawn_and_all_where_there_are_fewer() -> None:
    assert Drawn.of(10, 40, 1000) == Drawn(1.0, 1.0)
    assert Drawn.of(200_000, 1_000_000, 50_000) == Drawn(0.25, 0.05)
    assert Drawn.of(3, 10**12, 1) == Drawn(333_333 / PER_MILLION, 1 / PER_MILLION)
