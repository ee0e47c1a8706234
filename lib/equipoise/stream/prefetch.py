"""A bounded thread that works ahead of its consumer, and ends with it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
_POLL_SECONDS = 0.2


@dataclass
class _End:
    """Last entry of the queue, with what stopped the producer, if something did."""

    error: BaseException | None


class Prefetcher(Generic[T]):
    """The items of `source`, at most `depth` of them made ahead in one thread; same items, same order, same error.

    `close` ends the thread, also in the middle; the thread closes `source`, so that generators run their `finally`.
    """

    def __init__(self, source: Iterator[T], depth: int) -> None:
        self._source = source
        self._queue: queue.Queue[T | _End] = queue.Queue(maxsize=depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="example-stream", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        while True:
            entry = self._queue.get()
            if isinstance(entry, _End):
                self._thread.join()
                if entry.error is not None:
                    raise entry.error
                return
            yield entry

    def close(self) -> None:
        """Stops and joins the thread."""
        self._stop.set()
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
        self._thread.join()

    def _work(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._source:
                if not self._put(item):
                    break
        except BaseException as caught:  # handed to the consumer, whatever it is
            error = caught
        finally:
            close = getattr(self._source, "close", None)
            if close is not None:
                close()
            self._put(_End(error))

    def _put(self, entry: T | _End) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(entry, timeout=_POLL_SECONDS)
                return True
            except queue.Full:
                continue
        return False
