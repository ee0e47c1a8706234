"""The ways to balance a list that know no divergence once more, one user at a time, in plain loops."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Item:
    """An item as a user's candidate or on a shelf."""

    item_id: str
    weights: dict[str, float] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    value: float = 0.0
    cosine: float = -math.inf
    source: str = "popular"
    neighbour: tuple[str, float] = ("", 0.0)
    known: int = 0
    looked: int = 0
    popularity: float = 0.0
    visits: int = 0
    relevance: float = 0.0
    score: float = 0.0
    brand: str | None = None


def fits(items: list[Item], most: int) -> bool:
    """Whether no brand has more than `most` items (0: any number)."""
    return not most or max(Counter(i.brand for i in items if i.brand is not None).values(), default=0) <= most


def xquad(items: list[Item], target: dict[str, float], length: int, calibration: float, most: int = 0) -> list[Item]:
    """One by one, by relevance and what of the target the list does not cover yet."""

    def bonus(item: Item, chosen: list[Item]) -> float:
        open_ = {c: math.prod(1 - i.weights.get(c, 0.0) for i in chosen) for c in item.weights}
        return sum(target.get(c, 0.0) * w * open_[c] for c, w in item.weights.items())

    return one_by_one(items, length, calibration, most, bonus)


def mmr(items: list[Item], target: dict[str, float], length: int, calibration: float, most: int = 0) -> list[Item]:
    """One by one, by relevance less the likeness with the nearest item of the list."""

    def cosine(a: Item, b: Item) -> float:
        norms = [math.sqrt(sum(w * w for w in i.weights.values())) for i in (a, b)]
        return sum(w * b.weights.get(c, 0.0) for c, w in a.weights.items()) / math.prod(norms) if all(norms) else 0.0

    return one_by_one(items, length, calibration, most, lambda i, chosen: -max((cosine(i, c) for c in chosen), default=0.0))


def one_by_one(
    items: list[Item], length: int, calibration: float, most: int, bonus: Callable[[Item, list[Item]], float]
) -> list[Item]:
    """The largest (1 − λ) relevance + λ bonus again and again."""
    chosen: list[Item] = []
    while len(chosen) < length and (left := [i for i in items if i not in chosen and fits([*chosen, i], most)]):
        gains = [(1 - calibration) * i.relevance + calibration * bonus(i, chosen) for i in left]
        best = max(range(len(left)), key=lambda n: (round(gains[n], 12), -n))
        left[best].score = gains[best]
        chosen.append(left[best])
    return chosen


def largest_remainder(shares: dict[str, float], places: int) -> dict[str, int]:
    """Whole numbers near the shares, by Hamilton's method, one place after the other."""
    if not any(shares.values()):
        return dict.fromkeys(shares, 0)
    exact = {c: round(p * places, 12) for c, p in shares.items()}
    dealt = {c: math.floor(e) for c, e in exact.items()}
    by_remainder = sorted(exact, key=lambda c: -round(exact[c] - dealt[c], 12))
    for c in by_remainder[: places - sum(dealt.values())]:
        dealt[c] += 1
    return dealt


def quota(items: list[Item], target: dict[str, float], length: int, calibration: float, most: int = 0) -> list[Item]:
    """Each category's places go to its most relevant items, the others to the most relevant of all; in the order of `items`."""
    left = Counter(largest_remainder(target, math.floor(calibration * length + 0.5)))
    chosen: list[Item] = []
    for by_quota in (True, False):
        for item in items:
            of = min(item.weights, key=lambda c: (-round(target.get(c, 0.0) * item.weights[c], 12), c))
            if item in chosen or len(chosen) >= length or not fits([*chosen, item], most) or (by_quota and left[of] <= 0):
                continue
            left[of] -= 1
            item.score = item.relevance
            chosen.append(item)
    return sorted(chosen, key=lambda i: items.index(i))
