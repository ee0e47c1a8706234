"""What a campaign wants of each user, and who is left out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from equipoise.audiences import lookalike
from equipoise.audiences.campaigns import CONTACTED, contacted, unpacked_contacts
from equipoise.audiences.choose import Told
from equipoise.audiences.response import LEAST_ANSWERS, fit, past, propensity, responses
from equipoise.segments.history import PACKED, day_number, unpacked
from equipoise.spark.draw import drawn, millionths

SEGMENT, ATTRIBUTE, FILE, FREQUENCY = "segment", "attribute", "file", "frequency"


@dataclass(frozen=True)
class World:
    """Frames of one as_of: events (silver.events before it), users (silver.users), segments, interests (gold), profile, vectors
    (feature), packed (rows of `history.packed`)."""

    as_of: date
    events: DataFrame
    users: DataFrame
    segments: DataFrame
    interests: DataFrame
    profile: DataFrame
    vectors: DataFrame
    packed: DataFrame


@dataclass(frozen=True)
class LeftOut:
    """Whom a campaign must not contact."""

    segments: tuple[str, ...]
    attributes: Mapping[str, tuple[str, ...]]
    ids: Sequence[str]
    frequency_cap: int | None
    frequency_days: int


def eligible(world: World, left_out: LeftOut) -> tuple[DataFrame, dict[str, int]]:
    """user_id of those who may be contacted, and how many others each cause left out, the first that holds."""
    spark = world.segments.sparkSession
    since = F.lit(world.as_of - timedelta(days=left_out.frequency_days))
    shown = world.events.filter((F.col("event_type") == "expose") & (F.col("event_date") >= since))
    counts = shown.groupBy("user_id").agg(F.count(F.lit(1)).alias("shown"))
    listed = spark.createDataFrame([(u, True) for u in sorted(set(left_out.ids))], "user_id string, listed boolean")
    whole = (
        world.segments.select("user_id", "segment")
        .join(world.users.select("user_id", "attributes"), "user_id", "left")
        .join(F.broadcast(listed), "user_id", "left")
        .join(counts, "user_id", "left")
    )
    stated: list[Column] = [F.col("attributes")[name].isin(list(values)) for name, values in left_out.attributes.items()]
    capped = F.lit(False) if left_out.frequency_cap is None else F.coalesce("shown", F.lit(0)) >= left_out.frequency_cap
    cause = F.coalesce(
        F.when(F.col("segment").isin(list(left_out.segments)), F.lit(SEGMENT)),
        F.when(F.coalesce(*[F.when(x, F.lit(True)) for x in stated], F.lit(False)), F.lit(ATTRIBUTE)),
        F.when(F.col("listed"), F.lit(FILE)),
        F.when(capped, F.lit(FREQUENCY)),
    )
    told = whole.select("user_id", cause.alias("cause"))
    out = {str(r["cause"]): int(r["count"]) for r in told.filter("cause IS NOT NULL").groupBy("cause").count().collect()}
    return told.filter("cause IS NULL").select("user_id"), out


def respond(world: World, *, response_days: int, learn_users: int, share: float, seed: int) -> Told:
    """The chance to redeem an offer of a campaign that begins at as_of and contacts `share` of the users."""
    whole = world.packed.join(contacted(world.events, as_of=world.as_of), "user_id", "left").select(*PACKED, *CONTACTED)
    users = world.segments.count()
    rows = whole.filter(drawn(millionths(learn_users, users), seed)).toPandas().sort_values("user_id", ignore_index=True)
    history, contacts, day = unpacked(rows), unpacked_contacts(rows), day_number(world.as_of)
    learnt = past(history, contacts, until=day, response_days=response_days)
    model = fit(learnt, seed)
    if model is None:
        over = len(set(learnt.campaign))
        return Told(
            None,
            f"{int(learnt.yes.sum())} answers to {over} campaigns that were over {response_days} days after they began; "
            f"expected {LEAST_ANSWERS} at least",
        )
    size = max(1, int(share * min(users, learn_users)))  # earlier campaigns are counted among the users drawn, so is this one
    told = responses(whole, model, day=day, size=size)
    ago = F.concat(F.lit(", the last "), F.col("days_since_answer").cast("int").cast("string"), F.lit(" days ago"))
    reason = F.concat(
        *(F.lit("redeemed offers of "), F.col("answers").cast("string"), F.lit(" of "), F.col("contacts").cast("string")),
        *(F.lit(" campaigns"), F.when(F.col("answers") > 0, ago).otherwise(F.lit("")), F.lit("; ")),
        *(F.col("trips_28d").cast("int").cast("string"), F.lit(" trips in 28 days")),
    )
    facts = {"learnt_from": len(learnt.yes), "propensity_auc": propensity(history, contacts, seed)}
    return Told(told.select("user_id", "p_response", F.col("p_response").alias("worth"), reason.alias("reason")), facts=facts)


def spend(world: World) -> Told:
    """Expected spend in the horizon."""
    known = world.segments.filter("expected_spend IS NOT NULL")
    if known.limit(1).count() == 0:
        return Told(None, "goal 'spend' needs expected spend, and the source has no amounts; take another goal")
    money = F.round("expected_spend", 2).cast("decimal(18,2)").cast("string")
    days = F.col("horizon_days").cast("string")
    reason = F.concat(
        F.lit("expected to spend "), money, F.lit(" in "), days, F.lit(" days, value tier "), F.col("value_tier").cast("string")
    )
    return Told(
        known.select("user_id", F.lit(1.0).alias("p_response"), F.col("expected_spend").alias("worth"), reason.alias("reason"))
    )


def category(world: World, name: str) -> Told:
    """The chance to visit a category in the next window."""
    mine = world.interests.filter((F.col("category") == name) & F.col("visit_probability").isNotNull())
    if mine.limit(1).count() == 0:
        return Told(
            None, f"no user has a chance to visit category {name!r}; take one of gold.user_interests that the model knows"
        )
    chance = F.round("visit_probability", 3).cast("decimal(18,3)").cast("string")
    share = F.round(100 * F.col("observed_share"), 1).cast("decimal(18,1)").cast("string")
    reason = F.concat(F.lit(f"visits {name.lower()} with probability "), chance, F.lit("; "), share, F.lit(" % of past interest"))
    chances = F.col("visit_probability")
    return Told(mine.select("user_id", chances.alias("p_response"), chances.alias("worth"), reason.alias("reason")))


def like(world: World, ids: Sequence[str], *, learn_users: int, seed: int) -> Told:
    """The chance to be of the seed list, of those who are not."""
    spark = world.segments.sparkSession
    listed = spark.createDataFrame([(u,) for u in sorted(set(ids))], "user_id string")
    at = lookalike.columns(world.profile, world.vectors)
    known = listed.join(world.segments, "user_id", "left_semi")
    number, users = known.count(), world.segments.count()
    if number < lookalike.LEAST_SEED or number == users:
        unknown = len(set(ids)) - number
        wanted = f"expected {lookalike.LEAST_SEED} at least, and others"
        return Told(None, f"{number} known users in the seed list ({unknown} ids are unknown), {wanted}")
    parts = lookalike.Drawn.of(number, users, learn_users)
    model = lookalike.learnt(lookalike.sample(at, known, parts, seed), seed, parts)
    told = lookalike.likeness(at, model).join(known, "user_id", "left_anti")
    chance = F.round("p_response", 5).cast("decimal(18,5)").cast("string")  # one in a thousand of a large base is much
    reason = F.concat(F.lit("like the seed list: probability "), chance, F.lit(f" among its {number:,} users and all others"))
    facts = {"learnt_from": number, "seed_found": None if model.found != model.found else model.found}
    return Told(told.select("user_id", "p_response", F.col("p_response").alias("worth"), reason.alias("reason")), facts=facts)
