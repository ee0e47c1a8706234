"""Groups of users with like interests: K-means on the square roots of their category shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from equipoise.spark.draw import drawn, millionths
from equipoise.tables.vocabulary import UNKNOWN

MOST_USERS = 100_000
MOST_CATEGORIES = 200
STARTS = 5


def interest_groups(interests: DataFrame, *, k: int, seed: int, most_users: int = MOST_USERS) -> DataFrame:
    """One row per user with an observed share: user_id, interest_group 1..k by size; nothing for fewer than k users.

    On square roots of shares Euclid's distance is Hellinger's between users (Rao 1995). Centres are those of scikit-learn's
    K-means on a seeded sample of about `most_users`, on the driver in the order of their ids; everybody goes to the nearest one,
    a tie to the first.

    Args:
        interests: gold.user_interests of one as_of; the MOST_CATEGORIES with most observed share count.
    """
    owned = interests.filter((F.col("observed_share") > 0) & (F.col("category") != UNKNOWN)).select(
        "user_id", "category", F.sqrt("observed_share").alias("root")
    )
    users = owned.select("user_id").distinct().count()
    spark = interests.sparkSession
    if users < k:
        return spark.createDataFrame([], "user_id string, interest_group int")
    total = F.sum(F.col("root") * F.col("root"))
    largest = owned.groupBy("category").agg(total.alias("total")).orderBy(F.desc("total"), "category").limit(MOST_CATEGORIES)
    names = sorted(str(r["category"]) for r in largest.collect())
    sample = owned.filter(drawn(millionths(most_users, users), seed))
    rows = sample.filter(F.col("category").isin(names)).toPandas().sort_values(["user_id", "category"], ignore_index=True)
    number, ids = rows["user_id"].factorize()
    x = np.zeros((max(len(ids), k), len(names)))  # users of rare categories alone are rows of zeros
    x[number, np.searchsorted(names, rows["category"].to_numpy(dtype=str))] = rows["root"].to_numpy(dtype=np.float64)
    centres = _centres(x, k, seed)
    table = spark.createDataFrame(
        [(c, [float(v) for v in centres[:, i]]) for i, c in enumerate(names)], "category string, at array<double>"
    )
    near = owned.join(F.broadcast(table), "category", "left")  # one row of centres per category: cannot fan out
    dots = [F.sum(F.coalesce(F.col("at")[i], F.lit(0.0)) * F.col("root")) for i in range(k)]
    # ‖x − c‖² = ‖x‖² + ‖c‖² − 2 x·c, and ‖x‖² is the same for every centre.
    away = F.array(*[F.round(F.lit(float(c @ c)) - 2.0 * dot, 9) for c, dot in zip(centres, dots, strict=True)])
    told = near.groupBy("user_id").agg(away.alias("away"))
    return told.select("user_id", F.array_position("away", F.array_min("away")).cast("int").alias("interest_group"))


def _centres(x: NDArray[np.float64], k: int, seed: int) -> NDArray[np.float64]:
    """(k, C) centres, the one with most rows first; ties by their entries."""
    from sklearn.cluster import KMeans

    found = KMeans(k, n_init=STARTS, random_state=seed).fit(x)
    sizes = np.bincount(found.labels_, minlength=k)
    order = sorted(range(k), key=lambda c: (-sizes[c], found.cluster_centers_[c].round(9).tolist()))
    out: NDArray[np.float64] = found.cluster_centers_[order]
    return out
