"""Seeded samples of users by a hash of their ids: the same users at every run, on any cluster, in any order of the rows."""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F

PER_MILLION = 1_000_000


def millionths(most: float, number: float) -> int:
    """The share of `number` that gives about `most` of them, in millionths; all where there are no more."""
    return int(PER_MILLION * min(1.0, most / max(1, number)))


def drawn(share: Column | int, seed: int | None = None) -> Column:
    """Whether the user_id of a row is of a sample of `share` millionths of all users; without `seed` the hash of the id alone."""
    seeded = () if seed is None else (F.lit(seed),)
    return F.pmod(F.xxhash64("user_id", *seeded), F.lit(PER_MILLION)) < share
