"""Task value: who buys in the next window, how much, and is each user's class named rightly?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial

import numpy as np

from equipoise.evaluate.arrays import Floats, Ints, counted, summed
from equipoise.evaluate.behaviour import Behaviour
from equipoise.evaluate.bootstrap import Measure, per_user
from equipoise.evaluate.metrics import classes, scores
from equipoise.evaluate.table import Comparison, Method
from equipoise.tables.vocabulary import SEGMENTS

BASELINE = "rfm_sum"
NULL_DRAWS = 200
NULL_SEED = 1
ROC_STEPS = range(5, 100, 5)
"""False-positive rates, in percent, at which the ROC curve is given: metric roc_tpr, the rate in `cutoff`."""

GAIN_STEPS = range(10, 100, 10)
"""Parts of the users, in percent, best first, whose part of all spend is given: metric gain, the part in `cutoff`."""

TENTHS = range(scores.ECE_BINS)
"""Tenths of the users by what is said of them: spend_said and spend_seen, p_said and p_seen, `cutoff` 1 the lowest to 10."""


@dataclass(frozen=True)
class Outcome:
    """What each user did in a label window: class (0 O, 1 interest, 2 buy), whether they bought, and money spent."""

    label: Ints
    buys: Floats
    spend: Floats | None

    def of(self, users: Ints) -> Outcome:
        """The same of some users."""
        return Outcome(self.label[users], self.buys[users], None if self.spend is None else self.spend[users])


@dataclass(frozen=True)
class Answer:
    """What a method says of each tested user; None where it does not speak of it.

    score: orders users by how likely they buy. worth: orders them by spend. p: (n, 3) class probabilities. buys: probability
    of a purchase. named: class. money: expected spend in money.
    """

    score: Floats
    worth: Floats | None = None
    p: Floats | None = None
    buys: Floats | None = None
    named: Ints | None = None
    money: Floats | None = None


def outcome(behaviour: Behaviour, ladder: str, threshold: float, has_amounts: bool, start: int, days: int) -> Outcome:
    """Labels of the window [start, start + days), by the ladder of the settings.

    events: buy = a purchase, interest = any other event but expose. spend: O = no spend, interest = below the threshold, buy =
    at or above it; a user then counts as buying with any spend.
    """
    inside = (behaviour.day >= start) & (behaviour.day < start + days)
    users = len(behaviour.users)
    bought = behaviour.where(inside & behaviour.bought)
    spend = summed(bought.user, bought.amount, users)
    if ladder == "spend":
        label = np.where((spend > 0) & (spend >= threshold), 2, np.where(spend > 0, 1, 0))
        return Outcome(label, (spend > 0).astype(np.float64), spend)
    active = counted(behaviour.where(inside & behaviour.own).user, users) > 0
    buys = counted(bought.user, users) > 0
    label = np.where(buys, 2, np.where(active, 1, 0))
    return Outcome(label, buys.astype(np.float64), spend if has_amounts else None)


def spend_threshold(behaviour: Behaviour, cuts: Sequence[int], days: int) -> float:
    """Median spend of those who spend, over users × label windows that start at the cuts; 0 when nobody does."""
    spends = [outcome(behaviour, "spend", 0.0, True, cut, days).spend for cut in cuts]
    positive = np.concatenate([s[s > 0] for s in spends if s is not None])
    return float(np.median(positive)) if len(positive) else 0.0


def probability_of_buying(p: Floats, ladder: str) -> Floats:
    """Chance of a purchase from class probabilities: on the spend ladder both upper classes buy, else only the last."""
    return 1.0 - p[:, 0] if ladder == "spend" else p[:, 2]


def oracle(truth: Outcome) -> Answer:
    """Who knows the true class, and nothing else: what three segments can reach at best."""
    return Answer(truth.label.astype(np.float64), truth.label.astype(np.float64), named=truth.label)


def comparison(
    truth: Outcome,
    answers: Mapping[str, Sequence[Answer]],
    trained: set[str],
    tested: Ints,
    origin: date,
    groups: Mapping[str, Ints],
) -> Comparison:
    """Every method's answers (one per training seed) against the outcome of the tested users; arrays are per tested user."""
    methods = [
        Method(name, tuple(tuple(measures(truth, one)) for one in runs), len(runs) if name in trained else None)
        for name, runs in answers.items()
    ]
    baseline = BASELINE if BASELINE in answers else None
    return Comparison("value", origin.isoformat(), tested, tuple(methods), baseline, groups=groups)


