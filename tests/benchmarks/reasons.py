"""Whether the evidence that a reason names is what moves the item's value: it is taken away, and as many other visits of theirs.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults --driver-memory 3g tests/benchmarks/reasons.py \\
    --settings conf/demo.toml --as-of 2017-11-06     (after make demo)
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from equipoise.recommend.learn import NEXT, ValueModel
from equipoise.recommend.pairs import FEATURES, featured, histories_at, items_at
from equipoise.recommend.rules import shown_only
from equipoise.recommend.values import Inputs, Limits, Valuation, matrix
from equipoise.settings import chosen, parse_command_line
from equipoise.store import Store

OF_ITEM, OF_CATEGORY = ("bought_before", "looked_before"), ("popular_in_category",)
"""Reasons whose evidence is visits: to the item itself, or to its main category. The others name a vector or a prediction."""

SAMPLE, SEED, RESAMPLES = 600, 1, 2000
KINDS = ("whole", "named", "random")


def deletions(visited: DataFrame, mains: DataFrame, listed: DataFrame, as_of: date, seed: int = SEED) -> DataFrame:
    """FEATURES of every listed row three times: with the whole history, without the evidence that the reason names, and without
    as many of the user's other visits, drawn by hash (all of them where there are fewer).

    Args:
        visited: see `history.visits`, before as_of.
        mains: see `pairs.main_categories`.
        listed: n (a number of its own), user_id, item_id, reason_code, of OF_ITEM and OF_CATEGORY.

    Returns:
        n, reason_code, kind (of KINDS), removed (visits that are named), FEATURES.
    """
    cut = F.lit(as_of).alias("cut")
    asked = listed.join(mains.withColumnRenamed("category", "about"), "item_id").withColumnRenamed("item_id", "asked")
    placed = visited.join(mains, "item_id").join(asked, "user_id")
    of_item = F.col("reason_code").isin(*OF_ITEM)
    named = F.when(of_item, F.col("item_id") == F.col("asked")).otherwise(F.col("category") == F.col("about"))
    placed = placed.withColumn("is_named", named)
    drawn = Window.partitionBy("n", "is_named").orderBy(F.xxhash64("item_id", "event_date", F.lit(seed)), "item_id", "event_date")
    placed = placed.withColumn("nth", F.row_number().over(drawn))
    placed = placed.withColumn("removed", F.sum(F.col("is_named").cast("int")).over(Window.partitionBy("n")))
    without = {
        "whole": F.lit(True),
        "named": ~F.col("is_named"),
        "random": F.col("is_named") | (F.col("nth") > F.col("removed")),
    }
    parts = [placed.filter(keep).withColumn("kind", F.lit(kind)) for kind, keep in without.items()]
    cloned = parts[0].unionByName(parts[1]).unionByName(parts[2])
    name = F.concat_ws("|", "kind", "n")
    histories = histories_at(cloned.withColumn("user_id", name).select(*visited.columns), mains, [as_of])
    rows = placed.select("n", "asked", "reason_code", "removed").distinct()
    every = rows.withColumn("kind", F.explode(F.array(*[F.lit(k) for k in KINDS]))).withColumn("user_id", name)
    candidates = every.select("n", "reason_code", "kind", "removed", "user_id", F.col("asked").alias("item_id"), cut)
    return featured(candidates, histories, mains, items_at(histories_at(visited, mains, [as_of])))


def told(rows: pd.DataFrame, model: ValueModel) -> pd.DataFrame:
    """Per listed row: n, reason_code, removed, and the value (p_next_trip) of each of KINDS."""
    valued = rows.assign(p=model.probabilities(matrix(rows))[NEXT])
    wide = valued.pivot_table(index=["n", "reason_code", "removed"], columns="kind", values="p").reset_index()
    return wide[["n", "reason_code", "removed", *KINDS]]


def moved(found: pd.DataFrame) -> NDArray[np.bool_]:
    """(n,) whether the named evidence lowers the value more than the random one."""
    return np.asarray((found["whole"] - found["named"]) > (found["whole"] - found["random"]))


def _interval(values: NDArray[np.float64]) -> str:
    rng = np.random.default_rng(SEED)
    means = values[rng.integers(0, len(values), (RESAMPLES, len(values)))].mean(axis=1)
    return f"[{np.quantile(means, 0.025):.3f}, {np.quantile(means, 0.975):.3f}]"


def main(say: Callable[[str], object]) -> None:
    """Measures a warehouse that has gold.recommendations of the date, and prints a table."""
    asked = parse_command_line(sys.argv[1:], needs_as_of=True)
    s, as_of = asked.settings, asked.as_of
    assert as_of is not None
    spark = SparkSession.builder.appName("reasons").getOrCreate()
    store = Store(spark, str(Path(s.warehouse).resolve()))

    def here(name: str) -> DataFrame:
        return store.read(name).filter(F.col("as_of") == F.lit(as_of))

    inputs = Inputs(
        store.read("silver.events").filter(F.col("event_date") < F.lit(as_of)),
        shown_only(store.read("silver.item_categories"), store.read("silver.items"), s.recommend.exclude_categories),
        here("gold.user_interests"),
        here("feature.user_vectors"),
        store.read("feature.item_vectors"),
    )
    limits = Limits(**chosen(s.recommend, Limits), **chosen(s.interests, Limits), horizon_days=s.segments.horizon_days)
    valuation = Valuation(inputs, limits, as_of, 0, 0)
    model, learnt = valuation.learnt()
    say(f"learnt from {learnt:,} rows")
    every = here("gold.recommendations").filter(F.col("reason_code").isin(*OF_ITEM, *OF_CATEGORY))
    share = here("gold.recommendations").groupBy("reason_code").count().toPandas().set_index("reason_code")["count"]
    by_hash = Window.partitionBy("reason_code").orderBy(F.xxhash64("user_id", "item_id", F.lit(SEED)))
    sample = every.withColumn("nth", F.row_number().over(by_hash)).filter(F.col("nth") <= SAMPLE)
    listed = sample.select(F.concat_ws("|", "reason_code", "nth").alias("n"), "user_id", "item_id", "reason_code")
    frame = deletions(valuation.visited, valuation.mains, listed.localCheckpoint(), as_of)
    plain = [F.col(n).cast("float").alias(n) for n in FEATURES]
    rows = frame.select("n", "reason_code", "kind", "removed", *plain).toPandas()
    found = told(rows, model)
    say(f"reasons of all rows: {dict(share.sort_values(ascending=False))}")
    say("| reason | rows tried | named lowers more | value before | without the named | without as many others |")
    say("|---|---|---|---|---|---|")
    bare = found["removed"] == 0
    say(
        f"{int(bare.sum())} rows name evidence that has no visit, such as a category that is popular and not bought yet: left out"
    )
    for code, one in found[~bare].groupby("reason_code"):
        hit = moved(one).astype(np.float64)
        means = " | ".join(f"{one[k].mean():.4f}" for k in KINDS)
        say(f"| {code} | {len(one)} | {hit.mean():.3f} {_interval(hit)} | {means} |")


if __name__ == "__main__":
    main(lambda line: sys.stdout.write(f"{line}\n"))
