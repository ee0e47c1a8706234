"""Scores every user and encodes every item with the current model; writes vectors and gold.user_interests.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults \\
    jobs/score_users.py --settings conf/demo.toml --as-of 2017-11-06
"""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from equipoise.errors import ContractError
from equipoise.inference.udf import encode_texts, score_users, text_sha256, threads_per_worker, trends_at, with_items
from equipoise.inference.worker import Setup
from equipoise.interests.observed import observed_shares, seen_categories, weights_of
from equipoise.interests.table import user_interests
from equipoise.job import Context, Job, main
from equipoise.models.package import ModelMeta, load_meta
from equipoise.settings import chosen

JOB = Job(
    name="score_users",
    reads=("feature.user_profile", "feature.sequences", "feature.category_trends", "feature.daily_counts", "silver.items"),
    writes=("feature.user_vectors", "feature.item_vectors", "gold.user_interests"),
    sections=("interests", "scoring"),
    uses_model=True,
)


def run(ctx: Context) -> None:
    meta = load_meta(ctx.model_path)
    users = _users(ctx, meta)
    number = users.count()
    if number == 0:
        raise ContractError(f"feature.user_profile has no users at {ctx.as_of}; run build_features --as-of {ctx.as_of} first")
    scoring, threads = ctx.settings.scoring, threads_per_worker(ctx.spark, ctx.settings.scoring.workers)
    trends = trends_at(ctx.read("feature.category_trends"), ctx.as_of, meta.categories)
    setup = Setup(ctx.model_path, threads=threads, trends=trends, **chosen(scoring, Setup))
    ctx.say(f"{number:,} users, model {ctx.model_id}, {setup.workers} workers × {setup.threads} threads")
    items = ctx.read("silver.items").select("item_id", "text")
    texts = items.select(text_sha256("text")).distinct().count()
    ctx.say(f"{items.count():,} items with {texts:,} distinct texts")
    ctx.replace("feature.item_vectors", encode_texts(items, setup, expected=texts).drop("text"), {})

    vectors = ctx.store.read("feature.item_vectors", ctx.outputs["feature.item_vectors"])
    with with_items(setup, meta.route, vectors, ctx.registry.scratch) as ready:
        ctx.replace("feature.user_vectors", score_users(users, ready, expected=number), {"as_of": ctx.as_of})

    scored = ctx.store.read("feature.user_vectors", ctx.outputs["feature.user_vectors"])
    interests = user_interests(
        scored.filter(F.col("as_of") == F.lit(ctx.as_of)),
        observed_shares(weights_of(ctx.at_as_of("feature.sequences"))),
        seen_categories(ctx.read("feature.daily_counts"), as_of=ctx.as_of),
        categories=meta.categories,
        top_predicted=ctx.settings.interests.top_predicted,
        evidence_half=ctx.settings.interests.evidence_half,
        most_target_share=ctx.settings.interests.most_target_share,
    )
    ctx.replace("gold.user_interests", interests, {"as_of": ctx.as_of})


def _users(ctx: Context, meta: ModelMeta) -> DataFrame:
    """One row per user of the profile, with what the model reads; a user without a sequence has an empty one."""
    features = F.array(*meta.feature_names).alias("features")
    profile = ctx.at_as_of("feature.user_profile").select("user_id", features)
    return profile.join(ctx.at_as_of("feature.sequences"), "user_id", "left")


if __name__ == "__main__":
    main(JOB, run)
