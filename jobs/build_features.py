"""Counts behaviour before as-of, and before earlier cuts with what came next: the tables that the learner and the lists read.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults \\
    jobs/build_features.py --settings conf/demo.toml --as-of 2017-11-06
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

from equipoise.features import build
from equipoise.features.pack import tokenizer_sha256
from equipoise.job import Context, Job, main
from equipoise.settings import Settings, resolve

SAMPLING = {"processes", "files_per_rank", "sample_examples", "validation_examples", "training_cuts", "seed"}
COUNTED = ("daily_counts", "category_shares", "category_trends", "user_profile", "sequences")
EXAMPLES = ("examples", "examples_validation", "example_spec", "example_items")


def decisive(s: Settings, folder: Path) -> dict[str, str]:
    """Single settings that decide the result: a new learning rate, say, builds no features anew."""
    return {
        "source": s.source.model_dump_json(include={"category_level", "has_amounts"}),
        "interests": s.interests.model_dump_json(include={"event_weights", "half_life_days"}),
        "encoder": s.encoder.model_dump_json(include={"max_tokens", "sequence_items"}),
        "training": s.training.model_dump_json(include=SAMPLING),
        "tokenizer": tokenizer_sha256(resolve(s.encoder.path, folder)),
    }


JOB = Job(
    name="build_features",
    reads=("silver.events", "silver.items", "silver.item_categories"),
    writes=tuple(f"feature.{name}" for name in (*COUNTED, *EXAMPLES)),
    sections=("windows", "segments"),
    extra_inputs=decisive,
)


def recipe(s: Settings, folder: Path, as_of: date) -> build.Recipe:
    """The settings as plain values."""
    return build.Recipe(
        as_of=as_of, origin=s.windows.origin, window_days=s.windows.days, horizon_days=s.segments.horizon_days,
        event_weights=s.interests.event_weights,
        half_life_days=s.interests.half_life_days,
        has_amounts=s.source.has_amounts,
        category_level=s.source.category_level,
        ladder=s.segments.ladder,
        training_cuts=s.training.training_cuts,
        sample=s.training.sample_examples,
        validation_sample=s.training.validation_examples,
        files=s.training.processes * s.training.files_per_rank,
        seed=s.training.seed,
        encoder_path=resolve(s.encoder.path, folder),
        max_tokens=s.encoder.max_tokens,
        max_items=s.encoder.sequence_items,
    )  # fmt: skip


def run(ctx: Context) -> None:
    values = recipe(ctx.settings, ctx.settings_dir, ctx.as_of)
    base = build.base(ctx.read("silver.events"), ctx.read("silver.item_categories"), values)
    ctx.replace("feature.daily_counts", base.daily, {})
    ctx.replace("feature.category_shares", base.shares, {})
    ctx.replace("feature.user_profile", base.profile_at_as_of(values), {"as_of": ctx.as_of})
    learning = build.learning(base, ctx.read("silver.items"), values, ctx.say)
    ctx.replace("feature.sequences", learning.sequences, {"as_of": ctx.as_of})
    ctx.replace("feature.example_spec", learning.spec, {})
    ctx.replace("feature.example_items", learning.items, {})
    ctx.replace("feature.category_trends", learning.trends, {"as_of": ctx.as_of})
    ctx.replace("feature.examples", learning.train, {}, keep_partitions=True)
    ctx.replace("feature.examples_validation", learning.validation, {}, keep_partitions=True)


if __name__ == "__main__":
    main(JOB, run)
