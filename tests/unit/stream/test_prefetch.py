from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from equipoise.stream.prefetch import Prefetcher


def test_same_items_in_the_same_order() -> None:
    assert list(Prefetcher(iter(range(1000)), depth=3)) == list(range(1000))


def test_works_ahead_by_its_depth_and_no_more() -> None:
    made = []
    blocked = threading.Event()

    def source() -> Iterator[int]:
        for i in range(10):
            made.append(i)
            if i == 3:
                blocked.set()
            yield i

    ahead = Prefetcher(source(), depth=2)
    assert not blocked.wait(0.5)
    assert made == [0, 1, 2]  # two in the queue, one in the hand
    ahead.close()


def test_errors_reach_the_consumer_after_the_items_before_them() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise KeyError("lost")

    seen = []
    with pytest.raises(KeyError, match="lost"):
        for item in Prefetcher(source(), depth=2):
            seen.append(item)
    assert seen == [1]


def test_close_in_the_middle_ends_the_thread_and_the_source() -> None:
    ended = threading.Event()

    def source() -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            ended.set()

    ahead = Prefetcher(source(), depth=2)
    assert next(iter(ahead)) == 0
    ahead.close()
    assert ended.is_set()
    assert "example-stream" not in {t.name for t in threading.enumerate()}
