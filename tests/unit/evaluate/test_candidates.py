"""Recall of sources of candidates against sets of a plain loop."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from equipoise.evaluate.table import rows
from equipoise.evaluate.tasks.candidates import comparison
from equipoise.evaluate.tasks.next_basket import next_basket

ORIGIN = date(2017, 11, 6)
USERS, ITEMS = 12, 30


def test_each_source_is_measured_alone_and_left_out() -> None:
    rng = np.random.default_rng(3)
    user, item, day = rng.integers(0, USERS, 600), rng.integers(0, ITEMS, 600), rng.integers(0, 20, 600)
    basket = next_basket(user, item, day, 12, 20, USERS, ITEMS)
    sources = {
        name: np.unique(rng.integers(0, USERS * ITEMS, size)) for name, size in (("history", 90), ("cosine", 60), ("rules", 40))
    }
    found = comparison(basket, sources, ORIGIN)
    assert found is not None
    told = {(r.method, r.metric): r.value for r in rows(found, resamples=10, seed=1)}
    keys = {name: set(s.tolist()) for name, s in sources.items()}
    sets = {"all": set.union(*keys.values()), **keys}
    sets |= {f"without {n}": set.union(*(k for m, k in keys.items() if m != n)) for n in keys}
    past = {int(u) * ITEMS + int(i) for u, i, d in zip(user, item, day, strict=True) if d < 12}
    for name, held in sets.items():
        recall, explore, number = [], [], []
        for u in basket.tested:
            truth = {int(t) for t in basket.truth if t // ITEMS == u}
            mine = {k for k in held if k // ITEMS == u}
            recall.append(len(truth & mine) / len(truth))
            if truth - past:
                explore.append(len((truth - past) & mine) / len(truth - past))
            number.append(len(mine))
        assert told[name, "recall"] == pytest.approx(np.mean(recall)), name
        assert told[name, "recall_explore"] == pytest.approx(np.mean(explore)), name
        assert told[name, "candidates"] == pytest.approx(np.mean(number)), name


def test_one_source_has_nothing_to_be_left_out_of_and_none_is_nothing() -> None:
    basket = next_basket(np.array([0, 0, 0]), np.array([1, 2, 1]), np.array([1, 2, 9]), 5, 20, 1, 4)
    found = comparison(basket, {"history": np.array([1, 2]), "rules": np.array([], dtype=np.int64)}, ORIGIN)
    assert found is not None
    assert [m.name for m in found.methods] == ["all", "history"]
    assert comparison(basket, {"history": np.array([], dtype=np.int64)}, ORIGIN) is None
