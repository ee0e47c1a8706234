"""A small shop in pandas: its behaviour, catalogue, interests and vectors, and what candidates follow from them."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd

from equipoise.recommend.candidates import TOLD
from equipoise.recommend.lists import Policy
from equipoise.recommend.neighbours import ITEMS_PER_USER, MIN_USERS, NEIGHBOURS, SHRINK
from equipoise.recommend.table import Popularity
from equipoise.recommend.values import Limits
from equipoise.tables.vocabulary import KNOWING_EVENT_TYPES, SEGMENTS
from tests.unit.recommend.made import COSINE, HISTORY, NEIGHBOUR, POPULAR, World, interest, table

AS_OF = date(2017, 11, 6)
WEIGHTS = {"purchase": 1.0, "cart": 0.6, "click": 0.3, "view": 0.1, "rate": 1.0}
TYPES = ("purchase", "view", "view", "cart", "click", "rate", "expose", "search", "comment")
LIMITS = Limits(
    history_candidates=12,
    neighbour_candidates=6,
    cosine_candidates=7,
    popular_candidates=12,
    min_item_events=2,
    value_cuts=2,
    value_examples=100_000,
    half_life_days=40.0,
    event_weights=WEIGHTS,
    horizon_days=28,
    seed=1,
)
POPULARITY = Popularity(LIMITS.half_life_days, WEIGHTS)


def policy(**changes: Any) -> Policy:
    values: dict[str, Any] = {
        "as_of": AS_OF,
        "k": 8,
        "explore_slots": 2,
        "calibration": 0.4,
        "alpha": 0.01,
        "rerank": "interchange",
        "explore_pool": 4,
        "explore_draw": "thompson",
        "explore_floor": 0.05,
        "explore_budget": "personal",
        "min_item_events": LIMITS.min_item_events,
        "most_per_brand": 0,
        "divergence": "kl",
        "weight": "same",
        "seed": 1,
    }
    return Policy(**{**values, **changes})


@dataclass(frozen=True)
class Shop:
    """Frames with the columns the tables have; `vectors`: item or user → vector; `texts`: item → text hash; response: of every
    second category nothing is known."""

    events: pd.DataFrame
    item_categories: pd.DataFrame
    interests: pd.DataFrame
    user_vectors: dict[str, list[float]]
    item_vectors: dict[str, list[float]]
    texts: dict[str, str]
    response: pd.DataFrame
    budgets: pd.DataFrame


def shop(seed: int = 1, users: int = 30, items: int = 50) -> Shop:
    rng = np.random.default_rng(seed)
    names = [f"c{n}" for n in range(9)] + ["UNKNOWN"]
    categories = []
    for n in range(items):
        chosen = sorted(rng.choice(names, size=int(rng.integers(1, 4)), replace=False))
        categories += [(f"i{n:02d}", str(c), 1.0 / len(chosen)) for c in chosen]
    rows = []
    for u in range(users):
        taste = rng.choice(items - 5, size=int(rng.integers(1, 9)), replace=False)  # the last five are never touched
        for _ in range(int(rng.choice([1, 4, 25]))):
            kind = str(rng.choice(TYPES))
            item = None if kind == "search" else f"i{int(rng.choice(taste)):02d}"
            rows.append((f"u{u:02d}", item, kind, AS_OF - timedelta(days=int(rng.integers(1, 120)))))
    events = pd.DataFrame(rows, columns=["user_id", "item_id", "event_type", "event_date"])
    item_categories = pd.DataFrame(categories, columns=["item_id", "category", "weight"])
    texts = {f"i{n:02d}": f"t{n % 20:02d}" for n in range(items)}
    of_text = {t: _unit(rng) for t in sorted(set(texts.values()))}
    user_vectors = {f"u{u:02d}": _unit(rng) for u in range(users)}
    interests = _interests(sorted(user_vectors), events, item_categories, names, rng)
    vectors = {i: of_text[t] for i, t in texts.items()}
    return Shop(events, item_categories, interests, user_vectors, vectors, texts, *_explored(sorted(user_vectors), names, rng))


def _explored(users: list[str], names: list[str], rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = [("all", "(all)", 12.0, 10.0, 1.2, 10.0), *(("all", c, 2.0, 4.0, 0.5, 3.0) for c in names[::2])]
    rows += [(s, c, *rng.uniform(0.5, 9.0, size=2), np.nan, np.nan) for s in SEGMENTS for c in names[::2]]
    response = pd.DataFrame(rows, columns=["segment", "category", "shape", "rate", "ratio", "strength"]).fillna(1.0)
    budgets = [(u, SEGMENTS[n % 3], 1 + n % 3) for n, u in enumerate(users)]
    return response, pd.DataFrame(budgets, columns=["user_id", "segment", "slots"])


def _unit(rng: np.random.Generator) -> list[float]:
    v = rng.normal(size=6)
    return [float(x) for x in (v / np.linalg.norm(v)).astype(np.float32)]


def _interests(
    users: list[str], events: pd.DataFrame, item_categories: pd.DataFrame, names: list[str], rng: np.random.Generator
) -> pd.DataFrame:
    """Rows as score_users keeps them: every observed category and some more."""
    touched = events[events["event_type"] != "expose"].merge(item_categories, on="item_id")
    rows = []
    for user in users:
        own = set(touched.loc[touched["user_id"] == user, "category"])
        mine = sorted(own | {str(c) for c in rng.choice(names, size=6, replace=False)})  # numpy's text does not pickle to Java
        target, predicted, observed = (rng.dirichlet(np.ones(len(mine))) for _ in range(3))
        order = np.argsort(np.argsort(-target)) + 1
        rows += [
            (user, c, int(r), o if c in own else 0.0, p, t, None if n == 1 else p**0.5)
            for n, (c, r, o, p, t) in enumerate(zip(mine, order, observed, predicted, target, strict=True))
        ]
    names = ["user_id", "category", "rank", "observed_share", "predicted_share", "target_share", "visit_probability"]
    return pd.DataFrame(rows, columns=names)


@dataclass(frozen=True)
class Counted:
    """What a shop's behaviour comes to, in plain loops: weights of visits, events per user × item, the shelves' world."""

    visits: dict[tuple[str, str, date], float]
    counts: dict[tuple[str, str], dict[str, int]]
    world: World


def counted(made: Shop, depth: int) -> Counted:
    """Visits, counts and a world with shelves of `depth`."""
    past = made.events[made.events["event_date"] < AS_OF]
    behaviour = past[(past["event_type"] != "expose") & past["item_id"].notna()]
    visits: dict[tuple[str, str, date], float] = defaultdict(float)
    counts: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: {"known": 0, "bought": 0, "looked": 0})
    for e in behaviour.itertuples():
        key = (e.user_id, e.item_id, e.event_date)
        visits[key] = max(visits[key], LIMITS.event_weights.get(e.event_type, 0.0))
        count = counts[(e.user_id, e.item_id)]
        count["known"] += e.event_type in KNOWING_EVENT_TYPES
        count["bought"] += e.event_type == "purchase"
        count["looked"] += 1
    popularity, number = defaultdict(float), defaultdict(int)
    for (_, item, day), weight in visits.items():
        popularity[item] += weight * 2 ** (-(AS_OF - day).days / LIMITS.half_life_days)
        number[item] += 1
    of: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for r in made.item_categories.itertuples():
        of[r.item_id].append((r.category, r.weight))
    return Counted(visits, counts, World(dict(of), {i: popularity[i] for i in of}, {i: number[i] for i in of}, depth))


def decayed_of(all_of: Counted, user: str) -> dict[str, float]:
    """Item → own_10 of a user at AS_OF, where it is not 0."""
    days = sorted({d for u, _, d in all_of.visits if u == user}, reverse=True)
    decayed: dict[str, float] = defaultdict(float)
    for (u, item, day), weight in all_of.visits.items():
        if u == user:
            decayed[item] += weight * 2 ** (-days.index(day) / 10)
    return {i: round(v, 8) for i, v in decayed.items() if v > 0}


def shared_of(made: Shop, all_of: Counted, user: str) -> dict[str, tuple[str, float]]:
    """Item → the user's item that most speaks for it, and their similarity: candidates that users with the same items have."""
    of = {u: decayed_of(all_of, u) for u in made.user_vectors}
    often = {i for i, n in all_of.world.visits.items() if n >= LIMITS.min_item_events}
    favourites = {u: sorted(often & set(own), key=lambda i: (-own[i], i))[:ITEMS_PER_USER] for u, own in of.items()}
    number = Counter(i for items in favourites.values() for i in items)
    both = Counter(pair for items in favourites.values() for pair in permutations(items, 2))
    similarity = {
        (a, b): round(n / ((number[a] + SHRINK) * (number[b] + SHRINK)) ** 0.5, 9) for (a, b), n in both.items() if n >= MIN_USERS
    }
    told: dict[str, list[tuple[float, str, float]]] = defaultdict(list)
    for mine in favourites[user]:
        near = sorted((b for a, b in similarity if a == mine), key=lambda b: (-similarity[mine, b], b))[:NEIGHBOURS]
        part = of[user][mine] / (1 + of[user][mine])
        for item in near:
            told[item].append((-part * similarity[mine, item], mine, similarity[mine, item]))
    had = {i for u, i in all_of.counts if u == user}
    score = {i: round(-sum(t[0] for t in parts), 8) for i, parts in told.items() if i not in had}
    best = sorted(score, key=lambda i: (-score[i], i))[: LIMITS.neighbour_candidates]
    return {i: min(told[i])[1:] for i in best}


