"""Seeded rows of a block, as Spark would send them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from equipoise.recommend.block import CANDIDATE, COLUMNS, INTEREST, SHELF, SOURCES
from equipoise.recommend.lists import Policy

AS_OF = date(2017, 11, 6)
HISTORY, NEIGHBOUR, COSINE, POPULAR = SOURCES


def policy(**changes: object) -> Policy:
    values: dict[str, object] = {
        "as_of": AS_OF,
        "k": 6,
        "explore_slots": 2,
        "calibration": 0.4,
        "alpha": 0.01,
        "rerank": "interchange",
        "explore_pool": 5,
        "explore_draw": "share",
        "explore_floor": 0.1,
        "explore_budget": "fixed",
        "min_item_events": 3,
        "most_per_brand": 0,
        "divergence": "kl",
        "weight": "same",
        "seed": 1,
    }
    return Policy(**{**values, **changes})  # type: ignore[arg-type]


def brand_of(item: str) -> str | None:
    """Four brands, and some items of none, by the number in the item's name."""
    number = int("".join(ch for ch in item if ch.isdigit()) or 0)
    return None if number % 7 == 3 else f"b{number % 4}"


def table(rows: list[dict[str, object]]) -> pd.DataFrame:
    frame = pd.DataFrame([{"block": 0, **row} for row in rows], columns=list(COLUMNS))
    numbers = [c for c, kind in COLUMNS.items() if kind in ("double", "bigint", "int")]
    return frame.astype(dict.fromkeys(numbers, float))


@dataclass(frozen=True)
class World:
    """Items with categories and popularity, from which rows of users are made."""

    categories: dict[str, list[tuple[str, float]]]
    popularity: dict[str, float]
    visits: dict[str, int]
    depth: int

    def in_category(self, category: str) -> list[str]:
        mine = [i for i, cs in self.categories.items() if category in dict(cs)]
        return sorted(mine, key=lambda i: (-dict(self.categories[i])[category] * self.popularity[i], -self.visits[i], i))

    def share(self, item: str, category: str) -> float:
        whole = sum(dict(self.categories[i])[category] * self.popularity[i] for i in self.in_category(category))
        return dict(self.categories[item])[category] * self.popularity[item] / whole if whole else 0.0

    def shelf_rows(self) -> list[dict[str, object]]:
        names = sorted({c for cs in self.categories.values() for c, _ in cs})
        place = {(i, c): n for c in names for n, i in enumerate(self.in_category(c), start=1) if n <= self.depth}
        standing = sorted({i for i, _ in place})
        return [
            {
                "kind": SHELF,
                "item_id": i,
                "brand": brand_of(i),
                "category": c,
                "weight": w,
                "share": self.share(i, c),
                "popularity": self.popularity[i],
                "visits": self.visits[i],
                "place": place.get((i, c), np.nan),
            }
            for i in standing
            for c, w in self.categories[i]
        ]

    def candidate_rows(self, user: str, item: str, **facts: object) -> list[dict[str, object]]:
        base = {
            "kind": CANDIDATE,
            "user_id": user,
            "item_id": item,
            "brand": brand_of(item),
            "value": 0.0,
            "known": 0,
            "bought": 0,
            "looked": 0,
            "source": POPULAR,
        }
        return [{**base, "category": c, "weight": w, "share": self.share(item, c), **facts} for c, w in self.categories[item]]


def interest(
    user: str, category: str, target: float, predicted: float, observed: float, seen: bool, **told: float
) -> dict[str, object]:
    shares = {"target": target, "predicted": predicted, "observed": observed}
    known = {"guess": predicted, "shape": 10.0, "rate": 10.0, "slots": 2, "tilt": 0.0}
    return {"kind": INTEREST, "user_id": user, "category": category, "seen": seen, **shares, **known, **told}


def random_world(seed: int, *, items: int = 60, categories: int = 9, several: bool = False, depth: int = 6) -> World:
    rng = np.random.default_rng(seed)
    names = [f"c{n}" for n in range(categories - 1)] + ["UNKNOWN"]
    of: dict[str, list[tuple[str, float]]] = {}
    for n in range(items):
        chosen = sorted(rng.choice(names, size=int(rng.integers(1, 4)) if several else 1, replace=False))
        of[f"i{n:03d}"] = [(str(c), 1.0 / len(chosen)) for c in chosen]
    # Whole numbers on purpose: ties are common in logs.
    visits = {i: int(rng.integers(0, 12)) for i in of}
    return World(of, {i: float(v) for i, v in visits.items()}, visits, depth)


def random_rows(seed: int, *, users: int = 25, several: bool = False) -> pd.DataFrame:
    """Rows of users of all kinds: with long and short histories, few and many unseen categories, none of some sources."""
    world = random_world(seed, several=several)
    rng = np.random.default_rng(seed + 1)
    items, names = sorted(world.categories), sorted({c for cs in world.categories.values() for c, _ in cs})
    rows = world.shelf_rows()
    for n in range(users):
        user = f"u{n:02d}"
        history = rng.choice(items, size=int(rng.integers(0, 15)), replace=False)
        raw = rng.integers(1, 4, size=len(history)).astype(float)  # equal shares happen
        known = {str(i): int(rng.integers(0, 3)) for i in history}
        seen = {c for i in known if known[i] for c, _ in world.categories[i]}
        for i, own in zip(history, raw / max(raw.sum(), 1.0), strict=True):
            near = round(float(rng.uniform(-1, 1)), 2) if rng.random() < 0.4 else np.nan
            facts = {
                "value": own,
                "known": known[str(i)],
                "bought": min(known[str(i)], 1),
                "looked": 3,
                "cosine": near,
                "source": HISTORY,
            }
            rows += world.candidate_rows(user, str(i), **facts)
        rest = [i for i in items if i not in known]
        for i in rng.choice(rest, size=int(rng.integers(0, 10)), replace=False):
            near = round(float(rng.uniform(-1, 1)), 2)
            by = rng.random()
            told = {"source": NEIGHBOUR, "neighbour": f"of-{i}", "similarity": abs(near)} if by < 0.25 else {}
            told |= {"source": COSINE} if 0.25 <= by < 0.6 else {}
            rows += world.candidate_rows(user, str(i), **told, **({"cosine": near} if 0.15 <= by < 0.6 else {}))
        mine = sorted({*seen, *rng.choice(names, size=int(rng.integers(4, len(names) + 1)), replace=False)})
        target, predicted, observed = (rng.dirichlet(np.ones(len(mine))) for _ in range(3))
        slots = n % 4 + 1
        told = np.random.default_rng(1000 * seed + n).uniform(size=(len(mine), 3))
        rows += [
            interest(
                user,
                str(c),
                t,
                p,
                o if c in seen else 0.0,
                str(c) in seen,
                guess=g[0],
                shape=1 + 9 * g[1],
                rate=1 + 9 * g[2],
                slots=slots,
                tilt=(n % 7 - 3) / 4,
            )
            for c, t, p, o, g in zip(mine, target, predicted, observed, told, strict=True)
        ]
    return table(rows)
