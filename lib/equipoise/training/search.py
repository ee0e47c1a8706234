"""Proposals for settings, and which of them are worth more steps. Knows no Spark and no training.

A trial is one proposal; a rung is one training of it. Successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943): rung r
trains for first_steps · η^r steps, anew and with its own learning-rate schedule, and the best one in η of its trials goes on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from equipoise.errors import ModelError

if TYPE_CHECKING:
    from equipoise.settings.search import Range, Value

Params = dict[str, "Value"]
STARTUP = 5
"""Proposals drawn at random before a Bayesian sampler learns from them."""


class Outcome(NamedTuple):
    """Of one trial on one rung. value: validation loss, None where training failed."""

    trial: int
    rung: int
    steps: int
    params: Params
    value: float | None


class Rung(NamedTuple):
    """Steps of each training, and how many trials are trained."""

    steps: int
    trials: int


@dataclass(frozen=True)
class Plan:
    """space: setting → values or a range. as_they_are: trial 0, the settings without any change. trials: proposals beside it."""

    space: Mapping[str, Sequence[Value] | Range]
    as_they_are: Params
    sampler: str
    trials: int
    seed: int
    first_steps: int
    reduction: int
    max_steps: int


def rungs(plan: Plan) -> list[Rung]:
    """First to last; the last one has max_steps."""
    number, steps = plan.trials + 1, plan.first_steps or plan.max_steps
    found = [Rung(min(steps, plan.max_steps), number)]
    while steps < plan.max_steps:
        steps, number = steps * plan.reduction, math.ceil(number / plan.reduction)
        found.append(Rung(min(steps, plan.max_steps), number))
    return found


def run(
    plan: Plan,
    done: Sequence[Outcome],
    train: Callable[[int, int, int, Params], Outcome],
    late: Callable[[], bool],
) -> Iterator[Outcome]:
    """Trains what is not `done`, rung by rung, and yields each outcome; ends early once it is `late`.

    `train(trial, rung, steps, params)`. The settings as they are take part in every rung: what a proposal gains is known then.

    Raises:
        ModelError: when every training of a rung failed.
    """
    known = {(o.trial, o.rung): o for o in done}
    going = list(range(plan.trials + 1))
    for rung, (steps, number) in enumerate(rungs(plan)):
        if rung:
            best = ranked([known[t, rung - 1] for t in going])[:number]
            going = sorted({0, *(o.trial for o in best)})
        for trial in going:
            if (trial, rung) in known:
                continue
            if late():
                return
            params = known[trial, 0].params if rung else proposal(plan, trial, [known[t, 0] for t in range(trial)])
            known[trial, rung] = train(trial, rung, steps, params)
            yield known[trial, rung]
        if not ranked([known[t, rung] for t in going]):
            raise ModelError(
                f"all {len(going)} trainings of {steps} steps failed; expected one to end; ops.trials says why: mend that, or "
                "make search.space narrower"
            )


def ranked(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Those that did not fail, lowest loss first; of equals the earlier trial."""
    return sorted((o for o in outcomes if o.value is not None), key=lambda o: (o.value, o.trial))


def best_of(plan: Plan, done: Sequence[Outcome]) -> tuple[Outcome, Outcome | None] | None:
    """The best of the highest rung that was reached, and the settings as they are on that rung; None before the first end."""
    ended = ranked(done)
    if not ended:
        return None
    top = max(o.rung for o in ended)
    mine = [o for o in ended if o.rung == top]
    return mine[0], next((o for o in mine if o.trial == 0), None)


def proposal(plan: Plan, trial: int, before: Sequence[Outcome]) -> Params:
    """The settings of a trial: the same for the same seed, number and outcomes of the first rung before it."""
    if trial == 0:
        return dict(plan.as_they_are)
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    seed = int(np.random.SeedSequence([plan.seed, trial]).generate_state(1)[0])
    sampler: Any = optuna.samplers.RandomSampler(seed=seed)
    if plan.sampler == "bayesian" and len(ranked(before)) >= STARTUP:
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP)
    study = optuna.create_study(sampler=sampler)
    spaces = {name: _distribution(values) for name, values in plan.space.items()}
    for outcome in ranked(before):
        if all(_holds(spaces[n], v) for n, v in outcome.params.items()):
            study.add_trial(
                optuna.trial.create_trial(params=_coded(plan, outcome.params), distributions=spaces, value=outcome.value)
            )
    asked = study.ask(spaces).params
    return {name: _value(plan.space[name], asked[name]) for name in plan.space}


def as_text(params: Params) -> dict[str, str]:
    """Values as JSON, by setting."""
    return {name: json.dumps(value) for name, value in params.items()}


def from_text(params: Mapping[str, str]) -> Params:
    """The inverse of `as_text`."""
    return {name: json.loads(value) for name, value in params.items()}


def _is_range(values: Any) -> bool:
    return hasattr(values, "low")


def _distribution(values: Any) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not _is_range(values):
        return CategoricalDistribution([json.dumps(v) for v in values])
    if values.integer:
        return IntDistribution(int(values.low), int(values.high), log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)


def _holds(distribution: Any, value: Any) -> bool:
    """Whether a value, such as one of the settings as they are, lies in the space: nothing can be learnt from another."""
    if hasattr(distribution, "choices"):
        return json.dumps(value) in distribution.choices
    return isinstance(value, int | float) and distribution.low <= value <= distribution.high


def _coded(plan: Plan, params: Params) -> dict[str, Any]:
    return {name: value if _is_range(plan.space[name]) else json.dumps(value) for name, value in params.items()}


def _value(values: Any, asked: Any) -> Value:
    found: Value = asked if _is_range(values) else json.loads(asked)
    return found
