"""HGB-12: boosted trees on the 12 explicit features of a profile, the other strong plain baseline of value beside logit-12.

Trained on labels of cuts whose windows end at or before the origin; trees need no logarithms, so features stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from equipoise.evaluate.arrays import Floats, Ints
from equipoise.models.threads import tree_threads

BOOSTING: dict[str, Any] = {
    "max_iter": 200,
    "learning_rate": 0.03,
    "max_leaf_nodes": 6,
    "l2_regularization": 5.0,
    "max_features": 0.5,
}
"""Chosen of ten settings on Complete Journey, 28 days from days 225, 253 and 281 of 2017, and CDNOW, 28 days from 1997-10-01."""

LEAF_ROWS, LEAF_SHARE = 80, 0.01
"""A leaf holds at least the lower of this many rows and this share of them."""


@dataclass(frozen=True)
class Trees12:
    """Boosted trees of the value class, None where training saw one class only (`only`), and of spend, None without amounts."""

    only: int
    classes: HistGradientBoostingClassifier | None
    spend: HistGradientBoostingRegressor | None

    def probabilities(self, features: Floats) -> Floats:
        """(n, 3): probability of O, interest, buy; 0 for a class that training never saw."""
        out: Floats = np.zeros((len(features), 3))
        if self.classes is None:
            out[:, self.only] = 1.0
        elif len(features):
            out[:, self.classes.classes_.astype(int)] = self.classes.predict_proba(features)
        return out

    def expected_spend(self, features: Floats) -> Floats | None:
        """(n,) expected money ≥ 0; None where there are no amounts."""
        if self.spend is None:
            return None
        return np.asarray(self.spend.predict(features)) if len(features) else np.zeros(0)


def fit(features: Floats, label: Ints, spend: Floats | None, seed: int, **boosting: Any) -> Trees12:
    """Fitted on rows of training cuts: features (n, 12) raw units, class 0..2, spend of the label window.

    Spend is fitted by the Poisson deviance, whose variance grows with the mean as that of spend does. No early stopping: the
    rows it sets aside are drawn at random.

    Args:
        boosting: other values than BOOSTING, of scikit-learn's names.
    """
    more: Mapping[str, Any] = {
        **BOOSTING,
        "min_samples_leaf": max(1, int(min(LEAF_ROWS, LEAF_SHARE * len(features)))),
        "early_stopping": False,
        "random_state": seed,
        **boosting,
    }
    seen = np.unique(label)
    with tree_threads(len(features)):
        classes = HistGradientBoostingClassifier(**more).fit(features, label) if len(seen) > 1 else None
        money = None if spend is None else np.maximum(spend, 0.0)
        if money is None or not (money > 0).any():
            return Trees12(int(seen[0]), classes, None)
        return Trees12(int(seen[0]), classes, HistGradientBoostingRegressor(**more, loss="poisson").fit(features, money))
