"""The planted truth of the simulated shop: its items and its users. Pure numpy; the same seed gives the same world."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

DEPARTMENTS = {
    "kitchen": ("cookware", "knives", "coffee makers", "storage jars", "baking"),
    "garden": ("seeds", "planters", "hand tools", "bird feeders", "hoses"),
    "outdoor": ("tents", "backpacks", "headlamps", "climbing rope", "camp stoves"),
    "music": ("guitars", "keyboards", "drum sticks", "microphones", "sheet music"),
    "reading": ("novels", "cookbooks", "travel guides", "comics", "poetry"),
    "sewing": ("fabrics", "threads", "patterns", "buttons", "needles"),
}
KINDS = ("basic", "premium")
BRANDS = ("Alder", "Birch", "Cedar", "Larch", "Maple", "Rowan", "Willow")
VALUE_CLASSES = ("O", "interest", "buy")
VALUE_SHARES = (0.25, 0.35, 0.40)
TASTE_CATEGORIES = 4
DRIFTING_SHARE = 0.4
TWO_CATEGORY_SHARE = 0.1


@dataclass(frozen=True)
class World:
    """Size, place and seed of a simulated shop."""

    users: int = 300
    items: int = 400
    days: int = 364
    start: date = date(2017, 1, 2)
    seed: int = 1
    category_level: int = 2


def categories() -> list[str]:
    """The second-level categories, which tastes are over."""
    return [c for kids in DEPARTMENTS.values() for c in kids]


def plant_items(world: World) -> pd.DataFrame:
    """One row per item: item_id, title, category_1..3, brand, price, popularity (weight in category), categories_1..3 (lists).

    Every category has an item as long as there are 30; one item in ten belongs to a second category too.
    """
    rng = np.random.default_rng([world.seed, 1])
    names = categories()
    parent = {c: d for d, kids in DEPARTMENTS.items() for c in kids}
    index = np.arange(world.items)
    first = index % len(names)
    second = (first + rng.integers(1, len(names), world.items)) % len(names)
    double = rng.random(world.items) < TWO_CATEGORY_SHARE
    kind = rng.integers(0, len(KINDS), world.items)
    brand = rng.integers(0, len(BRANDS), world.items)
    base_price = rng.lognormal(3.0, 0.5, len(names))
    rank = index // len(names) + 1
    items = pd.DataFrame(
        {
            "item_id": [f"item-{i:05d}" for i in index],
            "title": [f"{BRANDS[b]} {KINDS[k]} {names[c]} {n}" for b, k, c, n in zip(brand, kind, first, rank, strict=True)],
            "category_1": [parent[names[c]] for c in first],
            "category_2": [names[c] for c in first],
            "category_3": [f"{KINDS[k]} {names[c]}" for k, c in zip(kind, first, strict=True)],
            "brand": [BRANDS[b] for b in brand],
            "price": np.round(base_price[first] * (1.0 + kind) * rng.uniform(0.8, 1.2, world.items), 2),
            "popularity": 1.0 / rank,  # Zipf within the category
        }
    )
    other = {1: [parent[names[c]] for c in second], 2: [names[c] for c in second]}
    other[3] = [f"{KINDS[k]} {names[c]}" for k, c in zip(kind, second, strict=True)]
    for level, names_of in other.items():
        own = items[f"category_{level}"]
        items[f"categories_{level}"] = [[a, b] if d and a != b else [a] for a, b, d in zip(own, names_of, double, strict=True)]
    return items


def plant_users(world: World) -> pd.DataFrame:
    """One row per user: raw_user, number, age, region, value_class, p_buy (per viewed item), sessions_per_day, tastes,
    drift_date and tastes_after (None: the taste stays), hidden_interest.

    `tastes` maps category → share (sums to 1); a hidden interest is in neither taste: the user hardly goes there, but responds
    when shown. O comes rarely, interest looks and hardly buys, buy buys.
    """
    rng = np.random.default_rng([world.seed, 2])
    names = categories()
    classes = rng.choice(len(VALUE_CLASSES), world.users, p=VALUE_SHARES)
    rows = []
    for number in range(world.users):
        order = rng.permutation(len(names))
        drifts = rng.random() < DRIFTING_SHARE
        drift_day = int(rng.integers(int(world.days * 0.3), int(world.days * 0.7)))
        shares = rng.dirichlet(np.full(TASTE_CATEGORIES, 2.0), 2)
        own, later = order[:TASTE_CATEGORIES], order[TASTE_CATEGORIES : 2 * TASTE_CATEGORIES]
        value = int(classes[number])
        rows.append(
            {
                "raw_user": f"user-{number:06d}",
                "number": number,
                "age": ("18-34", "35-54", "55+")[int(rng.integers(0, 3))],
                "region": ("north", "south")[int(rng.integers(0, 2))],
                "value_class": VALUE_CLASSES[value],
                "sessions_per_day": float(np.array([0.01, 0.2, 0.2])[value] * rng.uniform(0.6, 1.4)),
                "p_buy": float(np.array([0.02, 0.02, 0.25])[value]),
                "tastes": {names[c]: float(s) for c, s in zip(own, shares[0], strict=True)},
                "drift_date": world.start + pd.Timedelta(days=drift_day) if drifts else None,
                "tastes_after": {names[c]: float(s) for c, s in zip(later, shares[1], strict=True)} if drifts else None,
                "hidden_interest": names[int(order[2 * TASTE_CATEGORIES])],
            }
        )
    return pd.DataFrame(rows)
