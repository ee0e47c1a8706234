"""What an evaluation is given: the tables of one as_of, and the settings that decide what is compared with what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from pyspark.sql import DataFrame

from equipoise.errors import SettingsError
from equipoise.recommend.lists import Policy
from equipoise.recommend.rules import Rules
from equipoise.recommend.table import Popularity


@dataclass(frozen=True)
class Protocol:
    """Dates, ladder, parameters of baselines and lists. Days are local; labels end before `labels_until`.

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

    def __post_init__(self) -> None:
        days = max(self.window_days, self.horizon_days)
        if self.labels_until < self.as_of + timedelta(days=days):
            enough = self.as_of + timedelta(days=days)
            raise SettingsError(
                f"evaluate.labels_until = {self.labels_until} leaves no whole label window after as_of {self.as_of}: windows "
                f"have {self.window_days} and labels {self.horizon_days} days; set it to {enough} or later"
            )

    def origins(self) -> list[date]:
        """as_of and every window boundary after it that a whole label window follows."""
        step = timedelta(days=self.window_days)
        room = self.labels_until - self.as_of - timedelta(days=max(self.window_days, self.horizon_days))
        return [self.as_of + k * step for k in range(room // step + 1)]


@dataclass(frozen=True)
class ListTables:
    """Frames of one as_of: what users are shown, what it was chosen from, and what decides on exploring."""

    values: DataFrame
    response: DataFrame
    budgets: DataFrame
    recommendations: DataFrame


@dataclass(frozen=True)
class Tables:
    """Frames of one as_of: what is published, what it was made from, and the log with the time after as_of.

    examples, validation: rows whose labels end at or before as_of, for the baselines that learn. spec: their categories.
    """

    lists: ListTables | None
    events: DataFrame
    items: DataFrame
    item_categories: DataFrame
    users: DataFrame
    profile: DataFrame
    vectors: DataFrame
    interests: DataFrame
    segments: DataFrame
    migration: DataFrame
    item_vectors: DataFrame
    examples: DataFrame
    validation: DataFrame
    spec: DataFrame
