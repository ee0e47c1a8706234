"""What sets each segment apart, and a name a person can read: gold.segment_profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any, NamedTuple

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from equipoise.tables.feature import H_FEATURES
from equipoise.tables.vocabulary import SEGMENTATIONS, UNKNOWN

FEATURES = tuple(name for name, _ in H_FEATURES)
PHRASES: dict[str, tuple[str, str]] = {
    "trips_112d": ("frequent", "rare"),
    "spend_112d": ("big-spending", "small-spending"),
    "recency_over_gap": ("overdue", "on their usual rhythm"),
    "recency_days": ("long unseen", "recently seen"),
    "categories_112d": ("of many categories", "of few categories"),
    "tenure_days": ("long-standing", "new"),
    "entropy_bits": ("of varied baskets", "of one-sided baskets"),
}
"""Feature → how a user is called who has more of it than others, or less. The others say the same in other units."""

AFTER = ("of ", "on ")
"""How phrases begin that stand behind the noun."""

SHORT, LONG = 2, 3
"""Traits in a name, and in one that two segments would otherwise share."""

CLEAR = 0.25
"""Standard deviations from everybody's mean that a trait needs to be named."""

LEAST_SD = 1e-9
"""Below it a feature has one value, but for rounding."""

NAMED_CATEGORIES, LISTED_CATEGORIES = 2, 10
PRIOR_SHARE = 0.005
"""Share of everybody's interest that is added on both sides of a lift: a category of half a percent counts by half."""

FIXED = ("segment", "value_tier", "rfm_segment")
"""Segmentations whose own names say what they are."""


class Trait(NamedTuple):
    """A feature of a segment's users beside everybody's; effect in standard deviations of log(1 + x)."""

    feature: str
    mean: float
    population_mean: float
    effect: float


class Liking(NamedTuple):
    """A category of a segment's users beside everybody's."""

    category: str
    share: float
    population_share: float
    lift: float


@dataclass(frozen=True)
class Portrait:
    """A row of gold.segment_profiles without stamps."""

    segmentation: str
    segment: str
    name: str
    users: int
    user_share: float
    expected_spend: float | None
    spend_share: float | None
    p_buy: float
    churn_risk: float | None
    features: tuple[Trait, ...]
    categories: tuple[Liking, ...]
    description: str


def portraits(segments: DataFrame, profile: DataFrame, interests: DataFrame) -> list[Portrait]:
    """Every segment of every segmentation, by segmentation and segment.

    Args:
        segments: gold.user_segments of one as_of.
        profile: feature.user_profile of the same.
        interests: gold.user_interests of the same.
    """
    each = [F.struct(F.lit(c).alias("segmentation"), F.col(c).cast("string").alias("segment")) for c in SEGMENTATIONS]
    long = segments.select("user_id", "expected_spend", "p_buy", "churn_risk", F.explode(F.array(*each)).alias("s"))
    long = long.select("user_id", "expected_spend", "p_buy", "churn_risk", "s.*").filter("segment IS NOT NULL")
    log = [F.log1p(F.greatest(F.col(f), F.lit(0.0))) for f in FEATURES]
    stats = [
        *(F.avg(x).alias(f"log_{f}") for f, x in zip(FEATURES, log, strict=True)),
        *(F.avg(F.col(f)).alias(f"mean_{f}") for f in FEATURES),
    ]
    whole = (
        profile.agg(*stats, *(F.stddev_pop(x).alias(f"sd_{f}") for f, x in zip(FEATURES, log, strict=True))).toPandas().iloc[0]
    )
    more = [F.count(F.lit(1)).alias("users"), F.sum("expected_spend").alias("spend"), F.avg("p_buy").alias("p_buy")]
    by = ("segmentation", "segment")
    found = long.join(profile, "user_id").groupBy(*by).agg(*more, F.avg("churn_risk").alias("churn"), *stats)
    rows = found.toPandas().sort_values(list(by), ignore_index=True)
    owned = interests.filter((F.col("observed_share") > 0) & (F.col("category") != UNKNOWN)).select(
        "user_id", "category", "observed_share"
    )
    shares = long.join(owned, "user_id").groupBy(*by, "category").agg(F.sum("observed_share").alias("share")).toPandas()
    base = owned.groupBy("category").agg(F.sum("observed_share").alias("share")).toPandas()
    return described(rows, whole.to_dict(), shares, base)


