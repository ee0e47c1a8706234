"""Rules of the shop on top of the lists: what is never shown, what always may be, and what that changed."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from functools import reduce

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from equipoise.recommend.lists import Policy
from equipoise.recommend.table import Popularity, Sources, recommendations, rows_for_blocks
from equipoise.tables.vocabulary import GAVE_WAY, MOST_PER_BRAND, NEVER


@dataclass(frozen=True)
class Rules:
    """What may not be shown, and what may be all the same; the fields are the settings of the same names."""

    exclude_categories: tuple[str, ...]
    never_items: tuple[str, ...]
    never_brands: tuple[str, ...]
    never_categories: tuple[str, ...]
    always_items: tuple[str, ...]

    @property
    def lifted(self) -> Rules:
        """Only what already decides the candidates: top-level categories."""
        return replace(self, never_items=(), never_brands=(), never_categories=(), always_items=())

    @property
    def forbids(self) -> bool:
        """Whether any item may not be shown because of a rule of NEVER."""
        return any(getattr(self, name) for name in NEVER)


def forbidden(item_categories: DataFrame, items: DataFrame, rules: Rules) -> DataFrame:
    """One row per item that some rule of NEVER forbids: item_id, rule, rule_key (the item, brand or category it names).

    Args:
        item_categories: item_id, category.
        items: item_id, brand.
    """
    sources = {"never_items": items, "never_brands": items, "never_categories": item_categories}
    parts = []
    for place, (rule, column) in enumerate(NEVER.items()):
        named = sources[rule].filter(F.col(column).isin(*getattr(rules, rule)))
        told = F.lit(place).alias("place"), F.lit(rule).alias("rule"), F.col(column).alias("rule_key")
        parts.append(named.select("item_id", *told))
    found = reduce(DataFrame.unionByName, parts).filter(~F.col("item_id").isin(*rules.always_items))
    first = Window.partitionBy("item_id").orderBy("place", "rule_key")
    return found.withColumn("nth", F.row_number().over(first)).filter("nth = 1").drop("nth", "place")


def may_be_shown(item_categories: DataFrame, items: DataFrame, rules: Rules) -> DataFrame:
    """The rows of item_categories whose items no rule forbids, and whose top level (category_1) is not excluded."""
    open_ = shown_only(item_categories, items, rules.exclude_categories)
    if not rules.forbids:
        return open_
    return open_.join(forbidden(item_categories, items, rules).select("item_id"), "item_id", "left_anti")


def shown_only(item_categories: DataFrame, items: DataFrame, excluded: tuple[str, ...]) -> DataFrame:
    """The rows of items whose top level (category_1) is not among the excluded."""
    hidden = items.filter(F.col("category_1").isin(*excluded)).select("item_id")
    return item_categories.join(hidden, "item_id", "left_anti") if excluded else item_categories


def unknown_names(item_categories: DataFrame, items: DataFrame, rules: Rules) -> list[str]:
    """A line for every name that no item has: such a rule does nothing, and is often a slip of the pen."""
    said = []
    for rule, column in {**NEVER, "always_items": "item_id"}.items():
        if not (names := getattr(rules, rule)):
            continue
        values = (item_categories if column == "category" else items).select(column).na.drop().distinct()
        known = {str(r[0]) for r in values.filter(F.col(column).isin(*names)).collect()}
        for name in sorted(set(names) - known):
            near = {} if column == "item_id" else {str(r[0]).casefold(): str(r[0]) for r in values.collect()}
            like = difflib.get_close_matches(name.casefold(), near, 1)
            said.append(
                f"recommend.{rule}: no item has {column} {name!r}" + (f"; did you mean {near[like[0]]!r}?" if like else "")
            )
    return said


def rule_effects(
    listed: DataFrame, sources: Sources, policy: Policy, popularity: Popularity, rules: Rules, *, users: int
) -> DataFrame:
    """gold.rule_effects without its stamps: `listed` against the lists that the same weight gives without the rules.

    Args:
        listed: see `table.recommendations`.
        users: see `table.rows_for_blocks`.
    """
    hidden = forbidden(sources.item_categories, sources.items, rules)
    free = replace(policy, most_per_brand=0)
    if rules.forbids or policy.most_per_brand:
        stock = may_be_shown(sources.item_categories, sources.items, rules.lifted)
        rows = rows_for_blocks(replace(sources, stock=stock), free, popularity, users=users)
        without = recommendations(rows, free)
    else:
        without = listed
    return effects(without, listed, hidden, sources.values, sources.items, policy.most_per_brand)


def effects(
    without: DataFrame, ruled: DataFrame, forbidden: DataFrame, values: DataFrame, brands: DataFrame, most: int
) -> DataFrame:
    """gold.rule_effects without its stamps: one row per user × item that the rules took from the user's list.

    Forbidden items in any place; of the places that do not explore also what the bound on brands took out, and what gave way
    because the list as a whole came out otherwise. Which categories are explored is drawn: other differences there say nothing.

    Args:
        without, ruled: user_id, rank, item_id, slot of the lists without and with the rules, by the same weight of calibration.
        forbidden: see `forbidden`.
        values: user_id, item_id, p_next_trip.
        brands: item_id, brand.
        most: items of a brand at most; 0: no bound.
    """
    key = ["user_id", "item_id"]
    gone = without.select(*key, "rank", "slot").join(ruled.select(*key), key, "left_anti")
    exploit = ruled.filter("slot = 'exploit'").select(*key).join(brands, "item_id")
    full = exploit.groupBy("user_id", "brand").count().filter(F.col("count") >= (most or 1 << 30)).drop("count")
    named = gone.join(forbidden, "item_id", "left").join(brands, "item_id", "left")
    told = named.join(full.withColumn("full", F.lit(True)), ["user_id", "brand"], "left")
    bound = F.col("rule").isNull() & F.coalesce("full", F.lit(False))
    kept = told.filter(F.col("rule").isNotNull() | (F.col("slot") == "exploit"))
    rule = F.when(bound, F.lit(MOST_PER_BRAND)).otherwise(F.coalesce("rule", F.lit(GAVE_WAY)))
    named_by = F.when(bound, F.col("brand")).otherwise(F.col("rule_key"))
    out = kept.select(*key, "rank", "slot", rule.alias("rule"), named_by.alias("rule_key"))
    return out.join(values.select(*key, "p_next_trip"), key, "left")
