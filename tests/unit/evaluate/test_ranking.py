"""Ranking metrics against a plain loop and against ranx."""

from __future__ import annotations

import math

import numpy as np
import pytest

from equipoise.evaluate.metrics import ranking
from equipoise.evaluate.metrics.ranking import EMPTY

K = 10
ITEMS = 60


def _case(seed: int, users: int = 50) -> tuple[np.ndarray, list[set[int]], list[set[int]]]:
    """Lists (some short), truths (some longer than the list, none empty), histories."""
    rng = np.random.default_rng(seed)
    lists = np.stack([rng.permutation(ITEMS)[:K] for _ in range(users)]).astype(np.int64)
    for row in range(0, users, 7):
        lists[row, rng.integers(0, K) :] = EMPTY
    truths = [set(rng.permutation(ITEMS)[: rng.integers(1, 25)].tolist()) for _ in range(users)]
    histories = [set(rng.permutation(ITEMS)[: rng.integers(0, 30)].tolist()) for _ in range(users)]
    return lists, truths, histories


def _keys(sets: list[set[int]]) -> np.ndarray:
    return np.array([u * ITEMS + i for u, s in enumerate(sets) for i in s], dtype=np.int64)


def _slow_ndcg(listed: list[int], truth: set[int], places: int) -> float:
    gain = sum(1 / math.log2(p + 2) for p, item in enumerate(listed) if item in truth)
    return gain / sum(1 / math.log2(p + 2) for p in range(places))


def test_every_list_metric_equals_a_loop() -> None:
    lists, truths, histories = _case(1)
    hits = ranking.matches(lists, _keys(truths), ITEMS)
    known = ranking.matches(lists, _keys(histories), ITEMS)
    size = np.array([len(t) for t in truths])
    repeats = np.array([len(t & h) for t, h in zip(truths, histories, strict=True)])
    found = {
        "ndcg": ranking.ndcg(hits, size),
        "full": ranking.ndcg_full(hits, size),
        "recall": ranking.recall(hits, size),
        "precision": ranking.precision(hits),
        "hit": ranking.hit(hits),
        "repeat": ranking.recall_within(hits, known, repeats),
        "explore": ranking.recall_within(hits, ~known, size - repeats),
        "new_slots": ranking.precision_within(hits, ~known & (lists != EMPTY)),
    }
    for u, (truth, history) in enumerate(zip(truths, histories, strict=True)):
        listed = [i for i in lists[u].tolist() if i != EMPTY]
        good = [i for i in listed if i in truth]
        new = [i for i in listed if i not in history]
        slow = {
            "ndcg": _slow_ndcg(listed, truth, min(K, len(truth))),
            "full": _slow_ndcg(listed, truth, len(truth)),
            "recall": len(good) / len(truth),
            "precision": len(good) / K,
            "hit": float(bool(good)),
            "repeat": len(set(good) & history) / len(truth & history) if truth & history else math.nan,
            "explore": len(set(good) - history) / len(truth - history) if truth - history else math.nan,
            "new_slots": sum(i in truth for i in new) / len(new) if new else math.nan,
        }
        for name, value in slow.items():
            assert found[name][u] == pytest.approx(value, abs=1e-12, nan_ok=True), (name, u)


@pytest.mark.slow
def test_ndcg_recall_precision_and_hit_equal_ranx() -> None:
    ranx = pytest.importorskip("ranx")
    lists, truths, _ = _case(2)
    lists = np.where(lists == EMPTY, ITEMS + np.arange(K), lists)  # ranx has no empty places: items nobody wants
    hits = ranking.matches(lists, np.array([u * 2 * ITEMS + i for u, s in enumerate(truths) for i in s]), 2 * ITEMS)
    size = np.array([len(t) for t in truths])
    qrels = ranx.Qrels({f"u{u:02d}": {f"i{i}": 1 for i in t} for u, t in enumerate(truths)})
    run = ranx.Run({f"u{u:02d}": {f"i{i}": float(K - p) for p, i in enumerate(row)} for u, row in enumerate(lists.tolist())})
    theirs = ranx.evaluate(qrels, run, ["ndcg@10", "recall@10", "precision@10", "hit_rate@10"], return_mean=False)
    ours = {
        "ndcg@10": ranking.ndcg(hits, size),
        "recall@10": ranking.recall(hits, size),
        "precision@10": ranking.precision(hits),
        "hit_rate@10": ranking.hit(hits),
    }
    for name, values in ours.items():
        assert values == pytest.approx(theirs[name], abs=1e-12), name


def test_the_two_ndcg_forms_differ_only_for_truths_longer_than_the_list() -> None:
    hits = np.ones((2, K), dtype=bool)
    size = np.array([K, 2 * K])
    assert ranking.ndcg(hits, size) == pytest.approx([1.0, 1.0])
    full = ranking.ndcg_full(hits, size)
    assert full[0] == pytest.approx(1.0)
    assert full[1] == pytest.approx(_slow_ndcg(list(range(K)), set(range(K)), 2 * K))


def test_empty_truth_is_undefined_and_coverage_counts_distinct_codes() -> None:
    none = np.zeros((1, K), dtype=bool)
    zero = np.array([0])
    assert np.isnan(ranking.ndcg(none, zero)[0])
    assert np.isnan(ranking.recall(none, zero)[0])
    assert ranking.coverage(np.array([[1, 2, EMPTY], [2, 3, EMPTY]]), 12) == pytest.approx(3 / 12)
