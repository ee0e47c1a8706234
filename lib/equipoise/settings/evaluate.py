"""Settings of evaluation."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import Field

from equipoise.settings.section import Count, LocalFile, Positive, Section, Share


class Evaluate(Section):
    """Evaluation."""

    labels_until: date | None = Field(
        None,
        description="Events before this date may be read as labels; none: as_of + one window. Where no whole window ends by it and "
        "by the end of the log, nothing is compared.",
    )
    resamples: Annotated[int, Field(ge=100)] = Field(1000, description="Bootstrap resamples over users.")
    seeds: Count = Field(1, description="Training seeds evaluated; more than one trains and scores a model per seed.")
    held_out_users: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        0.0, description="Share of the users whom one more model is trained without, to be judged on them; 0: no such model."
    )
    lists: bool = Field(True, description="False: the learner alone is evaluated, and run_all makes no lists and no report.")
    measured: tuple[LocalFile, ...] = Field(
        (), description="Files of rows that benchmarks measured elsewhere (their --rows), to stand in gold.evaluation too."
    )
    also: tuple[str, ...] = Field((), description="Other warehouses whose gold.evaluation stands in the table of print_standing.")
    floors: bool = Field(False, description="Reproduce the published floors on raw UTC dates (complete_journey only).")
    exclude_categories: tuple[str, ...] = Field(
        (), description="Top-level categories that do not count in ranking accuracy, such as fuel."
    )
    frontier: tuple[Share, ...] = Field(
        (0.0, 0.1, 0.3, 0.5, 0.7, 0.9), description="λ values of the balance-against-accuracy curve."
    )
    arms: LocalFile = Field(
        "", description="CSV or Parquet with user_id (pseudonym) and arm: an experiment on what was shown; empty: none."
    )
    control: str = Field("control", description="The arm of evaluate.arms that the others are compared with.")
    split: dict[str, Positive] = Field({}, description="Planned part of the users per arm; empty: even.")
    arms_since: date | None = Field(
        None, description="First day (UTC) whose exposures belong to the experiment; none: all that are known."
    )
