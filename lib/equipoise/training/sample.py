"""What the example tables hold, in a few plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from equipoise.errors import ContractError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Sample:
    """The examples of a training: rows, and the cut dates they were taken at (ISO, rising)."""

    training_rows: int
    training_cuts: tuple[str, ...]
    validation_rows: int
    validation_cuts: tuple[str, ...]


def described(training: DataFrame, validation: DataFrame, *, labels_by: date, label_days: int) -> Sample:
    """Rows and cuts of feature.examples and feature.examples_validation, whose labels span `label_days` from the cut.

    Raises:
        ContractError: when one of them is empty, a label window ends after `labels_by`, or training labels reach into validation.
    """
    rows, cuts = _counted(training, "feature.examples")
    validation_rows, validation_cuts = _counted(validation, "feature.examples_validation")
    for name, last, limit in (
        ("feature.examples", cuts[-1], date.fromisoformat(validation_cuts[0])),
        ("feature.examples_validation", validation_cuts[-1], labels_by),
    ):
        end = date.fromisoformat(last) + timedelta(days=label_days)
        if end > limit:
            raise ContractError(
                f"{name} has labels until {end}, expected none at or after {limit}; run build_features for this --as-of"
            )
    return Sample(rows, cuts, validation_rows, validation_cuts)


def dates_of(sample: Sample, *, as_of: date, label_days: int) -> dict[str, str]:
    """`ModelMeta.dates` of a model fitted on these examples and freshened on the validation ones; labels span `label_days`."""
    last = sample.training_cuts[-1], sample.validation_cuts[-1]
    fitted, seen = (date.fromisoformat(cut) + timedelta(days=label_days) for cut in last)
    dates = {"as_of": as_of.isoformat(), "fitted_until": fitted.isoformat(), "seen_until": seen.isoformat()}
    return dates | {"validated_from": sample.validation_cuts[0]}


def vocabulary(spec: DataFrame) -> tuple[list[str], list[float]]:
    """Categories and their population shares, by position, from feature.example_spec.

    Raises:
        ContractError: when positions do not run 0, 1, 2, … .
    """
    rows = spec.orderBy("position").collect()
    positions = [r["position"] for r in rows]
    if not rows or positions != list(range(len(rows))):
        raise ContractError(f"feature.example_spec has positions {positions[:5]}…, expected 0, 1, 2, …; run build_features again")
    return [str(r["category"]) for r in rows], [float(r["population_share"]) for r in rows]


def _counted(examples: DataFrame, name: str) -> tuple[int, tuple[str, ...]]:
    counts = {r["cut_day"]: r["count"] for r in examples.groupBy("cut_day").count().collect()}
    if not counts:
        raise ContractError(f"{name} is empty; run build_features with a later --as-of or more users")
    return sum(counts.values()), tuple((EPOCH + timedelta(days=day)).isoformat() for day in sorted(counts))