def described(rows: pd.DataFrame, whole: Mapping[str, float], shares: pd.DataFrame, base: pd.DataFrame) -> list[Portrait]:
    """Portraits of counted segments.

    Args:
        rows: segmentation, segment, users, spend, p_buy, churn, and per feature mean_ and log_ (mean of log(1 + x)); sorted.
        whole: mean_, log_ and sd_ (of log(1 + x)) per feature, over everybody.
        shares: segmentation, segment, category, share (sum over users); base: category, share, over everybody.
    """
    usual = base.set_index("category")["share"].astype(float)
    usual = usual / usual.sum() if len(usual) else usual
    users = rows.groupby("segmentation")["users"].transform("sum").astype(float)
    spend = rows.groupby("segmentation")["spend"].transform("sum").astype(float)
    out = []
    for row, people, money in zip(rows.to_dict("records"), users, spend, strict=True):
        mine = shares[(shares["segmentation"] == row["segmentation"]) & (shares["segment"] == row["segment"])]
        features, categories = _features(row, whole), _categories(mine.set_index("category")["share"].astype(float), usual)
        known = money > 0 and not pd.isna(row["spend"])
        portrait = Portrait(
            segmentation=str(row["segmentation"]),
            segment=str(row["segment"]),
            name=str(row["segment"]),
            users=int(row["users"]),
            user_share=float(row["users"]) / people,
            expected_spend=float(row["spend"]) / float(row["users"]) if not pd.isna(row["spend"]) else None,
            spend_share=float(row["spend"]) / money if known else None,
            p_buy=float(row["p_buy"]),
            churn_risk=None if pd.isna(row["churn"]) else float(row["churn"]),
            features=features,
            categories=categories,
            description="",
        )
        out.append(portrait)
    named = _names(out)
    return [replace(p, name=named[p.segmentation, p.segment], description=_sentence(p)) for p in out]


def _features(row: Mapping[Any, Any], whole: Mapping[str, float]) -> tuple[Trait, ...]:
    """Every feature, the one that sets the segment apart most first."""
    out = []
    for name in FEATURES:
        sd = float(whole[f"sd_{name}"])
        effect = (float(row[f"log_{name}"]) - float(whole[f"log_{name}"])) / sd if sd > LEAST_SD else 0.0
        out.append(Trait(name, float(row[f"mean_{name}"]), float(whole[f"mean_{name}"]), effect))
    return tuple(sorted(out, key=lambda t: (-abs(t.effect), t.feature)))


def _categories(mine: pd.Series[float], usual: pd.Series[float]) -> tuple[Liking, ...]:
    """Categories with the highest lift, the shares shrunk towards each other."""
    if mine.empty:
        return ()
    share = mine / mine.sum()
    all_ = usual.reindex(share.index)
    lift = (share + PRIOR_SHARE) / (all_ + PRIOR_SHARE)
    order = sorted(share.index, key=lambda c: (-float(lift[c]), str(c)))[:LISTED_CATEGORIES]
    return tuple(Liking(str(c), float(share[c]), float(all_[c]), float(lift[c])) for c in order)


def _names(found: Sequence[Portrait]) -> dict[tuple[str, str], str]:
    """Unique within a segmentation; the number at the end only where words do not tell two apart."""
    out: dict[tuple[str, str], str] = {}
    for segmentation in dict.fromkeys(p.segmentation for p in found):
        mine = [p for p in found if p.segmentation == segmentation]
        names = {p.segment: _name(p, SHORT) for p in mine}
        doubled = {s for s, n in names.items() if list(names.values()).count(n) > 1}
        names |= {p.segment: _name(p, LONG) for p in mine if p.segment in doubled}
        doubled = {s for s, n in names.items() if list(names.values()).count(n) > 1}
        names |= {s: f"{names[s]} ({s})" for s in doubled}
        out |= {(segmentation, s): n for s, n in names.items()}
    return out


def _name(portrait: Portrait, traits: int) -> str:
    if portrait.segmentation == "value_tier":
        return f"tier {portrait.segment}"
    if portrait.segmentation in FIXED:
        return portrait.segment
    liked = [c.category.lower() for c in portrait.categories if c.lift > 1.0]
    if portrait.segmentation == "interest_group" and liked:
        return " and ".join(liked[: NAMED_CATEGORIES if traits == SHORT else NAMED_CATEGORIES + 1])
    said = _traits(portrait, traits)
    before = [words for words in said if not words.startswith(AFTER)] if said else ["average"]
    after = [words for words in said if words.startswith(AFTER)]
    return " ".join([", ".join(before), "users", " and ".join(after)]).strip()


def _traits(portrait: Portrait, most: int) -> list[str]:
    """Phrases of the clearest features."""
    clear = [
        PHRASES[t.feature][0 if t.effect > 0 else 1] for t in portrait.features if t.feature in PHRASES and abs(t.effect) >= CLEAR
    ]
    return clear[:most]


def _sentence(p: Portrait) -> str:
    """One sentence with the segment's own numbers."""
    money = "" if p.spend_share is None else f", {100 * p.spend_share:.1f} % of expected spend"
    told = [f"{t.feature} {t.mean:.1f} (everybody {t.population_mean:.1f})" for t in p.features[:2]]
    liked = [f"{c.category.lower()} × {c.lift:.1f}" for c in p.categories[:3]]
    ends = f"; interests beside everybody's: {', '.join(liked)}" if liked else ""
    return f"{p.users:,} users ({100 * p.user_share:.1f} %{money}): {', '.join(told)}{ends}"


def frame(found: Sequence[Portrait], like: DataFrame) -> DataFrame:
    """Rows of gold.segment_profiles without stamps."""
    ddl = (
        "segmentation string, segment string, name string, users bigint, user_share double, expected_spend double, "
        "spend_share double, p_buy double, churn_risk double, "
        "features array<struct<feature:string,mean:double,population_mean:double,effect:double>>, "
        "categories array<struct<category:string,share:double,population_share:double,lift:double>>, description string"
    )
    return like.sparkSession.createDataFrame([astuple(p) for p in found], ddl)
