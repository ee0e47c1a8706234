"""What an evaluation is given: the tables of one as_of, and the settings that decide what is compared with what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Literal

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from equipoise.recommend.lists import Policy
from equipoise.recommend.rules import Rules
from equipoise.recommend.table import Popularity


@dataclass(frozen=True)
class Protocol:
    """Dates, ladder, parameters of baselines and lists. Days are local; labels end before `labels_until`, no
    later than the log.

    prior: pseudo-weight of the population and exponent that the model started from.
    policy, popularity: how the published lists were made; rules: what they leave out. frontier: the λ to try;
    foretold: λ → the loss of accuracy that gold.balance expected. response_days: in which an answer to a campaign counts.
    """

    as_of: date
    labels_until: date
    window_days: int
    horizon_days: int
    training_cuts: tuple[date, ...]
    ladder: Literal["events", "spend"]
    has_amounts: bool
    prior: tuple[float, float]
    excluded: tuple[str, ...]
    policy: Policy
    popularity: Popularity
    rules: Rules
    frontier: tuple[float, ...]
    foretold: Mapping[float, float]
    resamples: int
    seed: int
    floors: bool
    response_days: int

    @property
    def label_days(self) -> int:
        """Days of a whole label window."""
        return max(self.window_days, self.horizon_days)

    def origins(self) -> list[date]:
        """as_of and every window boundary after it that a whole label window follows; none where the first is not over."""
        step = timedelta(days=self.window_days)
        room = self.labels_until - self.as_of - timedelta(days=self.label_days)
        return [self.as_of + k * step for k in range(room // step + 1)]


@dataclass(frozen=True)
class ListTables:
    """Frames of one as_of: what users are shown, what it was chosen from, and what decides on exploring."""

    values: DataFrame
    response: DataFrame
    budgets: DataFrame
    recommendations: DataFrame

    def of(self, users: DataFrame) -> ListTables:
        """Of these users alone (user_id); what everybody answered stays."""
        return replace(self, **{name: _of(getattr(self, name), users) for name in ("values", "budgets", "recommendations")})


@dataclass(frozen=True)
class Tables:
    """Frames of one as_of: what is published, what it was made from, and the log with the time after as_of.

    examples, validation, spec: examples and their categories, for the baselines that learn; of another date where build_features
    has run since. item_vectors: None where they are of another model than the users' vectors.
    """

    lists: ListTables | None
    item_vectors: DataFrame | None
    events: DataFrame
    items: DataFrame
    item_categories: DataFrame
    users: DataFrame
    profile: DataFrame
    sequences: DataFrame
    vectors: DataFrame
    interests: DataFrame
    segments: DataFrame
    migration: DataFrame
    examples: DataFrame
    validation: DataFrame
    spec: DataFrame

    def of(self, users: DataFrame) -> Tables:
        """Of what has rows per user those of these users alone (user_id); the log, items and examples stay whole."""
        names = ("users", "profile", "sequences", "vectors", "interests", "segments", "migration")
        mine = {name: _of(getattr(self, name), users) for name in names}
        return replace(self, lists=self.lists.of(users) if self.lists else None, **mine)


def _of(frame: DataFrame, users: DataFrame) -> DataFrame:
    return frame.join(F.broadcast(users), "user_id", "left_semi")
