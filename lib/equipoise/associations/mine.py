"""Frequent itemsets by FP-growth (Han et al. 2000), and the rules of one level as a small table on the driver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import pandas as pd
from pyspark.ml.fpm import FPGrowth
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from equipoise.associations.baskets import DAY, baskets
from equipoise.associations.rules import COUNTS, MEASURES, Bounds, Itemset, check, rules
from equipoise.errors import EquipoiseError
from equipoise.tables.lists import ITEM_RULES

MOST_ITEMSETS = 1_000_000
"""Itemsets that the driver takes: about 300 MB as Python objects."""

TREE_BASKETS = 500_000
"""Baskets per prefix tree. A tree costs less than the copies of baskets that several need: on 60,000 baskets one tree took 12 s,
four took 27, sixteen 56."""


@dataclass(frozen=True)
class Mining:
    """What is mined; see settings [associations]."""

    min_support: float
    min_baskets: int
    max_basket: int
    seed: int


def level_rules(lines: DataFrame, level: str, mining: Mining, bounds: Bounds, say: Callable[[str], None]) -> pd.DataFrame:
    """The rules of one level: the frame of `rules.rules`, checked.

    Cost: prefix trees of all baskets; itemsets grow with falling support and, steeply, with the length of
    baskets. Longer itemsets than a rule needs are found and dropped where they are found.

    Args:
        lines: the frame of `baskets.lines`.
        level: only for what is said.
    """
    lines = lines.persist()
    try:
        whole = lines.select(*DAY).distinct().count()
        least = max(mining.min_baskets, ceil(mining.min_support * whole - 1e-9))
        names = lines.groupBy("name").agg(F.count(F.lit(1)).alias("n")).filter(F.col("n") >= least).select("name")
        found = baskets(lines, names, most=mining.max_basket, seed=mining.seed).persist()
        try:
            counts = itemsets(found, least, bounds.max_items + 1)
            cut = found.filter(F.col("size") > mining.max_basket).count()
        finally:
            found.unpersist()
    finally:
        lines.unpersist()
    table = rules(counts, whole, bounds)
    check(table, bounds, least)
    single = sum(len(items) == 1 for items in counts)
    say(
        f"{level}: {whole:,} baskets, {cut:,} of them cut to {mining.max_basket} names; {len(counts):,} itemsets of {single:,} "
        f"names in at least {least:,} baskets; {len(table):,} rules"
    )
    return table


def itemsets(found: DataFrame, least: int, longest: int) -> dict[Itemset, int]:
    """Baskets with each set of at most `longest` names that at least `least` baskets hold.

    Args:
        found: the frame of `baskets.baskets`.

    Raises:
        EquipoiseError: when there are more than MOST_ITEMSETS of them.
    """
    rows = found.count()
    if rows < least:
        return {}
    share = (least - 0.5) / rows  # FP-growth wants a share and rounds share × rows up: half a basket keeps that exact
    model = FPGrowth(itemsCol="items", minSupport=share, numPartitions=ceil(rows / TREE_BASKETS)).fit(found.select("items"))
    short = model.freqItemsets.filter(F.size("items") <= longest).limit(MOST_ITEMSETS + 1).collect()
    if len(short) > MOST_ITEMSETS:
        raise EquipoiseError(
            f"more than {MOST_ITEMSETS:,} itemsets of up to {longest} names are in at least {least:,} of {rows:,} baskets; raise "
            "associations.min_support or associations.min_baskets, or lower associations.max_items"
        )
    return {tuple(sorted(r["items"])): int(r["freq"]) for r in short}


def as_frame(found: dict[str, pd.DataFrame], like: DataFrame) -> DataFrame:
    """One row per level × antecedent → consequent: gold.item_rules without its stamps.

    Args:
        found: level → the frame of `level_rules`.
        like: any frame of the session to make it in.
    """
    wanted = ("antecedent", "consequent", *COUNTS, *MEASURES)
    rows = [
        (level, *(None if c == "conviction" and pd.isna(v) else _plain(v) for c, v in zip(wanted, row, strict=True)))
        for level, table in found.items()
        for row in table[list(wanted)].itertuples(index=False)
    ]
    types = {f.name: f for f in ITEM_RULES.struct_type()}
    fields = [types[name] for name in ("level", *wanted)]
    return like.sparkSession.createDataFrame(rows, type(ITEM_RULES.struct_type())(fields))


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    return value.item() if hasattr(value, "item") else value
