"""The models that differ from the current one in their training seed alone, scored in memory."""

from __future__ import annotations

from dataclasses import replace

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from equipoise.inference.udf import score_users
from equipoise.inference.worker import Setup
from equipoise.models.package import ModelMeta, load_meta
from equipoise.training.registry import Registry


def sister_vectors(
    registry: Registry, current: ModelMeta, seeds: int, profile: DataFrame, sequences: DataFrame, setup: Setup
) -> list[DataFrame]:
    """Per further training seed a frame like feature.user_vectors without vectors; with the current one at most `seeds` models.

    Args:
        profile, sequences: feature.user_profile and feature.sequences of one as_of.
        setup: how the workers run a model; its path is replaced.
    """
    features = F.array(*current.feature_names).alias("features")
    users = profile.select("user_id", features).join(sequences.drop("as_of"), "user_id", "left")
    paths = [str(registry.path(m)) for m in sisters(registry, current, seeds - 1)]
    return [score_users(users, replace(setup, model_path=path)).drop("vector") for path in paths]


def sisters(registry: Registry, current: ModelMeta, limit: int) -> list[str]:
    """Ids of at most `limit` published models, by id, with the current one's tables, settings and categories and other seeds."""
    if limit < 1:
        return []
    others = [m for m in registry.ids() if m != current.model_id]
    return [m for m in others if _but_seed(load_meta(registry.path(m))) == _but_seed(current)][:limit]


def published_models(warehouse: str) -> str:
    """Ids of all published models of a warehouse, in order: what a comparison over seeds may draw from."""
    return " ".join(Registry.of(warehouse).ids())


def _but_seed(meta: ModelMeta) -> tuple[object, ...]:
    """What must be equal: tables, categories, and settings without the seed and what only promotion asks for."""
    kept = dict(meta.settings.get("training", {})).items()
    training = {k: v for k, v in kept if k != "seed" and not k.startswith("gate_")}
    return meta.table_versions, meta.categories, {**meta.settings, "training": training}
