"""Task campaigns: who answers a campaign, foretold on its first day from campaigns that were over by then."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import partial

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from equipoise.audiences.campaigns import FEATURES, Contacts
from equipoise.audiences.response import Past, fit, past
from equipoise.evaluate.arrays import Floats
from equipoise.evaluate.bootstrap import Measure
from equipoise.evaluate.metrics import scores
from equipoise.evaluate.table import Comparison, Method
from equipoise.evaluate.tasks.value import NULL_DRAWS, NULL_SEED, ROC_STEPS
from equipoise.segments.history import History

OURS = "response"
BASELINE = "earlier_rate"
RIDGE = 100.0
PROBABILITIES = (OURS, "response_logit", "response_boosted", BASELINE)
"""Methods whose score is a chance; the others only order."""


def foretold(
    history: History, contacts: Contacts, *, until: int, response_days: int, seed: int
) -> tuple[Past, dict[str, Floats]]:
    """Contacts of every campaign that is over by `until` and had enough answers over before it, and each method's score.

    Args:
        until: first day of which nothing is known.
    """
    whole = past(history, contacts, until=until, response_days=response_days)
    names = np.array(whole.campaign, dtype=str)
    begins = {name: first for name, first, _ in contacts.campaigns()}
    over = np.array([begins[name] + response_days for name in whole.campaign], dtype=np.int64)
    kept = np.zeros(len(names), dtype=bool)
    said: dict[str, Floats] = {name: np.zeros(len(names)) for name in (*PROBABILITIES, "response_linear", "spend_112d")}
    for name, first in begins.items():
        rows = np.flatnonzero(names == name)
        before = np.flatnonzero(over <= first)  # what is in a row was known on its campaign's first day, and its answer by `over`
        learnt = Past(whole.x[before], whole.yes[before], tuple(names[before]), whole.user[before])
        model = fit(learnt, seed)
        if not len(rows) or model is None or model.linear is None or model.trees is None:
            continue
        kept[rows] = True
        x, logs = whole.x[rows], np.log1p(np.maximum(whole.x[rows], 0.0))
        linear = make_pipeline(StandardScaler(), Ridge(RIDGE)).fit(np.log1p(np.maximum(learnt.x, 0.0)), learnt.yes.astype(float))
        said[OURS][rows] = model.probability(x)
        said["response_logit"][rows] = model.linear.predict_proba(logs)[:, 1]
        said["response_boosted"][rows] = model.trees.predict_proba(x)[:, 1]
        said["response_linear"][rows] = linear.predict(logs)
        said[BASELINE][rows] = x[:, FEATURES.index("answer_rate")]
        said["spend_112d"][rows] = x[:, FEATURES.index("spend_112d")]
    chosen = np.flatnonzero(kept)
    told = Past(whole.x[chosen], whole.yes[chosen], tuple(names[chosen]), whole.user[chosen])
    return told, {name: score[chosen] for name, score in said.items()}


def comparisons(of: Past, said: Mapping[str, Floats], origin: date) -> list[Comparison]:
    """Measures with intervals over users drawn with all their contacts, and ROC curves; none where all answered, or nobody."""
    if not of.yes.any() or of.yes.all():
        return []
    yes = of.yes.astype(np.float64)
    methods = tuple(
        Method(name, (tuple(_measures(yes, score, calibrated=name in PROBABILITIES)),), 1 if name == OURS else None)
        for name, score in said.items()
    )
    curves = tuple(Method(name, (tuple(_roc(yes, score)),), 1 if name == OURS else None) for name, score in said.items())
    where = origin.isoformat()
    return [
        Comparison("campaigns", where, of.user, methods, BASELINE),
        Comparison("campaigns", where, of.user, curves),
    ]


def _measures(yes: Floats, score: Floats, *, calibrated: bool) -> list[Measure]:
    found = [
        Measure("auc", 0, scores.auc, (yes, score)),
        Measure("ap", 0, scores.average_precision, (yes, score)),
        Measure("decile_lift", 0, scores.decile_lift, (yes, score)),
    ]
    if calibrated:
        found += [
            Measure("brier", 0, scores.brier, (yes, score)),
            Measure("ece", 0, scores.calibration_error, (yes, score)),
            Measure("ece_null", 0, _null, (score,), interval=False),
        ]
    return found


def _null(weights: Floats, score: Floats) -> Floats:
    """A perfect model's calibration error."""
    return np.full(len(weights), scores.calibration_null(score, NULL_DRAWS, NULL_SEED)[0])


def _roc(yes: Floats, score: Floats) -> list[Measure]:
    return [
        Measure("roc_tpr", step, partial(scores.true_positive_rate, at=step / 100), (yes, score), interval=False)
        for step in ROC_STEPS
    ]
