"""Other published models than the current one, scored in memory: those of other training seeds, and those of the other route."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from equipoise.evaluate.protocol import Tables
from equipoise.evaluate.run import METHODS
from equipoise.inference.udf import score_users, with_items
from equipoise.inference.worker import Setup
from equipoise.models.package import ModelMeta, encoder_sha256, told_meta
from equipoise.training.registry import Registry


@dataclass(frozen=True)
class Beside:
    """Models beside the current one, by id: its sisters differ in the training seed alone, its rivals in the route."""

    sisters: tuple[str, ...]
    rivals: tuple[str, ...]
    rival_route: str

    @property
    def reads_items(self) -> bool:
        """Whether one of the rivals reads vectors of items."""
        return bool(self.rivals) and self.rival_route == "tower"


def beside(registry: Registry, current: ModelMeta, seeds: int) -> Beside:
    """Published models on the current one's tables and categories, by id; with the current one at most `seeds` of each route.

    Sisters also share all settings but the seed and what only promotion asks for.
    """
    metas = {m: told_meta(registry.path(m)) for m in registry.ids() if m != current.model_id}
    made_of = current.table_versions, current.categories
    same = {name: m for name, m in metas.items() if (m.table_versions, m.categories) == made_of}
    sisters = [name for name, m in same.items() if _but_seed(m) == _but_seed(current)]
    rivals = [name for name, m in same.items() if m.route != current.route]
    return Beside(tuple(sisters[: max(0, seeds - 1)]), tuple(rivals[:seeds]), same[rivals[0]].route if rivals else "")


@contextmanager
def every_model(
    registry: Registry, current: ModelMeta, seeds: int, tables: Tables, sequences: DataFrame, setup: Setup
) -> Iterator[dict[str, list[DataFrame]]]:
    """Per method name of a route frames like feature.user_vectors, the current route's and in it the current model's first.

    What the others say is computed in the block, before the vectors of items go that towers read.

    Args:
        sequences: feature.sequences of the as_of of `tables`.
        setup: how the workers run a model; its path is replaced.
    """
    others = beside(registry, current, seeds)
    with with_items(setup, "tower" if others.reads_items else current.route, tables.item_vectors, registry.scratch) as served:
        found = {METHODS[current.route]: [tables.vectors]}
        found[METHODS[current.route]] += _vectors(registry, others.sisters, current, tables.profile, sequences, served)
        if others.rivals:
            rivals = _vectors(registry, others.rivals, current, tables.profile, sequences, served)
            found[METHODS[others.rival_route]] = rivals
        yield found


def _vectors(
    registry: Registry, models: Sequence[str], current: ModelMeta, profile: DataFrame, sequences: DataFrame, setup: Setup
) -> list[DataFrame]:
    """Per model what `score_users` says but the vectors. Items have the vectors of the current model's encoder; a tower on
    another encoder reads those of its own examples."""
    features = F.array(*current.feature_names).alias("features")
    users = profile.select("user_id", features).join(sequences.drop("as_of"), "user_id", "left")
    mine = encoder_sha256(registry.path(current.model_id))
    found = []
    for path in (registry.trusted(m) for m in models):
        items = setup.items if encoder_sha256(path) == mine else ""
        found.append(score_users(users, replace(setup, model_path=str(path), items=items)).drop("vector"))
    return found


def published_models(home: str) -> str:
    """Ids of all published models below a folder, in order: what a comparison may draw from."""
    return " ".join(Registry.of(home).ids())


def _but_seed(meta: ModelMeta) -> tuple[object, ...]:
    """What must be equal: route, and settings without the seed and what only promotion asks for."""
    kept = dict(meta.settings.get("training", {})).items()
    training = {k: v for k, v in kept if k != "seed" and not k.startswith("gate_")}
    return meta.route, {**meta.settings, "training": training}
