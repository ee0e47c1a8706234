"""Locks of a slice and of a whole warehouse: who is refused, who waits, and what a dead holder leaves."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from equipoise.errors import ConflictError
from equipoise.job.lock import slice_lock


def test_the_same_slice_is_refused_and_another_is_not(tmp_path: Path) -> None:
    with slice_lock(f"file://{tmp_path}", "score", "2017-11-06"):
        with (
            pytest.raises(ConflictError, match=r"score 2017-11-06: another run works on this slice \(process \d+\)"),
            slice_lock(str(tmp_path), "score", "2017-11-06"),
        ):
            pass
        with slice_lock(str(tmp_path), "score", "2017-11-07"), slice_lock(str(tmp_path), "features", "2017-11-06"):
            pass


def test_where_a_store_keeps_one_writers_commits_another_job_waits_and_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    order: list[str] = []
    waits = threading.Event()

    def told(text: str) -> None:
        said.append(text)
        waits.set()

    def second() -> None:
        with slice_lock(str(tmp_path), "features", "2017-11-06", alone=told):
            order.append("second")

    with slice_lock(str(tmp_path), "score", "2017-11-06", alone=said.append):
        other = threading.Thread(target=second)
        other.start()
        assert waits.wait(10)
        order.append("first")
    other.join(10)
    assert order == ["first", "second"] and len(said) == 1 and said[0].startswith("waiting for process ")


def test_the_same_slice_is_refused_there_too(tmp_path: Path) -> None:
    with (
        slice_lock(str(tmp_path), "score", "d", alone=print),
        pytest.raises(ConflictError),
        slice_lock(str(tmp_path), "score", "d", alone=print),
    ):
        pass


def test_without_a_folder_there_is_no_lock(tmp_path: Path) -> None:
    entered = 0
    with slice_lock("hdfs://name/w", "score", "d"), slice_lock("hdfs://name/w", "score", "d"):
        entered += 1
    assert entered == 1, "the second came in while the first was held"
