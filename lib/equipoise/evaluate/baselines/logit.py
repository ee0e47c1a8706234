"""Logit-12 and ridge-12: the strong plain baseline on the 12 explicit features of a profile.

Trained on labels of cuts whose windows end at or before as_of; the features come from the tables that the model reads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from equipoise.evaluate.arrays import Floats, Ints

INVERSE_PENALTY, RIDGE_ALPHA = 1.0, 1.0
ITERATIONS = 1000


@dataclass(frozen=True)
class Logit12:
    """A multinomial logit of the value class and a ridge of spend; spend None where the source has no amounts."""

    classes: Pipeline
    spend: Pipeline | None

    def probabilities(self, features: Floats) -> Floats:
        """(n, 3): probability of O, interest, buy; 0 for a class that training never saw."""
        seen = self.classes.classes_.astype(int)
        out: Floats = np.zeros((len(features), 3))
        out[:, seen] = self.classes.predict_proba(_shape(features))
        return out

    def expected_spend(self, features: Floats) -> Floats | None:
        """(n,) predicted spend, a ranking score (it is fitted on the root of spend); None where there are no amounts."""
        return None if self.spend is None else np.asarray(self.spend.predict(_shape(features)))


def fit(
    features: Floats, label: Ints, spend: Floats | None, *, inverse_penalty: float = INVERSE_PENALTY, ridge: float = RIDGE_ALPHA
) -> Logit12:
    """Fitted on rows of training cuts: features (n, 12) raw units, class 0..2, spend of the label window."""
    classes = make_pipeline(StandardScaler(), LogisticRegression(C=inverse_penalty, max_iter=ITERATIONS))
    classes.fit(_shape(features), label)
    if spend is None:
        return Logit12(classes, None)
    # The root of spend: its variance grows with its mean, and the root keeps few big spenders from ruling the fit.
    money = make_pipeline(StandardScaler(), Ridge(ridge))
    money.fit(_shape(features), np.sqrt(np.maximum(spend, 0.0)))
    return Logit12(classes, money)


def _shape(features: Floats) -> Floats:
    """log(1 + x): counts, days and money are skewed, all are ≥ 0."""
    out: Floats = np.log1p(np.maximum(features, 0.0))
    return out
