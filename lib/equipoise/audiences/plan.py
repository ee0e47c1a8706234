"""Every planned campaign's audience and its summary."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from equipoise.audiences import goals
from equipoise.audiences.choose import Summary, Terms, Told, chosen, ranked, state, summed
from equipoise.audiences.goals import LeftOut, World
from equipoise.errors import SettingsError
from equipoise.tables.vocabulary import GOALS, NOTHING_LEARNT

RESPOND, SPEND, CATEGORY, SEED = GOALS
COLUMNS = ("audience_id", "user_id", "rank", "p_response", "expected_value", "cost", "expected_profit", "reason")


@dataclass(frozen=True)
class Plan:
    """A planned campaign as plain values."""

    id: str
    goal: str
    terms: Terms
    left_out: LeftOut
    category: str
    seed_ids: tuple[str, ...]


@dataclass(frozen=True)
class Learning:
    """How responses and likeness are learnt; see the settings of audiences."""

    response_days: int
    learn_users: int
    campaign_share: float
    seed: int


def ids_of(path: str) -> tuple[str, ...]:
    """The ids of a text file, one a line; blank lines are skipped.

    Raises:
        SettingsError: when there is no such file.
    """
    if not Path(path).is_file():
        raise SettingsError(f"audiences: {path}: no such file; expected a text file of user ids as in silver.users, one a line")
    return tuple(line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip())


def sums(paths: Sequence[str]) -> dict[str, str]:
    """What files add to the inputs of a run: the sum of each."""
    return {f"file {path}": sha256("\n".join(ids_of(path)).encode()).hexdigest() for path in sorted(set(paths))}


def built(
    world: World, plans: Sequence[Plan], how: Learning, say: Callable[[str], None]
) -> Iterator[tuple[DataFrame | None, Summary]]:
    """Per plan its rows of gold.audiences, None for an empty audience, and its row of gold.audience_summary."""
    responses: Told | None = None
    for plan in plans:
        if plan.goal == RESPOND:
            responses = responses or goals.respond(
                world, response_days=how.response_days, learn_users=how.learn_users, share=how.campaign_share, seed=how.seed
            )
            told = responses
        elif plan.goal == SPEND:
            told = goals.spend(world)
        elif plan.goal == CATEGORY:
            told = goals.category(world, plan.category)
        else:
            told = goals.like(world, plan.seed_ids, learn_users=how.learn_users, seed=how.seed)
        rows, summary = _one(world, plan, told)
        say(f"{plan.id}: {summary.status}: {summary.message}")
        yield rows, summary


def _one(world: World, plan: Plan, told: Told) -> tuple[DataFrame | None, Summary]:
    allowed, out = goals.eligible(world, plan.left_out)
    if told.users is None:
        return None, Summary(plan.id, plan.goal, NOTHING_LEARNT, told.why, 0, out)
    everybody = ranked(told.users.join(allowed, "user_id", "left_semi"), plan.terms).persist()
    try:
        eligible, profitable, curve = summed(everybody)
        status, message = state(eligible, profitable, plan.terms)
        rows = chosen(everybody, plan.terms).withColumn("audience_id", F.lit(plan.id)).select(*COLUMNS)
        kept = rows.toDF(*COLUMNS).localCheckpoint()
    finally:
        everybody.unpersist()
    names = ("cost", "p_response", "expected_value", "expected_profit")
    total = kept.agg(F.count(F.lit(1)).alias("n"), *[F.coalesce(F.sum(c), F.lit(0.0)).alias(c) for c in names]).collect()[0]
    summary = Summary(plan.id, plan.goal, status, message, eligible, out, int(total["n"]), curve=curve)
    sums_of = dict(zip(("cost", "expected_responses", "expected_value", "expected_profit"), names, strict=True))
    money = {field: float(total[column]) for field, column in sums_of.items()}
    return (kept if total["n"] else None), replace(summary, **money, **told.facts)  # type: ignore[arg-type]
