"""How many threads trees may take: those of cores that nobody else wants."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_info, threadpool_limits  # type: ignore[import-untyped]

from equipoise.models import threads


@pytest.mark.parametrize(("runnable", "left"), [(1, 4), (2, 3), (4, 1), (40, 1)])
def test_cores_that_others_want_are_left_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runnable: int, left: int
) -> None:
    load = tmp_path / "loadavg"
    load.write_text(f"9.13 8.00 7.10 {runnable}/345 1122\n")
    monkeypatch.setattr(threads, "PAUSE", 0.0)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    assert threads.idle_cores(load) == left


@pytest.mark.parametrize("text", ["", "9.13 8.00 7.10 several 1122"])
def test_a_system_that_does_not_say_gives_every_core(tmp_path: Path, text: str) -> None:
    load = tmp_path / "loadavg"
    load.write_text(text)
    assert threads.idle_cores(load) == threads.idle_cores(tmp_path / "none") == len(os.sched_getaffinity(0))


def test_few_rows_are_learnt_by_one_thread_and_openmp_is_given_back() -> None:
    def openmp() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp"}

    before = openmp()
    with threads.tree_threads(threads.FEW_ROWS - 1):
        assert openmp() == {1}
    assert openmp() == before


def test_trees_are_the_same_whatever_the_threads() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(3_000, 6))
    y = x[:, 0] + rng.normal(size=3_000) > 0
    told = []
    for limit in (1, 2):
        with threadpool_limits(limit, user_api="openmp"):
            told.append(HistGradientBoostingClassifier(max_iter=20, random_state=1).fit(x, y).predict_proba(x))
    np.testing.assert_array_equal(*told)