def candidates_of(made: Shop, user: str) -> dict[str, dict[str, Any]]:
    """Item → source, cosine and counts of every candidate of a user at AS_OF, from the definitions."""
    all_of = counted(made, 1)
    world, own = all_of.world, decayed_of(all_of, user)
    history = sorted(own, key=lambda i: (-own[i], i))[: LIMITS.history_candidates]
    shared = shared_of(made, all_of, user)
    eligible = [i for i, n in world.visits.items() if n >= LIMITS.min_item_events]
    u = np.array(made.user_vectors[user])
    near = {i: round(float(u @ np.array(made.item_vectors[i])), 9) for i in eligible}
    close = sorted(eligible, key=lambda i: (-near[i], -world.popularity[i], i))[: LIMITS.cosine_candidates]
    mine = made.interests[made.interests["user_id"] == user]
    top = mine[mine["rank"] <= -(-LIMITS.popular_candidates // 5)]["category"]
    popular = {i for c in top for i in world.in_category(c)[:5] if world.visits[i] >= LIMITS.min_item_events}
    return {
        item: {
            "source": HISTORY if item in history else NEIGHBOUR if item in shared else COSINE if item in close else POPULAR,
            "sources": [
                n for n, of in ((HISTORY, history), (NEIGHBOUR, shared), (COSINE, close), (POPULAR, popular)) if item in of
            ],
            "cosine": near[item] if item in close else None,
            "neighbour_id": shared[item][0] if item in shared else None,
            "similarity": shared[item][1] if item in shared else None,
            **all_of.counts.get((user, item), {"known": 0, "bought": 0, "looked": 0}),
        }
        for item in sorted({*history, *shared, *close, *popular})
    }


def values_of(made: Shop, seed: int = 1) -> pd.DataFrame:
    """gold.user_item_values of a shop with values out of a hat, some of them equal."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in made.user_vectors:
        for item, facts in candidates_of(made, user).items():
            value = float(rng.integers(0, 20)) / 20
            rows.append(
                (user, item, value, facts["source"], facts["known"], facts["bought"], facts["looked"], *(facts[n] for n in TOLD))
            )
    names = ["user_id", "item_id", "p_next_trip", "source", "known_events", "purchases", "events", *TOLD]
    return pd.DataFrame(rows, columns=names)


def rows_of(made: Shop, values: pd.DataFrame, how: Policy) -> pd.DataFrame:
    """The rows of one block with all users, from their definitions in plain loops; `place` is that of shelves of depth k."""
    all_of = counted(made, how.k)
    world = all_of.world
    rows = world.shelf_rows()
    for r in values.itertuples():
        facts = {"value": r.p_next_trip, "source": r.source, "known": r.known_events, "bought": r.purchases, "looked": r.events}
        facts |= {"neighbour": r.neighbour_id, "similarity": np.nan if r.similarity is None else r.similarity}
        rows += world.candidate_rows(r.user_id, r.item_id, **facts, cosine=np.nan if r.cosine is None else r.cosine)
    for user in made.user_vectors:
        seen = {c for (who, i), n in all_of.counts.items() if who == user and n["known"] for c, _ in world.categories[i]}
        mine = made.budgets.set_index("user_id").loc[user]
        for r in made.interests[made.interests["user_id"] == user].itertuples():
            cell = made.response[(made.response["segment"] == mine["segment"]) & (made.response["category"] == r.category)]
            told = {
                "guess": 0.0 if pd.isna(r.visit_probability) else r.visit_probability,
                "shape": cell["shape"].iloc[0] if len(cell) else 3.0 * 1.2,  # strength of the categories · overall ratio
                "rate": cell["rate"].iloc[0] if len(cell) else 3.0,
                "slots": mine["slots"],
            }
            rows.append(
                interest(user, r.category, r.target_share, r.predicted_share, r.observed_share, r.category in seen, **told)
            )
    return table(rows)
