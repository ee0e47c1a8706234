"""What each part of a user's profile is worth for the interests of the next window: the vector of the text (U), the explicit
features (H), the decayed category shares (S), beside what is everybody's, which all of them have.

Held-out interests of held-out users: a ridge from the parts to the visits of every category in the window after as-of, fitted on
four fifths of the users and asked for the last; its penalty, and how much less the parts after the first count, are chosen on a
fifth of those. Precision and recall of the ten best, means over who visits; the paired difference from S, 95 % over them.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults --driver-memory 3g tests/benchmarks/ablation.py \\
    --settings conf/demo.toml --as-of 2017-11-06     (after make demo)
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from equipoise.settings import parse_command_line
from equipoise.store import Store
from equipoise.tables.feature import H_FEATURES
from equipoise.tables.vocabulary import KNOWING_EVENT_TYPES, UNKNOWN

Floats = NDArray[np.float64]
K, FOLDS, SEED, RESAMPLES = 10, 5, 1, 2000
PENALTIES, SCALES = (100.0, 1000.0, 3000.0, 10_000.0), (0.1, 0.3, 1.0)
BASE = "S"


def predicted(parts: Sequence[Floats], y: Floats, active: NDArray[np.bool_], seed: int = SEED) -> Floats:
    """(n, C) of every user, told by a ridge that did not see the user's row of y; only active users are learnt from."""
    fold = np.random.default_rng(seed).permutation(len(y)) % FOLDS
    out = np.zeros_like(y)
    for held in range(FOLDS):
        learn, tune = (fold != held) & active, (fold == (held + 1) % FOLDS) & active
        tried = []
        for less in SCALES if len(parts) > 1 else (1.0,):
            x = np.concatenate([_standard(p, learn) * (less if n else 1.0) for n, p in enumerate(parts)], axis=1)
            for penalty in PENALTIES:
                loss = float(((_ridge(x[learn & ~tune], y[learn & ~tune], penalty, x[tune]) - y[tune]) ** 2).mean())
                tried.append((loss, penalty, less))
        _, penalty, less = min(tried)
        x = np.concatenate([_standard(p, learn) * (less if n else 1.0) for n, p in enumerate(parts)], axis=1)
        out[fold == held] = _ridge(x[learn], y[learn], penalty, x[fold == held])
    return out


def hits(p: Floats, y: Floats, k: int = K) -> tuple[Floats, Floats]:
    """(n,) precision and recall of the k best categories of each user with a visit; ties by place."""
    best = np.argsort(-p, axis=1, kind="stable")[:, :k]
    hit = np.take_along_axis(y, best, axis=1).sum(axis=1)
    return hit / k, hit / y.sum(axis=1)


def _standard(x: Floats, learn: NDArray[np.bool_]) -> Floats:
    scale = x[learn].std(axis=0)
    found: Floats = (x - x[learn].mean(axis=0)) / np.where(scale > 1e-6, scale, 1.0)
    return found


def _ridge(x: Floats, y: Floats, penalty: float, asked: Floats) -> Floats:
    base = y.mean(axis=0)
    found: Floats = asked @ np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ (y - base)) + base
    return found


def _wide(rows: pd.DataFrame, users: pd.Index[str], categories: pd.Index[str], value: str) -> Floats:
    out = np.zeros((len(users), len(categories)))
    out[users.get_indexer(rows["user_id"]), categories.get_indexer(rows["category"])] = rows[value].to_numpy(dtype=np.float64)
    return out


def main(say: Callable[[str], object]) -> None:
    """Measures a warehouse whose events go on for a window after as-of, and prints a table."""
    asked = parse_command_line(sys.argv[1:], needs_as_of=True)
    s, as_of = asked.settings, asked.as_of
    assert as_of is not None
    store = Store(SparkSession.builder.appName("ablation").getOrCreate(), str(Path(s.warehouse).resolve()))

    def here(name: str) -> DataFrame:
        return store.read(name).filter(F.col("as_of") == F.lit(as_of))

    profile = here("feature.user_profile").orderBy("user_id").toPandas()
    users = pd.Index(profile["user_id"])
    vectors = here("feature.user_vectors").select("user_id", "vector").orderBy("user_id").toPandas()
    shares = here("gold.user_interests").filter("observed_share > 0").select("user_id", "category", "observed_share").toPandas()
    until = as_of + timedelta(days=s.windows.days)
    after = store.read("silver.events").filter((F.col("event_date") >= F.lit(as_of)) & (F.col("event_date") < F.lit(until)))
    visits = (
        after.filter(F.col("event_type").isin(*KNOWING_EVENT_TYPES))
        .join(store.read("silver.item_categories").filter(F.col("category") != UNKNOWN), ["source", "item_id"])
        .select("user_id", "category").distinct().withColumn("visit", F.lit(1.0)).toPandas()
    )  # fmt: skip
    visits = visits[visits["user_id"].isin(users)]
    categories = pd.Index(sorted({*shares["category"], *visits["category"]}))
    y = _wide(visits, users, categories, "visit")
    parts = {
        "U": np.stack(vectors["vector"].to_list()).astype(np.float64),
        "H": np.log1p(np.maximum(profile[[name for name, _ in H_FEATURES]].to_numpy(dtype=np.float64), 0.0)),
        "S": np.sqrt(_wide(shares, users, categories, "observed_share")),
    }
    active = y.sum(axis=1) > 0
    say(f"{len(users):,} users, {int(active.sum()):,} with a visit in {s.windows.days} days, {len(categories)} categories, @{K}")
    found = {"everybody alike": hits(predicted([np.zeros((len(y), 1))], y, active)[active], y[active])}
    for name in ("U", "H", "U+H", "S", "S+H", "S+U", "S+U+H"):
        found[name] = hits(predicted([parts[p] for p in name.split("+")], y, active)[active], y[active])
    rng = np.random.default_rng(SEED)
    drawn = rng.integers(0, int(active.sum()), (RESAMPLES, int(active.sum())))
    say("| from | precision | recall | recall minus that of S |")
    say("|---|---|---|---|")
    for name, (precision, recall) in found.items():
        apart = recall - found[BASE][1]
        low, high = np.quantile(apart[drawn].mean(axis=1), (0.025, 0.975))
        say(f"| {name} | {precision.mean():.4f} | {recall.mean():.4f} | {apart.mean():+.4f} [{low:+.4f}, {high:+.4f}] |")


if __name__ == "__main__":
    main(lambda line: sys.stdout.write(f"{line}\n"))
