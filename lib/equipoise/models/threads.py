"""How many threads boosted trees may take on a machine that others use too.

OpenMP's threads wait for one another by spinning, many times per tree. With one thread more than there are idle cores, each wait
lasts until the scheduler gives the missing one its turn: on two cores with three busy neighbours, 5,000 rows took over 50 s with
two threads and 2.3 s with one (alone: 0.7 s and 1.1 s).
"""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

FEW_ROWS = 20_000
"""Below this many rows one thread learns as fast as several do."""
LOOKS = 20
PAUSE = 0.01
RUNNABLE = Path("/proc/loadavg")


def idle_cores(runnable: Path = RUNNABLE) -> int:
    """Cores nobody else wants at this moment, at least 1: the mean of LOOKS looks, PAUSE seconds apart.

    Where the system does not say who is runnable, all cores this process may use.
    """
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    others = 0.0
    for _ in range(LOOKS):
        try:
            others += int(runnable.read_text().split()[3].split("/")[0]) - 1  # this process is one of them
        except (OSError, IndexError, ValueError):
            return mine
        time.sleep(PAUSE)
    return max(1, min(mine, (os.cpu_count() or 1) - round(others / LOOKS)))


def tree_threads(rows: int) -> AbstractContextManager[Any]:
    """A block in which trees of `rows` rows are learnt by as many threads as there are idle cores; few rows by one."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    limit: AbstractContextManager[Any] = threadpool_limits(1 if rows < FEW_ROWS else idle_cores(), user_api="openmp")
    return limit
