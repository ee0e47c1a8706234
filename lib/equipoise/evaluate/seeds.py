"""Other published models than the current one, scored in memory: those of other training seeds, those of the other route, and
those that had users held out; and what the current one and its sisters say without text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from equipoise.evaluate.names import METHODS, UNSEEN, WITHOUT_TEXT
from equipoise.evaluate.protocol import Tables
from equipoise.inference.udf import score_users, with_items
from equipoise.inference.worker import Setup
from equipoise.models.package import ModelMeta, encoder_sha256, told_meta
from equipoise.training.held_out_users import HeldOut, held_out_of
from equipoise.training.registry import Registry


@dataclass(frozen=True)
class Beside:
    """Models beside the current one, by id: its sisters differ in the training seed alone, its rivals in the route, and strangers
    in the seed and in the `held_out` of users that they did not train on."""

    sisters: tuple[str, ...]
    rivals: tuple[str, ...]
    rival_route: str
    strangers: tuple[str, ...] = ()
    held_out: HeldOut | None = None

    @property
    def reads_items(self) -> bool:
        """Whether one of the rivals reads vectors of items."""
        return bool(self.rivals) and self.rival_route == "tower"


def beside(registry: Registry, current: ModelMeta, seeds: int, as_of: date | None = None) -> Beside:
    """Published models on the current one's tables and categories, by id; with the current one at most `seeds` of each route.

    Sisters also share all settings but the seed and what only promotion asks for. With `as_of` those that have seen labels after
    it are left out.
    """
    metas = {m: told_meta(registry.path(m)) for m in registry.ids() if m != current.model_id}
    if as_of is not None:
        metas = {name: m for name, m in metas.items() if not seen_after(m, as_of)}
    made_of = current.table_versions, current.categories
    same = {name: m for name, m in metas.items() if (m.table_versions, m.categories) == made_of}
    sisters = [name for name, m in same.items() if _but_seed(m) == _but_seed(current)]
    rivals = [name for name, m in same.items() if m.route != current.route and not held_out_of(m)]
    apart = {name: of for name, m in same.items() if (of := held_out_of(m)) and _but_held_out(m) == _but_held_out(current)}
    held_out = next(iter(apart.values()), None)
    strangers = tuple(name for name, of in apart.items() if of == held_out)[:seeds]
    route = same[rivals[0]].route if rivals else ""
    return Beside(tuple(sisters[: max(0, seeds - 1)]), tuple(rivals[:seeds]), route, strangers, held_out)


def seen_after(meta: ModelMeta, as_of: date) -> str:
    """Until when (ISO) the model has seen labels, where that is after as_of; else empty."""
    seen = meta.dates.get("seen_until", "")
    return seen if seen > as_of.isoformat() else ""


@contextmanager
def every_model(
    registry: Registry, current: ModelMeta, others: Beside, tables: Tables, setup: Setup
) -> Iterator[tuple[dict[str, list[DataFrame]], HeldOut | None]]:
    """Per method name frames like feature.user_vectors, the current route's and in it the current model's first; and whom the
    models named UNSEEN did not train on.

    What the others say is computed in the block, before the vectors of items go that towers read.

    Args:
        current: the model that made the vectors of `tables`. others: see `beside`.
        setup: how the workers run a model; its path is replaced.
    """
    mine, items = METHODS[current.route], tables.item_vectors
    route = "tower" if others.reads_items else current.route
    with nullcontext(setup) if items is None else with_items(setup, route, items, registry.scratch) as served:

        def said(models: Sequence[str], how: Setup = served) -> list[DataFrame]:
            return _vectors(registry, models, current, tables.profile, tables.sequences, how)

        found = {mine: [tables.vectors, *said(others.sisters)]}
        if others.rivals:
            found[METHODS[others.rival_route]] = said(others.rivals)
        found[mine + WITHOUT_TEXT] = said((current.model_id, *others.sisters), replace(served, without_text=True))
        if others.strangers:
            found[mine + UNSEEN] = said(others.strangers)
        yield found, others.held_out


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


def _but_held_out(meta: ModelMeta) -> tuple[object, ...]:
    training = {k: v for k, v in dict(meta.settings.get("training", {})).items() if not k.startswith("held_out_")}
    return _but_seed(replace(meta, settings={**meta.settings, "training": training}))
