"""Every feature table of one as-of date, from silver frames and plain values; what is used twice is kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Literal

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from equipoise.features import examples as ex
from equipoise.features.cuts import Cuts, cut_dates
from equipoise.features.daily import daily_counts, first_days, require_history
from equipoise.features.labels import label_windows, spend_threshold
from equipoise.features.pack import Dense
from equipoise.features.profile import profiles, trip_types
from equipoise.features.sequences import item_names, sequences
from equipoise.features.shares import category_shares, decayed_weights
from equipoise.features.text import parts_for
from equipoise.features.visits import cells, gathered, trends, visits


@dataclass(frozen=True)
class Recipe:
    """The values that decide the feature tables, beside the events and the as-of date."""

    as_of: date
    origin: date
    window_days: int
    horizon_days: int
    """Length of the window that the value label speaks of; category labels speak of window_days."""
    event_weights: Mapping[str, float]
    half_life_days: float
    has_amounts: bool
    category_level: int
    ladder: Literal["events", "spend"]
    training_cuts: int
    sample: int
    validation_sample: int
    files: int
    """Files, of one row group each, of either example table."""
    seed: int
    encoder_path: str
    max_tokens: int
    max_items: int

    @cached_property
    def cuts(self) -> Cuts:
        return cut_dates(self.origin, self.window_days, self.as_of, self.training_cuts, max(self.window_days, self.horizon_days))

    @property
    def all_cuts(self) -> list[date]:
        return [*self.cuts.train, self.cuts.validation, self.as_of]


@dataclass(frozen=True)
class Base:
    """What is counted of everybody, at every cut and at as_of; `past` is the events before as_of."""

    past: DataFrame
    daily: DataFrame
    shares: DataFrame
    weights: DataFrame
    profiles: DataFrame

    def profile_at_as_of(self, recipe: Recipe) -> DataFrame:
        """feature.user_profile without as_of."""
        return self.profiles.filter(F.col("cut") == F.lit(recipe.as_of)).drop("cut")


@dataclass(frozen=True)
class Learning:
    """What the learner reads: packed examples, the category vocabulary, the items in the examples, categories at each cut, and
    sequences at as_of."""

    train: DataFrame
    validation: DataFrame
    spec: DataFrame
    items: DataFrame
    trends: DataFrame
    sequences: DataFrame


def base(events: DataFrame, item_categories: DataFrame, recipe: Recipe) -> Base:
    """Counts, shares, decayed weights and profiles.

    Raises:
        EquipoiseError: when no event lies before as_of, or as_of leaves no training cut.
    """
    r = recipe
    past = events.filter(F.col("event_date") < F.lit(r.as_of))
    daily = daily_counts(past, item_categories).persist()
    first, bought = first_days(daily)
    require_history(first, events, r.as_of)
    at = r.all_cuts
    shares = category_shares(
        daily,
        origin=r.origin,
        window_days=r.window_days,
        as_of=r.as_of,
        event_weights=r.event_weights,
        half_life_days=r.half_life_days,
    ).persist()
    weights = decayed_weights(shares, cuts=at, half_life_days=r.half_life_days, recent_days=r.window_days).persist()
    profile = profiles(daily, weights, cuts=at, trips=trip_types(at, bought), has_amounts=r.has_amounts).persist()
    return Base(past, daily, shares, weights, profile)


def learning(base: Base, items: DataFrame, recipe: Recipe, say: Callable[[str], None]) -> Learning:
    """Examples at the cuts and sequences at as_of; texts are made once, for the drawn examples and for everybody at as_of.

    Raises:
        EquipoiseError: when there are fewer examples than files, or a file would not fit one row group.
    """
    r, learnt = recipe, F.col("cut") < F.lit(recipe.cuts.validation)
    labels = label_windows(base.daily, cuts=r.all_cuts[:-1], days=r.window_days).persist()
    same = r.horizon_days == r.window_days
    values = labels if same else label_windows(base.daily, cuts=r.all_cuts[:-1], days=r.horizon_days).persist()
    spec = ex.vocabulary(labels.filter(learnt), base.weights.filter(F.col("cut") == F.lit(r.cuts.train[-1]))).persist()
    names = ex.names_of(spec)
    categories = len(names)
    say(f"{categories} categories, {len(r.cuts.train)} training cuts to {r.cuts.train[-1]}, validation cut {r.cuts.validation}")
    pairs = base.profiles.select("user_id", "cut")
    train = _drawn(pairs.filter(learnt), r.sample, categories, r, "training", say)
    validation = _drawn(
        pairs.filter(F.col("cut") == F.lit(r.cuts.validation)), r.validation_sample, categories, r, "validation", say
    )
    drawn = train.unionByName(validation).persist()
    everybody = drawn.select("user_id", "cut").unionByName(pairs.filter(F.col("cut") == F.lit(r.as_of))).persist()
    seen = visits(base.daily).persist()
    trend = trends(seen, pairs, cuts=r.all_cuts, days=r.window_days).persist()
    texts = sequences(
        base.past,
        item_names(items, r.category_level),
        pairs=everybody,
        profiles=base.profiles,
        weights=base.weights,
        cells=gathered(cells(seen, everybody)),
        cuts=r.all_cuts,
        max_items=r.max_items,
        parts=parts_for(r.max_tokens),
    ).persist()
    rows = ex.examples(
        drawn,
        profiles=base.profiles,
        texts=texts,
        weights=base.weights,
        labels=labels,
        values=values,
        spec=spec,
        ladder=r.ladder,
        threshold=spend_threshold(values.filter(learnt)) if r.ladder == "spend" else 0.0,
    ).persist()
    at_as_of = texts.filter(F.col("cut") == F.lit(r.as_of)).drop("cut")
    dense = Dense(names, ex.trends_by_day(trend, names))
    named = ex.items_of(rows, items)
    return Learning(_packed(rows.filter(learnt), dense, r), _packed(rows.filter(~learnt), dense, r), spec, named, trend, at_as_of)


def _drawn(pairs: DataFrame, size: int, categories: int, recipe: Recipe, what: str, say: Callable[[str], None]) -> DataFrame:
    there, files = pairs.count(), recipe.files
    rows = min(size, there)
    ex.check_size(rows, files, recipe.max_tokens, recipe.max_items, categories, f"{what} examples at as_of {recipe.as_of}")
    say(
        f"{what}: {rows - rows % files:,} examples of {there:,} in {files} files of {rows // files:,}; "
        f"{there - rows:,} not drawn by seed {recipe.seed}, {rows % files} left out so that files are equal"
    )
    return ex.draw(pairs, size=size, files=files, seed=recipe.seed)


def _packed(rows: DataFrame, dense: Dense, recipe: Recipe) -> DataFrame:
    return ex.packed(
        rows,
        encoder_path=recipe.encoder_path,
        max_tokens=recipe.max_tokens,
        dense=dense,
        files=recipe.files,
    )
