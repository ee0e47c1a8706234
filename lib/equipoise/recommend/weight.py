"""λ of each user: less calibration where little is known of a taste or where it has one direction only."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

Floats = NDArray[np.float64]

Weight = Literal["same", "personal"]


def tilts(interests: DataFrame) -> DataFrame:
    """One row per user: user_id, tilt = f − the mean of f over all users, in [−1, 1] with mean 0.

    f = n ÷ (n + median n) · H ÷ log2 C, in [0, 1]: n is the evidence of the user's observed shares (decayed weight of visits),
    H their entropy in bits, C the categories anybody has observed. A target estimated from little may be wrong, so its list is
    tied to it less (after Naghiaei, Rahmani, Aliannejadi & Sonboli, CIKM 2022, who weigh users by how sure their profile is);
    a wide taste tolerates a wide list (after da Silva, Manzato & Durão, Expert Systems with Applications 181, 2021, whose
    weight CGR is the part of all genres that the profile holds). We depart from both: entropy for the count, which a single
    visit moves as much as a hundred, the shrinkage n ÷ (n + n₀) for confidence, and their product. 0 where nobody has evidence.

    Args:
        interests: user_id, category, observed_share, evidence of one as_of.
    """
    share = F.col("observed_share")
    surprise = F.when(share > 0, -share * F.log2(share)).otherwise(0.0)
    mine = interests.groupBy("user_id").agg(
        F.sum(F.coalesce("evidence", F.lit(0.0)).cast(_EXACT)).cast("double").alias("n"),
        F.sum(surprise.cast(_EXACT)).cast("double").alias("bits"),
    )
    known = interests.filter("observed_share > 0").select("category").distinct().count()
    half = mine.agg(F.median("n").alias("half"))
    sure = F.when(F.col("n") > 0, F.col("n") / (F.col("n") + F.col("half"))).otherwise(0.0)
    wide = F.least(F.col("bits") / F.lit(float(np.log2(max(known, 2)))), F.lit(1.0))
    own = mine.crossJoin(F.broadcast(half)).select("user_id", (sure * wide).alias("f"))
    mean = own.agg((F.sum(F.col("f").cast(_EXACT)) / F.count(F.lit(1))).cast("double").alias("mean"))
    return own.crossJoin(F.broadcast(mean)).select("user_id", (F.col("f") - F.col("mean")).alias("tilt"))


_EXACT = "DECIMAL(24,12)"
"""See `history.EXACT`."""


def personal(calibration: float, tilt: Floats) -> Floats:
    """(u,) λ_u = λ + min(λ, 1 − λ) · tilt_u: in [0, 1], rising with the tilt, and λ on average over all users, so that a
    price measured for λ is the price of what is used."""
    return np.clip(calibration + min(calibration, 1.0 - calibration) * tilt, 0.0, 1.0)
