"""Lines that say how far a worker is; never on its way into data."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Rows done in this worker, told on standard error at most every few seconds."""

    def __init__(
        self,
        label: str,
        expected: int | None = None,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._label = label
        self._expected = f" of about {expected:,}" if expected else ""
        self._stream = stream or sys.stderr
        self._clock = clock
        self._started = self._told = clock()
        self._done = 0

    def add(self, rows: int) -> None:
        """Counts rows, and says so when the last line is old enough."""
        self._done += rows
        now = self._clock()
        if now - self._told >= SECONDS_BETWEEN_LINES:
            self._told = now
            speed = self._done / (now - self._started)
            self._stream.write(f"[{self._label}] {self._done:,}{self._expected} in this worker, {speed:,.0f} a second\n")
            self._stream.flush()
