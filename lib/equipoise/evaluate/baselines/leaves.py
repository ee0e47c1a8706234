"""What is in a user's next basket, by finest category (leaf): boosted trees on user × leaf pairs, one model for leaves that the
user knows and one for those that are new to the user.

Two models, because they answer by different features: on Complete Journey's validation window (first basket from 2017-10-09 on,
2,002 households, NDCG@10 against the personal decay's .3189) one model for both gained .0065 ± .0020 (standard error), two
.0106 ± .0019.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise.evaluate.arrays import Bools, Floats, Ints, counted
from equipoise.evaluate.baselines import pairs
from equipoise.evaluate.baselines.items import baskets_ago
from equipoise.evaluate.baselines.pairs import NEVER_DAYS, Visits, ease
from equipoise.evaluate.tasks.next_basket import NextBasket
from equipoise.models.threads import tree_threads

TRIP_HALF_LIVES = (2, 5, 10, 20, 40)
"""Half-lives of the own decay, in the user's baskets."""

RATED = (5, 10, 20, 40)
"""Those that are also given as a share of what a leaf bought in every basket would have."""

RIDGE_SHARE = 0.4
"""EASE's penalty per user; on Complete Journey any from .1 to 1.2 explores equally well within the noise."""

NEAR = ("near_own", "near_ever", "near_28d", "near_112d")
"""Logs of what EASE says of a leaf, from the user's leaves by own baskets, ever, and by half-lives of 28 and 112 days."""

SMALLEST_SCORE = 1e-3
"""Added before the log of a neighbour score."""

NEW_SHARE = 0.06
"""Part of the leaves new to the user that a training cut keeps, each counted 1 ÷ NEW_SHARE times; every hit is kept."""

BOOSTING: Mapping[str, Any] = {
    "max_iter": 120,
    "learning_rate": 0.08,
    "max_leaf_nodes": 8,
    "l2_regularization": 20.0,
    "max_features": 0.5,
    "early_stopping": False,
}
LEAF_ROWS, LEAF_SHARE = 800, 0.01
"""A tree's leaf holds at least the lower of this many rows and this share of them. Small trees: 16 leaves of 400 rows were no
better on the validation window for twice the time."""

CHUNK_ROWS = 500_000

SHORTLIST = 200
"""New leaves of a user, by what EASE says and by buyers, of which the chance is computed; no list of ten reaches beyond them."""

Small = NDArray[np.float32]
Features = dict[str, Small]


def features(log: Visits, main: Ints, cut: int) -> Features:
    """(users, leaves) each, from visits before `cut` alone: those of `pairs.features`, own baskets, the leaf's main category,
    and what the user's other leaves say of it.

    Args:
        log: visits whose category is a leaf.
        main: (leaves,) number of the main category each leaf is of.
    """
    rows = np.flatnonzero(log.day < cut)
    shape = (log.users, log.categories)
    ago, age = baskets_ago(log.user[rows], log.day[rows]), (cut - log.day[rows]).astype(np.float64)
    out = _Single(pairs.features(log, cut))
    known = out["days"] > 0
    baskets = np.zeros(log.users)
    np.maximum.at(baskets, log.user[rows], ago + 1.0)
    for h in TRIP_HALF_LIVES:
        own = log.total(rows, 0.5 ** (ago / h))
        out[f"own_{h}"] = np.log1p(own)
        if h in RATED:
            step = 0.5 ** (1.0 / h)
            out[f"rate_{h}"] = own / ((1.0 - step ** np.maximum(baskets, 1.0)) / (1.0 - step))[:, None]
    above = Visits(log.user, main[log.category], log.day, log.lines, log.users, int(main.max(initial=0)) + 1)
    out["category_own"] = np.log1p(above.total(rows, 0.5 ** (ago / 10.0)))[:, main]
    out["category_long"] = np.log1p(above.total(rows, 0.5 ** (age / 112.0)))[:, main]
    last = np.full((log.users, above.categories), float(NEVER_DAYS))
    np.minimum.at(last, (log.user[rows], above.category[rows]), age)
    out["category_recency"] = last[:, main]
    of_category = np.zeros((log.categories, above.categories))
    of_category[np.arange(log.categories), main] = 1.0
    out["category_leaves"] = (known @ of_category)[:, main]
    lines = counted(log.user[rows], log.users)
    per_user = {
        "baskets": np.minimum(baskets, 200.0),
        "leaves_per_basket": lines / np.maximum(baskets, 1.0),
        "repertoire": known.sum(1) / np.maximum(lines, 1),
    }
    for name, value in per_user.items():
        out[name] = np.broadcast_to(value.astype(np.float32)[:, None], shape)
    out["buyers"] = np.broadcast_to(np.log(known.mean(0) + 1e-4), shape)
    ridge = RIDGE_SHARE * log.users
    told = {
        "near_own": np.log1p(log.total(rows, 0.5 ** (ago / 20.0))),
        "near_ever": known.astype(np.float64),
        "near_28d": np.log1p(log.total(rows, 0.5 ** (age / 28.0))),
        "near_112d": np.minimum(np.log1p(log.total(rows, 0.5 ** (age / 112.0))), 2.0),
    }
    for name, x in told.items():
        out[name] = np.log(np.maximum(ease(x, ridge), 0.0) + SMALLEST_SCORE)
    return dict(out)


