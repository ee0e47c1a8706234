"""Work, a pause, work again: prints how many executors there were in each, as JSON."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from pyspark.sql import SparkSession

WAIT_SECONDS = 120.0
spark = SparkSession.builder.appName("waves").getOrCreate()
context: Any = spark._jsc.sc()


def executors() -> int:
    """Registered executors; the driver is in the list too."""
    return int(context.getExecutorMemoryStatus().size()) - 1


def work() -> int:
    """Most executors that there were while four rounds of ten tasks of half a second ran."""
    seen = 0
    for _ in range(4):
        spark.sparkContext.parallelize(range(10), 10).foreach(lambda _: time.sleep(0.5))
        seen = max(seen, executors())
    return seen


def fewest() -> int:
    """Executors once all but the last went, or what is left when the wait is over."""
    until = time.monotonic() + WAIT_SECONDS
    while executors() > 1 and time.monotonic() < until:
        time.sleep(1)
    return executors()


told = {"work": work(), "pause": fewest(), "work again": work()}
sys.stdout.write(f"\n{json.dumps(told)}\n")
spark.stop()
