"""What the pair benchmark counts of alike users, against plain loops; shortlists and folds."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from equipoise.recommend.neighbours import ITEMS_PER_USER, MIN_USERS, NEIGHBOURS, SHRINK
from tests.benchmarks.pair_export import FOLDS, SHORTLIST, best, counted, fold_of, lines, neighbours

RNG = np.random.default_rng(4)
USERS, ITEMS = 30, 70
OWN = np.where(RNG.random((USERS, ITEMS)) < 0.7, RNG.random((USERS, ITEMS)) * 4, 0.0)
OFTEN = RNG.random(ITEMS) < 0.9


def slow_neighbours() -> np.ndarray:
    favourites = []
    for own in OWN:
        mine = [i for i in np.argsort(-own, kind="stable") if own[i] > 0 and OFTEN[i]]
        favourites.append(mine[:ITEMS_PER_USER])
    number = Counter(i for mine in favourites for i in mine)
    both = Counter(pair for mine in favourites for pair in permutations(mine, 2))
    near = {(a, b): n / np.sqrt((number[a] + SHRINK) * (number[b] + SHRINK)) for (a, b), n in both.items() if n >= MIN_USERS}
    kept = {a: sorted((b for x, b in near if x == a), key=lambda b: (-near[a, b], b))[:NEIGHBOURS] for a, _ in near}
    out = np.zeros((USERS, ITEMS))
    for u, mine in enumerate(favourites):
        for a in mine:
            for b in kept.get(a, []):
                out[u, b] += OWN[u, a] / (1 + OWN[u, a]) * near[a, b]
    return out


def test_neighbours_are_those_of_a_plain_loop() -> None:
    np.testing.assert_allclose(neighbours(csr_matrix(OWN), OFTEN).toarray(), slow_neighbours(), atol=1e-12)
    user, item = (a.ravel() for a in np.meshgrid(np.arange(USERS), np.arange(ITEMS)))
    found = counted(csr_matrix(OWN), OFTEN, user, item)
    np.testing.assert_allclose(found[:, 0], slow_neighbours()[user, item], rtol=1e-5)
    assert np.isfinite(found).all()


def test_what_alike_users_have_is_told_by_ease_and_svd() -> None:
    """Two kinds of users with items of their own; each lacks one item of its kind, and both say so."""
    kind = np.arange(200) % 2
    own = np.zeros((200, 240))
    own[kind == 0, :120], own[kind == 1, 120:] = 1.0, 1.0
    lacked = RNG.integers(0, 120, 200) + 120 * kind
    own[np.arange(200), lacked] = 0.0
    other = (lacked + 120) % 240
    for name in (1, 2):
        mine, theirs = (counted(csr_matrix(own), np.ones(240, bool), np.arange(200), i)[:, name] for i in (lacked, other))
        assert mine.mean() > 0.2 > 10 * np.abs(theirs).mean(), name


def test_shortlists_are_the_best_of_each_user_and_cut() -> None:
    rows = pd.DataFrame({"cut": [1, 2] * 200, "user_id": ["a"] * 300 + ["b"] * 100, "p": RNG.integers(0, 9, 400) / 9})
    rows["item_id"] = [f"{n:03d}" for n in range(400)]
    found = best(rows)
    for key, whole in rows.groupby(["cut", "user_id"]):
        mine = found[(found["cut"] == key[0]) & (found["user_id"] == key[1])]
        wanted = sorted(zip(-whole["p"], whole["item_id"], strict=True))[:SHORTLIST]
        assert sorted(zip(-mine["p"], mine["item_id"], strict=True)) == wanted


def test_folds_and_texts() -> None:
    folds = fold_of(pd.Series([f"user {n}" for n in range(1000)]))
    assert abs(folds.mean() - (FOLDS - 1) / 2) < 0.1 and fold_of(pd.Series(["user 7"]))[0] == folds[7]
    assert bytes(lines(["käse, milk", "", "two\nlines"])).decode().split("\n") == ["käse, milk", "", "two lines"]