class _Single(dict[str, NDArray[Any]]):
    """Keeps every feature in single precision from the moment it is there: a double one of the demo takes 32 MB."""

    def __setitem__(self, name: str, value: NDArray[Any]) -> None:
        super().__setitem__(name, value.astype(np.float32, copy=False))


@dataclass(frozen=True)
class Models:
    """Chance of a leaf in the next basket: `known` for leaves of the user's history, `new` for the others."""

    known: Any
    new: Any

    def probabilities(self, at: Features) -> Floats:
        """(users, leaves); 0 for new leaves that are not on the user's SHORTLIST."""
        known = at["days"] > 0
        out = np.zeros(known.shape)
        for model, kind in ((self.known, known), (self.new, _shortlisted(at, known))):
            cells = np.flatnonzero(kind.ravel())
            for start in range(0, len(cells), CHUNK_ROWS):
                part = cells[start : start + CHUNK_ROWS]
                out.ravel()[part] = model.predict_proba(_matrix(at, part))[:, 1]
        return out


def _shortlisted(at: Features, known: Bools) -> Bools:
    """(users, leaves) the SHORTLIST new leaves of each user with the highest mean of NEAR and log of buyers."""
    worth = np.where(known, -np.inf, np.mean([at[name] for name in NEAR], axis=0) + at["buyers"])
    out = np.zeros(known.shape, dtype=bool)
    np.put_along_axis(out, np.argpartition(-worth, min(SHORTLIST, worth.shape[1]) - 1, axis=1)[:, :SHORTLIST], True, axis=1)
    return out & ~known


@dataclass(frozen=True)
class Rows:
    """Training rows (r): features (r, F), label, weight, and whether the user knew the leaf."""

    x: Small
    label: Bools
    weight: Floats
    known: Bools


def training_rows(at: Features, basket: NextBasket, seed: int) -> Rows:
    """Every known leaf of the users with a next basket, and a sample of those that were new."""
    known = at["days"] > 0
    label = np.zeros(known.size, dtype=bool)
    label[basket.truth] = True
    kept = known | (np.random.default_rng(seed).random(known.shape) < NEW_SHARE) | label.reshape(known.shape)
    told = np.zeros(basket.users, dtype=bool)
    told[basket.tested] = True
    cells = np.flatnonzero((kept & told[:, None]).ravel())
    hit, old = label[cells], known.ravel()[cells]
    return Rows(_matrix(at, cells), hit, np.where(old | hit, 1.0, 1.0 / NEW_SHARE), old)


def fitted(tables: Sequence[Rows], seed: int) -> Models | None:
    """Both models by log loss; None where the tables hold one class only of either kind."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    known = np.concatenate([t.known for t in tables])
    label, weight = (np.concatenate([getattr(t, name) for t in tables]) for name in ("label", "weight"))
    found = []
    for kind in (known, ~known):
        y = label[kind]
        if not 0 < y.sum() < len(y):
            return None
        leaf = max(1, int(min(LEAF_ROWS, LEAF_SHARE * len(y))))
        x = np.concatenate([t.x[t.known if kind is known else ~t.known] for t in tables])
        model = HistGradientBoostingClassifier(**BOOSTING, min_samples_leaf=leaf, random_state=seed)
        with tree_threads(len(x)):
            found.append(model.fit(x, y, sample_weight=weight[kind]))
    return Models(*found)


def _matrix(at: Features, cells: Ints) -> Small:
    return np.stack([value.ravel()[cells] for value in at.values()], axis=1)