def curves(truth: Outcome, answers: Mapping[str, Sequence[Answer]], trained: set[str], tested: Ints, origin: date) -> Comparison:
    """Over all users, as points: the ROC curve of each method, its gains, and what it said beside what came, by tenths."""
    methods = [
        Method(name, tuple(tuple(_points(truth, one)) for one in runs), len(runs) if name in trained else None)
        for name, runs in answers.items()
    ]
    return Comparison("value", origin.isoformat(), tested, tuple(methods))


def measures(truth: Outcome, answer: Answer) -> list[Measure]:
    """Every measure that the answer speaks of, a row per user."""
    found = [
        Measure("auc", 0, scores.auc, (truth.buys, answer.score)),
        Measure("ap", 0, scores.average_precision, (truth.buys, answer.score)),
        Measure("ap_nonbuyers", 0, scores.average_precision, (1.0 - truth.buys, -answer.score)),
    ]
    if truth.spend is not None and answer.worth is not None:
        found.append(Measure("ngini", 0, scores.normalised_gini, (truth.spend, answer.worth)))
        found.append(Measure("decile_lift", 0, scores.decile_lift, (truth.spend, answer.worth)))
    if truth.spend is not None and answer.money is not None:
        found.append(per_user("mae", np.abs(answer.money - truth.spend)))
        found.append(per_user("mse", (answer.money - truth.spend) ** 2))
    if answer.buys is not None:
        found += _calibration(truth.buys, answer.buys)
    if answer.p is not None:
        true = answer.p[np.arange(len(answer.p)), truth.label]
        found.append(per_user("log_loss", -np.log(np.maximum(true, 1e-9))))
    if answer.named is not None:
        found += _classes(truth.label, answer.named)
    return found


def _calibration(buys: Floats, probability: Floats) -> list[Measure]:
    return [
        Measure("brier", 0, scores.brier, (buys, probability)),
        Measure("ece", 0, scores.calibration_error, (buys, probability)),
        Measure("ece_null", 0, partial(_null, end=0), (probability,), interval=False),
        Measure("ece_null_p95", 0, partial(_null, end=1), (probability,), interval=False),
    ]


def _null(weights: Floats, probability: Floats, end: int) -> Floats:
    """Mean (end 0) or 95th percentile (end 1) of a perfect model's calibration error."""
    return np.full(len(weights), scores.calibration_null(probability, NULL_DRAWS, NULL_SEED)[end])


def _classes(label: Ints, named: Ints) -> list[Measure]:
    pair, number = (label, named), len(SEGMENTS)
    found = [
        Measure("accuracy", 0, classes.accuracy, pair),
        Measure("macro_f1", 0, partial(classes.macro_f1, classes=number), pair),
    ]
    kinds = {"precision": classes.class_precision, "recall": classes.class_recall, "f1": classes.class_f1}
    for of, segment in enumerate(SEGMENTS):
        found += [Measure(f"{kind}_{segment}", 0, partial(f, classes=number, of=of), pair) for kind, f in kinds.items()]
    return found


def _points(truth: Outcome, answer: Answer) -> list[Measure]:
    pair = (truth.buys, answer.score)
    found = [
        Measure("roc_tpr", step, partial(scores.true_positive_rate, at=step / 100), pair, interval=False) for step in ROC_STEPS
    ]
    if truth.spend is not None and answer.worth is not None:
        ordered = (truth.spend, answer.worth)
        found += [Measure("gain", s, partial(scores.captured, share=s / 100), ordered, interval=False) for s in GAIN_STEPS]
    if truth.spend is not None and answer.money is not None:
        found += _by_tenths("spend", truth.spend, answer.money)
    if answer.buys is not None:
        found += _by_tenths("p", truth.buys, answer.buys)
    return found


def _by_tenths(name: str, seen: Floats, said: Floats) -> list[Measure]:
    return [
        Measure(f"{name}_{kind}", tenth + 1, partial(scores.mean_in_bin, which=tenth), (values, said), interval=False)
        for kind, values in (("said", said), ("seen", seen))
        for tenth in TENTHS
    ]
