"""Settings of the search over hyper-parameters."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from equipoise.settings.section import Count, Positive, Section

Value = bool | int | float | str


class Range(Section):
    """Numbers from low to high, both included."""

    low: float = Field(description="Smallest.")
    high: float = Field(description="Largest.")
    log: bool = Field(False, description="Even on a logarithmic scale.")
    integer: bool = Field(False, description="Whole numbers.")

    @model_validator(mode="after")
    def _in_order(self) -> Range:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(
                f"low = {self.low}, high = {self.high}: expected low below high, and above 0 with log = true; correct the range"
            )
        return self


class Search(Section):
    """Which settings are tried, and how often."""

    space: dict[str, list[Value] | Range] = Field(
        default_factory=dict,
        description="Setting of the sections training or tower → values, or a range such as { low = 1e-5, high = 1e-2, log = true }.",
    )
    sampler: Literal["random", "bayesian"] = Field(
        "bayesian", description="How values are proposed; bayesian learns from trials."
    )
    trials: Count = Field(20, description="Proposals, beside the settings as they are.")
    first_steps: Annotated[int, Field(ge=0)] = Field(
        0, description="Steps of the first rung of successive halving; 0: every proposal is trained for training.max_steps."
    )
    reduction: Annotated[int, Field(ge=2)] = Field(3, description="One in so many goes on to a rung of so many times the steps.")
    metric: Literal["category", "visit", "value", "loss"] = Field("category", description="Validation loss that is to be low.")
    seed: Count = Field(1, description="Seed of the proposals.")
    max_seconds: Positive = Field(3600.0, description="No trial begins later than this; the next run of the search goes on.")

    @model_validator(mode="after")
    def _names_of_training(self) -> Search:
        wrong = sorted(n for n in self.space if n.split(".")[0] not in ("training", "tower") or n.count(".") != 1)
        empty = sorted(n for n, values in self.space.items() if not isinstance(values, Range) and not values)
        if wrong or empty:
            raise ValueError(
                f"search.space: {f'{wrong[0]!r} is no setting of training or tower' if wrong else f'{empty[0]!r} has no values'}; "
                "expected names such as training.learning_rate, each with values or a range; correct it"
            )
        return self


def put(tree: dict[str, Any], params: dict[str, Value]) -> dict[str, Any]:
    """Dumped settings with the values of some of them changed; the argument stays as it is."""
    made = {name: dict(section) if isinstance(section, dict) else section for name, section in tree.items()}
    for dotted, value in params.items():
        section, _, name = dotted.partition(".")
        made[section][name] = value
    return made
