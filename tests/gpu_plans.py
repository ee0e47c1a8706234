"""Runs the jobs on the small generator in an explain-only session and writes what of every plan would run on a GPU: of every
table that a job writes, and of every frame that it asks for rows.

spark-submit --properties-file conf/spark/explain.conf --load-spark-defaults tests/gpu_plans.py WAREHOUSE OUT.json [JOB …]
"""

from __future__ import annotations

import importlib.util
import json
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql.classic.dataframe import DataFrame

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from equipoise.associations.baskets import baskets, categories, lines  # noqa: E402
from equipoise.feedback.exposures import Shown, answered, exposures, trials  # noqa: E402
from equipoise.job.features import STATE  # noqa: E402
from equipoise.job.run import run  # noqa: E402
from equipoise.spark.plan_check import PlanReport, explain, report  # noqa: E402
from equipoise.store import Store  # noqa: E402
from tests.pipeline import AS_OF, JOBS, SMALL  # noqa: E402

CHECKED = (*JOBS, "maintain_tables")
"""What else there is in jobs/ makes no frame of its own: it runs these, or trains, or serves tables."""

UNDATED = ("ingest_events", "maintain_tables")
OURS = (str(ROOT / "lib" / "equipoise"), str(ROOT / "jobs"))
STORE = ("/store/", "/job/run.py", "/job/context.py")
"""Where a frame that is asked for rows is the tables' own bookkeeping: checks before a write, the ledger."""

NO_PLANS = ("--training.max_steps=1",)
"""Training makes none."""

MOST_PER_LINE = 4
"""Of a line that asks often, in a loop over tables or users' groups, the first plans are explained."""


class Watch:
    """Explains each frame that a job writes or asks for rows, when it does."""

    def __init__(self) -> None:
        self.reports: list[PlanReport] = []
        self.job = ""
        self._asked: Counter[str] = Counter()
        self._busy = False

    def hear(self, where: str, frame: DataFrame) -> None:
        """One more plan, unless its line was heard often enough."""
        self._asked[f"{self.job} {where}"] += 1
        if self._busy or self._asked[f"{self.job} {where}"] > MOST_PER_LINE:
            return
        self._busy = True
        try:
            self.reports.append(report(f"{self.job} → {where}", explain(frame)))
        finally:
            self._busy = False

    def spark(self) -> None:
        """From now on every write and every action of a frame is heard. A cached frame hides the plan behind it; uncached, the
        whole way from the tables is explained."""
        written, watch = Store.replace, self

        def replace(store: Store, frame: Any, name: str, values: Any, **more: Any) -> Any:
            if name != STATE:  # one row that the driver made: there is no work in it
                watch.hear(name, frame)
            return written(store, frame, name, values, **more)

        Store.replace = replace  # type: ignore[method-assign]
        for hiding in ("persist", "cache", "localCheckpoint", "checkpoint"):
            setattr(DataFrame, hiding, lambda frame, *_, **__: frame)
        for name, asked in ACTIONS.items():
            setattr(DataFrame, name, self._heard(getattr(DataFrame, name), asked))

    def _heard(self, original: Callable[..., Any], asked: Callable[[DataFrame], DataFrame]) -> Callable[..., Any]:
        def action(frame: DataFrame, *given: Any, **more: Any) -> Any:
            if not self._busy and (where := _caller()):
                self.hear(where, asked(frame))
            return original(frame, *given, **more)

        return action


ACTIONS: dict[str, Callable[[DataFrame], DataFrame]] = {
    "collect": lambda frame: frame,
    "toPandas": lambda frame: frame,
    "toLocalIterator": lambda frame: frame,
    "count": lambda frame: frame.groupBy().count(),
    "isEmpty": lambda frame: frame.limit(1),
}
"""Methods that run a plan (first, head and take end in collect), and the plan that they run."""


def _caller() -> str | None:
    """File and line of ours that asked, or None where it was not a job's own code."""
    for frame in reversed(traceback.extract_stack()):
        if frame.filename.startswith(OURS):
            own = not any(part in frame.filename for part in STORE)
            return f"{Path(frame.filename).relative_to(ROOT)}:{frame.lineno}" if own else None
    return None


def main(warehouse: str, out: str, *jobs: str) -> None:
    """`jobs`: these alone, in a warehouse that the ones before them filled; all of them where none is named."""
    watch = Watch()
    watch.spark()
    for job in jobs or CHECKED:
        watch.job = job
        path = ROOT / "jobs" / f"{job}.py"
        spec = importlib.util.spec_from_file_location(job, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[job] = module
        spec.loader.exec_module(module)
        flags = ["--settings", "conf/simulated.toml", "--warehouse", warehouse, f"--report.path={warehouse}/report.html"]
        flags += [*SMALL, *NO_PLANS]
        code = run(module.JOB, module.run, [*flags, *([] if job in UNDATED else ["--as-of", AS_OF])], path)
        if code != 0:
            sys.exit(code)
    if not jobs:
        watch.job = "collect_feedback"
        watch.hear("ops.feedback, with a list", _feedback(warehouse))
        watch.job = "mine_associations"
        watch.hear("baskets", _baskets(warehouse))
    Path(out).write_text(json.dumps([asdict(r) for r in watch.reports], indent=1), encoding="utf-8")


def _feedback(warehouse: str) -> DataFrame:
    """The answers to the night's own lists: in a first night none was published, and nothing would be planned."""
    store, day = Store(SparkSession.active(), warehouse), date.fromisoformat(AS_OF)
    how = Shown(list_days=28, response_days=28, memory_days=364, channel="app")
    events, lists = store.read("silver.events"), store.read("gold.recommendations")
    shown = exposures(events, lists, [day], how, day + timedelta(days=56))
    answers = answered(shown, events, store.read("silver.item_categories"), how, day + timedelta(days=56))
    tried = trials(answers, origin=day, response_days=28).withColumnRenamed("category", "explored")
    joined = answers.join(tried, "user_id")
    assert isinstance(joined, DataFrame)
    return joined


def _baskets(warehouse: str) -> DataFrame:
    """Everything before FP-growth, which works on the baskets' rows as objects: of the rules only the hand-over would be seen."""
    store, day = Store(SparkSession.active(), warehouse), date.fromisoformat(AS_OF)
    named = categories(store.read("silver.items"), store.read("silver.item_categories"), ["none"])
    found = lines(store.read("silver.events"), named, as_of=day, days=182, bought=day - timedelta(days=1))
    frequent = found.groupBy("name").count().filter("count >= 3").select("name")
    held = baskets(found, frequent, most=60, seed=1)
    assert isinstance(held, DataFrame)
    return held


if __name__ == "__main__":
    main(*sys.argv[1:])
