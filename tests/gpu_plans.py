"""Runs the jobs on the small generator in an explain-only session and writes what of every table's plan would run on a GPU.

spark-submit --properties-file conf/spark/explain.conf --load-spark-defaults tests/gpu_plans.py WAREHOUSE OUT.json
"""

from __future__ import annotations

import importlib.util
import json
import sys
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

CHECKED = (
    "ingest_events",
    "build_features",
    "mine_associations",
    "score_users",
    "segment_users",
    "track_migration",
    "profile_users",
    "build_audiences",
    "collect_feedback",
    "value_items",
    "recommend_items",
)


def main(warehouse: str, out: str) -> None:
    reports: list[PlanReport] = []
    original = Store.replace

    def watched(self: Store, frame: Any, name: str, values: Any, **more: Any) -> Any:
        if name != STATE:  # one row that the driver made: there is no work in it
            reports.append(report(f"{more['job']} → {name}", explain(frame)))
        return original(self, frame, name, values, **more)

    Store.replace = watched  # type: ignore[method-assign]
    # A cached frame hides the plan behind it; uncached, the whole way from the tables is explained.
    DataFrame.persist = lambda self, *_: self  # type: ignore[method-assign,assignment]
    DataFrame.cache = lambda self: self  # type: ignore[method-assign]
    for job in JOBS[: JOBS.index(CHECKED[-1]) + 1]:
        path = ROOT / "jobs" / f"{job}.py"
        spec = importlib.util.spec_from_file_location(job, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[job] = module
        spec.loader.exec_module(module)
        dated = [] if job == "ingest_events" else ["--as-of", AS_OF]
        code = run(module.JOB, module.run, ["--settings", "conf/simulated.toml", "--warehouse", warehouse, *dated, *SMALL], path)
        if code != 0:
            sys.exit(code)
    reports.append(report("collect_feedback → ops.feedback, with a list", explain(_feedback(warehouse))))
    reports.append(report("mine_associations → baskets", explain(_baskets(warehouse))))
    Path(out).write_text(json.dumps([asdict(r) | {"share": r.share} for r in reports], indent=1), encoding="utf-8")


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
