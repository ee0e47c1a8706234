"""Every feature table of one as-of date, from silver frames and plain values; what is used twice is kept in memory.

A night that finds most tables made by those before it goes the same way over fewer days and cuts.
"""

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
    """What is counted of everybody at the cuts `at`, the last of which is as_of."""

    at: list[date]
    daily: DataFrame
    shares: DataFrame
    weights: DataFrame
    profiles: DataFrame

    def profile_at_as_of(self, recipe: Recipe) -> DataFrame:
        """feature.user_profile without as_of."""
        return self.profiles.filter(F.col("cut") == F.lit(recipe.as_of)).drop("cut")


@dataclass(frozen=True)
class Known:
    """Beside a base what is known of users and categories at its cuts: latest items, visits, the known user × cut, trends."""

    newest: DataFrame
    names: DataFrame
    pairs: DataFrame
    seen: DataFrame
    trends: DataFrame


@dataclass(frozen=True)
class Learning:
    """What the learner reads: packed examples, the category vocabulary, the items in the examples, and sequences at as_of."""

    train: DataFrame
    validation: DataFrame
    spec: DataFrame
    items: DataFrame
    sequences: DataFrame


def base(events: DataFrame, item_categories: DataFrame, recipe: Recipe) -> Base:
    """Counts, shares, decayed weights and profiles at every cut, from the events.

    Raises:
        EquipoiseError: when no event lies before as_of, or as_of leaves no training cut.
    """
    daily = daily_counts(events.filter(F.col("event_date") < F.lit(recipe.as_of)), item_categories).persist()
    first, bought = first_days(daily)
    require_history(first, events, recipe.as_of)
    return counted(daily, shares_of(daily, recipe).persist(), bought, recipe, recipe.all_cuts)


def shares_of(daily: DataFrame, recipe: Recipe) -> DataFrame:
    """feature.category_shares of the windows that `daily` has whole, and of the open one."""
    r = recipe
    return category_shares(
        daily,
        origin=r.origin,
        window_days=r.window_days,
        as_of=r.as_of,
        event_weights=r.event_weights,
        half_life_days=r.half_life_days,
    )


def counted(daily: DataFrame, shares: DataFrame, bought: date | None, recipe: Recipe, at: list[date]) -> Base:
    """Decayed weights and profiles at the cuts, from the whole of the two tables before as_of; `bought` is the first day on which
    anybody did."""
    r = recipe
    weights = decayed_weights(shares, cuts=at, half_life_days=r.half_life_days, recent_days=r.window_days).persist()
    profile = profiles(daily, weights, cuts=at, trips=trip_types(at, bought), has_amounts=r.has_amounts).persist()
    return Base(at, daily, shares, weights, profile)


def known(base: Base, newest: DataFrame, items: DataFrame, recipe: Recipe) -> Known:
    """`newest` is the frame of `latest` at the cuts of the base, `items` silver.items."""
    pairs, seen = base.profiles.select("user_id", "cut"), visits(base.daily).persist()
    trend = trends(seen, pairs, cuts=base.at, days=recipe.window_days).persist()
    return Known(newest, item_names(items, recipe.category_level), pairs, seen, trend)


def texts(base: Base, known: Known, pairs: DataFrame, recipe: Recipe) -> DataFrame:
    """What the encoder reads of the user × cut `pairs`, whose cuts are among those of the base."""
    return sequences(
        known.newest,
        known.names,
        pairs=pairs,
        profiles=base.profiles,
        weights=base.weights,
        cells=gathered(cells(known.seen, pairs)),
        max_items=recipe.max_items,
        parts=parts_for(recipe.max_tokens),
    )


def sequences_at_as_of(base: Base, known: Known, recipe: Recipe) -> DataFrame:
    """feature.sequences without as_of."""
    return texts(base, known, known.pairs.filter(F.col("cut") == F.lit(recipe.as_of)), recipe).drop("cut")


def learning(base: Base, known: Known, items: DataFrame, recipe: Recipe, say: Callable[[str], None]) -> Learning:
    """Examples at the cuts and sequences at as_of; texts are made once, for the drawn examples and for everybody at as_of.
    `base` and `known` are of every cut.

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
    train = _drawn(known.pairs.filter(learnt), r.sample, categories, r, "training", say)
    validation = _drawn(
        known.pairs.filter(F.col("cut") == F.lit(r.cuts.validation)), r.validation_sample, categories, r, "validation", say
    )
    drawn = train.unionByName(validation).persist()
    everybody = drawn.select("user_id", "cut").unionByName(known.pairs.filter(F.col("cut") == F.lit(r.as_of))).persist()
    read = texts(base, known, everybody, r).persist()
    rows = ex.examples(
        drawn,
        profiles=base.profiles,
        texts=read,
        weights=base.weights,
        labels=labels,
        values=values,
        spec=spec,
        ladder=r.ladder,
        threshold=spend_threshold(values.filter(learnt)) if r.ladder == "spend" else 0.0,
    ).persist()
    at_as_of = read.filter(F.col("cut") == F.lit(r.as_of)).drop("cut")
    dense = Dense(names, ex.trends_by_day(known.trends, names))
    named = ex.items_of(rows, items)
    return Learning(_packed(rows.filter(learnt), dense, r), _packed(rows.filter(~learnt), dense, r), spec, named, at_as_of)


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
