"""From the settings of evaluate_models to its protocol, as plain values; and whether there is anything to compare with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame

from equipoise.errors import ContractError
from equipoise.evaluate.behaviour import log_end
from equipoise.evaluate.prepare import drawn, prepare
from equipoise.evaluate.protocol import Protocol, Tables
from equipoise.evaluate.run import evaluate
from equipoise.evaluate.seeds import beside, every_model, seen_after
from equipoise.evaluate.table import Row
from equipoise.features.cuts import cut_dates
from equipoise.inference.udf import threads_per_worker, trends_at
from equipoise.inference.worker import Setup
from equipoise.job.context import Context
from equipoise.models.package import ModelMeta
from equipoise.recommend.lists import Policy
from equipoise.recommend.rules import Rules
from equipoise.recommend.table import Popularity
from equipoise.settings import Settings, chosen

if TYPE_CHECKING:
    from equipoise.training.registry import Registry


def judged(vectors: DataFrame, registry: Registry, as_of: date) -> str:
    """Id of the model that said what is published for as_of: in an older night it need not be CURRENT.

    Args:
        vectors: feature.user_vectors of as_of.

    Raises:
        ContractError: when the vectors are not of one model, or it is no longer there.
    """
    found = sorted(str(r["model_id"]) for r in vectors.select("model_id").distinct().collect())
    if len(found) != 1:
        told = f"of {len(found)} models ({', '.join(found) or 'no rows'}), expected one"
        raise ContractError(f"feature.user_vectors of {as_of} are {told}; run score_users --as-of {as_of} and the jobs after it")
    if not registry.published(found[0]):
        raise ContractError(
            f"feature.user_vectors of {as_of} were made by model {found[0]!r}, which is not in {str(registry.root)!r}; put its "
            f"folder back, or run score_users --as-of {as_of} and the jobs after it with a model that has seen no label after it"
        )
    return found[0]


def vectors_of(items: DataFrame, model_id: str) -> DataFrame | None:
    """feature.item_vectors where they are this model's: the table holds those of the model that scored last."""
    made = items.select("model_id").first()
    return items if made is not None and made["model_id"] == model_id else None


def labels_until(s: Settings, as_of: date, events: DataFrame) -> date:
    """Where labels end: at evaluate.labels_until, without it after one label window; where the log ends at the latest."""
    asked = s.evaluate.labels_until or as_of + timedelta(days=s.label_days)
    return min(asked, log_end(events) or as_of)


def unjudged(one: Protocol, asked: date | None, meta: ModelMeta) -> str:
    """Why there is nothing to compare with, and what to do; empty where there is.

    Args:
        asked: evaluate.labels_until.
        meta: of the model that made what is published for as_of.
    """
    first, again = one.as_of + timedelta(days=one.label_days), f"run evaluate_models --as-of {one.as_of} again"
    if not one.origins() and asked is not None and asked < first:
        return (
            f"nothing to compare with: evaluate.labels_until = {asked} lies before {first}, where the first label window after "
            f"as_of {one.as_of} ends ({one.label_days} days); set it to {first} or later, or leave it out, and {again}"
        )
    if not one.origins():
        return (
            f"nothing to compare with yet: silver.events end before {one.labels_until}, the first label window after as_of "
            f"{one.as_of} ends at {first} ({one.label_days} days); {again} when they reach until then"
        )
    if seen := seen_after(meta, one.as_of):
        return (
            f"nothing to judge: model {meta.model_id} has seen labels until {seen}, after as_of {one.as_of}: what it says is no "
            f"prediction; run score_users and the jobs after it with a model trained by then, and {again}"
        )
    return ""


def compared(ctx: Context, told: Protocol, tables: Tables, model_id: str, meta: ModelMeta) -> list[Row]:
    """What the label windows say of everything that is published for the date, and of the baselines.

    Args:
        model_id, meta: the model that made what is published; see `judged`.
    """
    s = ctx.settings
    ids, asked = drawn(ctx.spark, tables, told.seed, ctx.say)
    known = trends_at(ctx.read("feature.category_trends"), ctx.as_of, meta.categories)
    alone, path = threads_per_worker(ctx.spark, s.scoring.workers), str(ctx.registry.path(model_id))
    setup = Setup(path, threads=alone, trends=known, **chosen(s.scoring, Setup))
    others = beside(ctx.registry, meta, s.evaluate.seeds, ctx.as_of)
    with every_model(ctx.registry, meta, others, asked, setup) as (scored, held_out):
        ready = prepare(ctx.spark, asked, told, ids, scored, held_out, meta.categories, ctx.say)
    return evaluate(ready, ctx.say) if ready else []


def protocol(
    s: Settings, as_of: date, until: date, figures: Mapping[str, float], priced: tuple[float, dict[float, float]]
) -> Protocol:
    """The settings as plain values; `until`: see `labels_until`; `figures` of the model that is judged say which prior it began
    with, `priced`: see `prices`."""
    r = s.recommend
    return Protocol(
        as_of=as_of, window_days=s.windows.days, has_amounts=s.source.has_amounts, labels_until=until,
        training_cuts=tuple(cut_dates(s.windows.origin, s.windows.days, as_of, s.training.training_cuts, s.label_days).train),
        prior=(figures.get("prior_dirichlet", s.interests.dirichlet), figures.get("prior_sharpening", s.interests.sharpening)),
        excluded=s.evaluate.exclude_categories, policy=Policy(**{**chosen(r, Policy), "as_of": as_of, "calibration": priced[0]}),
        popularity=Popularity(**chosen(s.interests, Popularity)), rules=Rules(**chosen(r, Rules)),
        seed=r.seed, foretold=priced[1], response_days=s.audiences.response_days,
        **s.segments.model_dump(include={"ladder", "horizon_days"}),
        **s.evaluate.model_dump(include={"frontier", "resamples", "floors"}),
    )  # fmt: skip
