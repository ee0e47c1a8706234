"""How a model stands beside others on the same users: paired differences of loss, their intervals, what follows for promotion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from equipoise.errors import GateError
from equipoise.evaluate.arrays import Bools, Floats, Ints
from equipoise.evaluate.bootstrap import interval, per_user, resampled

GateMetric = Literal["category", "visit", "value", "loss"]
METRICS: tuple[GateMetric, ...] = ("category", "visit", "value", "loss")
RESAMPLES = 2000
"""Bootstrap resamples over users; the ends of a 95 % interval then rest on 50 of them each."""

SHOWN = {"category": "next categories", "visit": "visits, summed over categories", "value": "value class", "loss": "weighted sum"}


@dataclass(frozen=True)
class Losses:
    """One model's loss per example and metric, bits, (n,) each, in an order that all models of a comparison share."""

    category: Floats
    visit: Floats
    value: Floats
    loss: Floats


@dataclass(frozen=True)
class Comparison:
    """A candidate beside another model on the same examples: mean losses, and the mean of candidate − other with its 95 %
    interval from resampling users, all in bits. fair: the other had not seen these labels; if it had, this refuses nothing."""

    other: str
    metric: GateMetric
    users: int
    candidate_bits: float
    other_bits: float
    difference_bits: float
    low_bits: float
    high_bits: float
    fair: bool = True

    def refuses(self, tolerance_bits: float) -> bool:
        """Whether the candidate is worse beyond doubt and tolerance, or its loss is not finite."""
        return not math.isfinite(self.candidate_bits) or (self.fair and self.low_bits > tolerance_bits)

    def told(self) -> str:
        """One line with every figure."""
        seen = "" if self.fair else " (it has seen these labels: its loss is flattered, and this refuses nothing)"
        return (
            f"{SHOWN[self.metric]}, {self.users:,} users: {self.candidate_bits:.4f} bits, {self.other} {self.other_bits:.4f}, "
            f"difference {self.difference_bits:+.4f} [{self.low_bits:+.4f}, {self.high_bits:+.4f}]{seen}"
        )


@dataclass(frozen=True)
class Verdict:
    """All comparisons of a candidate on at most `examples` examples. current: the model that was CURRENT; not_compared: why it is
    not among them, or ''."""

    metric: GateMetric
    tolerance_bits: float
    examples: int
    current: str | None
    not_compared: str
    comparisons: tuple[Comparison, ...]

    @property
    def deciding(self) -> tuple[Comparison, ...]:
        """Those on the metric that decides."""
        return tuple(c for c in self.comparisons if c.metric == self.metric)

    def check(self, model_id: str) -> None:
        """Raises GateError, with the figures, when a deciding comparison refuses the model."""
        bad = [c.told() for c in self.deciding if c.refuses(self.tolerance_bits)]
        if bad:
            raise GateError(
                f"model {model_id} is published but not promoted: worse on the validation examples: {'; '.join(bad)}; expected "
                "finite losses and differences whose 95 % interval reaches down to training.gate_tolerance_bits = "
                f"{self.tolerance_bits:g}; CURRENT stays; look at its MODEL_CARD.md, change [training] or raise the tolerance "
                f"and run again, or promote it by hand: python jobs/promote_model.py --settings … --to {model_id} --reason …"
            )

    def lines(self) -> list[str]:
        """For the log: what decides, and what was not compared."""
        told = [f"gate: {c.told()}" for c in self.deciding]
        return [*told, f"gate: not compared with CURRENT: {self.not_compared}"] if self.not_compared else told

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"comparisons": [asdict(c) for c in self.comparisons]}

    def section(self) -> str:
        """A section of the model card."""
        head = "| loss, bits | beside | users | this model | the other | difference, 95 % interval |\n|---|---|---|---|---|---|"
        rows = [
            f"| {SHOWN[c.metric]} | {c.other}{'' if c.fair else ' *'} | {c.users:,} | {c.candidate_bits:.4f} | "
            f"{c.other_bits:.4f} | {c.difference_bits:+.4f} [{c.low_bits:+.4f}, {c.high_bits:+.4f}] |"
            for c in self.comparisons
        ]
        notes = [
            "Losses per user on the same validation examples, of this model before it was freshened on them; intervals from "
            f"{RESAMPLES:,} resamples of users. {SHOWN[self.metric].capitalize()} decides: an interval wholly above "
            f"{self.tolerance_bits:g} bits refuses promotion. prior: the decayed history alone; counted: what counting knows, "
            "without text."
        ]
        if any(not c.fair for c in self.comparisons):
            notes.append("\\* The other has seen these labels, so that its loss is flattered; this refuses nothing.")
        if self.not_compared:
            notes.append(f"Not compared with the model that was CURRENT ({self.current or 'none'}): {self.not_compared}.")
        return "\n\n".join(["## Promotion gate", *(["\n".join([head, *rows])] if rows else []), *notes]) + "\n"


def recorded(said: Mapping[str, Any]) -> Verdict | None:
    """The verdict that `as_dict` gave; None from {}."""
    if not said:
        return None
    return Verdict(**{**said, "comparisons": tuple(Comparison(**c) for c in said["comparisons"])})


def compare(
    candidate: Losses, others: Mapping[str, Losses], *, unit: Ints, known: Bools, seed: int, unfair: Sequence[str] = ()
) -> tuple[Comparison, ...]:
    """The candidate beside each of the others, per metric on which both have a loss; the same resamples for all.

    Args:
        unit: user (n,) of each example, 0..users-1; a user with several examples is drawn with all of them.
        known: examples (n,) that count for the category loss; their label window is not empty.
        unfair: names of others that have seen these labels.
    """
    out: list[Comparison] = []
    for metric in METRICS:
        rows = known if metric == "category" else np.ones(len(known), dtype=bool)
        mine = getattr(candidate, metric)[rows]
        beside = {name: getattr(o, metric)[rows] for name, o in others.items() if len(getattr(o, metric))}
        if not len(mine) or not beside:
            continue
        users = np.unique(unit[rows], return_inverse=True)[1].astype(np.int64)
        with np.errstate(invalid="ignore"):  # infinite − infinite
            gaps = {name: mine - theirs for name, theirs in beside.items()}
        finite = {name: bool(np.isfinite(gap).all()) for name, gap in gaps.items()}  # the bootstrap would leave holes out
        drawn = resampled(
            [per_user(metric, g if finite[n] else np.zeros(len(g))) for n, g in gaps.items()], users, RESAMPLES, seed
        )
        for place, (name, gap) in enumerate(gaps.items()):
            low, high = (interval(drawn[:, place]) if finite[name] else None) or (math.nan, math.nan)
            figures = (float(mine.mean()), float(beside[name].mean()), float(gap.mean()), low, high)
            out.append(Comparison(name, metric, int(users.max()) + 1, *figures, fair=name not in unfair))
    return tuple(out)
