"""The lists once more, one user at a time, in plain loops that compute everything anew at every step."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import numpy as np
import pandas as pd
from scipy.stats import gamma

from equipoise.feedback.response import DRAWS, QUANTILE
from equipoise.recommend.explore import draw, generator
from equipoise.recommend.lists import Policy
from tests.unit.recommend.rivals import Item, fits, mmr, quota, xquad


def divergence(target: dict[str, float], chosen: list[Item], alpha: float, kind: str = "kl") -> float:
    """KL(p ‖ q̃), or the Jensen-Shannon divergence of p and q, in bits of a whole list, from its definition."""
    total = 0.0
    if kind == "js":
        for category in sorted(set(target) | {c for i in chosen for c in i.weights}):
            p = target.get(category, 0.0)
            q = sum(i.weights.get(category, 0.0) for i in chosen) / len(chosen) if chosen else 0.0
            total += sum(0.5 * x * math.log2(x / ((p + q) / 2)) for x in (p, q) if x > 0)
        return total
    for category, p in target.items():
        if p > 0:
            q = sum(i.weights.get(category, 0.0) for i in chosen) / len(chosen) if chosen else 0.0
            total += p * math.log2(p / ((1 - alpha) * q + alpha * p))
    return total


def greedy(
    items: list[Item], target: dict[str, float], length: int, calibration: float, alpha: float, most: int = 0, kind: str = "kl"
) -> list[Item]:
    """The calibrated list in the order of the choice; `items` in the order that wins ties; at most `most` of a brand."""
    chosen: list[Item] = []
    left = list(items)
    while len(chosen) < length and (left := [i for i in left if fits([*chosen, i], most)]):
        now = divergence(target, chosen, alpha, kind)
        gains = [
            (1 - calibration) * i.relevance - calibration * (divergence(target, [*chosen, i], alpha, kind) - now) for i in left
        ]
        best = max(range(len(left)), key=lambda n: (round(gains[n], 12), -n))
        left[best].score = gains[best]
        chosen.append(left.pop(best))
    return chosen


def objective(items: list[Item], target: dict[str, float], calibration: float, alpha: float, kind: str = "kl") -> float:
    """What a list is worth: relevance against divergence."""
    return (1 - calibration) * sum(i.relevance for i in items) - calibration * divergence(target, items, alpha, kind)


def interchange(
    items: list[Item], target: dict[str, float], length: int, calibration: float, alpha: float, most: int = 0, kind: str = "kl"
) -> list[Item]:
    """The greedy list, then the best exchange of one item for another while one gains; in the order of `items`."""
    chosen = greedy(items, target, length, calibration, alpha, most, kind)
    chosen.sort(key=lambda i: items.index(i))
    while True:
        now = objective(chosen, target, calibration, alpha, kind)
        best, swap = 0.0, None
        for out in chosen:
            for new in (i for i in items if i not in chosen):
                there = [new if i is out else i for i in chosen]
                gain = round(objective(there, target, calibration, alpha, kind) - now, 12)
                if gain > best and gain > 1e-9 and fits(there, most):
                    best, swap = gain, there
        if swap is None:
            break
        chosen = sorted(swap, key=lambda i: items.index(i))
    for item in chosen:
        without = [i for i in chosen if i is not item]
        before, after = (objective(one, target, calibration, alpha, kind) for one in (without, chosen))
        item.score = after - before
    return chosen


def inclusion(shares: list[float], slots: int) -> list[float]:
    """The largest shares are sure one by one, until the rest fits in proportion."""
    out = [0.0] * len(shares)
    order = sorted(range(len(shares)), key=lambda n: -shares[n])
    while order and slots > 0 and slots * shares[order[0]] >= sum(shares[n] for n in order):
        out[order.pop(0)] = 1.0
        slots -= 1
    rest = sum(shares[n] for n in order)
    for n in order:
        out[n] = slots * shares[n] / rest
    return out


def bandit(
    how: str, guess: list[float], shape: list[float], rate: list[float], slots: int, random: np.random.Generator
) -> list[float]:
    """Share of draws, or of upper bounds, in which each category is among the best."""
    out = [0.0] * len(guess)
    if how == "ucb":
        tries = [[g * gamma.ppf(QUANTILE, s, scale=1 / r) for g, s, r in zip(guess, shape, rate, strict=True)]]
    else:
        drawn = random.standard_gamma(shape, size=(DRAWS, len(guess)))
        tries = [[g * x / r for g, x, r in zip(guess, one, rate, strict=True)] for one in drawn]
    for one in tries:
        for n in sorted(range(len(one)), key=lambda n: (-one[n], n))[:slots]:
            out[n] += 1 / len(tries)
    return out


class Reference:
    """Everything about one user, from the block's rows."""

    def __init__(self, frame: pd.DataFrame, user: str, policy: Policy) -> None:
        self.user, self.policy = user, policy
        self.shelf_items: dict[str, Item] = {}
        self.shelf: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for row in frame[frame["kind"] == "shelf"].to_dict("records"):
            item = self._at(self.shelf_items, row)
            item.popularity, item.visits = row["popularity"], int(row["visits"])
            if row["place"] == row["place"]:
                self.shelf[row["category"]].append((int(row["place"]), row["item_id"]))
        self.candidates: dict[str, Item] = {}
        for row in frame[(frame["kind"] == "candidate") & (frame["user_id"] == user)].to_dict("records"):
            item = self._at(self.candidates, row)
            item.value, item.known, item.looked = row["value"], int(row["known"]), int(row["looked"])
            item.cosine = row["cosine"] if row["cosine"] == row["cosine"] else -math.inf
            item.source, item.neighbour = str(row["source"]), (str(row["neighbour"]), row["similarity"])
        mine = frame[(frame["kind"] == "interest") & (frame["user_id"] == user)]
        self.interest = {row["category"]: row for row in mine.sort_values("category").to_dict("records")}
        self.slots = policy.explore_slots if policy.explore_budget == "fixed" else int(mine["slots"].iloc[0])

    @staticmethod
    def _at(items: dict[str, Item], row: dict[str, object]) -> Item:
        brand = row["brand"] if isinstance(row["brand"], str) else None
        item = items.setdefault(str(row["item_id"]), Item(str(row["item_id"]), brand=brand))
        item.weights[str(row["category"])] = float(row["weight"])  # type: ignore[arg-type]
        item.shares[str(row["category"])] = float(row["share"])  # type: ignore[arg-type]
        return item

    def target(self, category: str) -> float:
        return self.interest[category]["target"] if category in self.interest else 0.0

    def popular(self, item: Item) -> float:
        return round(sum(self.target(c) * s for c, s in sorted(item.shares.items())), 12)

    def rows(self) -> list[tuple[object, ...]]:
        """rank, item, category, slot, source, reason_code, reason_key, score, relevance, propensity, reason_value."""
        length, most = self.policy.k - self.slots, self.policy.most_per_brand
        by_popularity = sorted(self.shelf_items.values(), key=lambda i: (-i.popularity, -i.visits, i.item_id))
        for item in by_popularity:
            if item.item_id in self.candidates or not set(item.weights) & set(self.interest):
                continue
            before, after = (self._together(list(self.candidates.values()) + more) for more in ([], [item]))
            if before < length and after > before:
                self.candidates[item.item_id] = Item(item.item_id, item.weights, item.shares, brand=item.brand)
        top = max((i.value for i in self.candidates.values()), default=0.0) or 1.0
        for item in self.candidates.values():
            item.relevance = round(item.value / top, 12)
        ordered = sorted(self.candidates.values(), key=lambda i: (-i.relevance, -self.popular(i), -i.cosine, i.item_id))
        reach = {c for i in ordered for c in i.weights}
        mass = sum(self.target(c) for c in reach)
        p = {c: self.target(c) / mass for c in sorted(reach)} if mass else {}
        weight, way = self.weight(float(next(iter(self.interest.values()))["tilt"])), self.policy.rerank
        if way in ("greedy", "interchange"):
            calibrated = {"greedy": greedy, "interchange": interchange}[way]
            chosen = calibrated(ordered, p, length, weight, self.policy.alpha, most, self.policy.divergence)
        else:
            chosen = {"xquad": xquad, "mmr": mmr, "quota": quota}[way](ordered, p, length, weight, most)
        listed = [i for i in ordered if i in chosen]
        exploit = [self._exploit_row(n, i) for n, i in enumerate(listed, start=1)]
        return exploit + self._explore_rows({i.item_id for i in listed}, top, len(listed))

    def weight(self, tilt: float) -> float:
        """λ, or the user's own."""
        weight = self.policy.calibration
        if self.policy.weight == "same":
            return weight
        return weight * (1 + tilt) if weight <= 0.5 else weight + (1 - weight) * tilt

    def _together(self, items: list[Item]) -> int:
        """How many of the items one list can hold."""
        if not self.policy.most_per_brand:
            return len(items)
        branded = Counter(i.brand for i in items if i.brand is not None)
        unbranded = sum(i.brand is None for i in items)
        return unbranded + sum(min(n, self.policy.most_per_brand) for n in branded.values())

    def _exploit_row(self, rank: int, item: Item) -> tuple[object, ...]:
        order = sorted(
            item.weights, key=lambda c: (c not in self.interest, -self.target(c) * item.weights[c], -item.weights[c], c)
        )
        category = order[0]
        if item.known:
            reason: tuple[str, str, float] = ("bought_before", item.item_id, item.known)
        elif item.looked:
            reason = ("looked_before", item.item_id, item.looked)
        elif item.source == "neighbour":
            reason = ("same_users", *item.neighbour)
        elif item.source == "cosine":
            reason = ("similar_text", item.item_id, item.cosine)
        else:
            reason = ("popular_in_category", category, self.target(category))
        return (rank, item.item_id, category, "exploit", item.source, *reason[:2], item.score, item.relevance, 1.0, reason[2])

    def _explore_rows(self, taken: set[str], top: float, rank: int) -> list[tuple[object, ...]]:
        slots, how = self.slots, self.policy.explore_draw
        if slots == 0:
            return []
        unseen = [c for c, row in self.interest.items() if not row["seen"] and c != "UNKNOWN"]
        promise = {c: r["predicted"] if how == "share" else r["guess"] * r["shape"] / r["rate"] for c, r in self.interest.items()}
        unseen.sort(key=lambda c: (-promise[c], c))
        used, pool = set(taken), {}
        for least, most in ((self.policy.min_item_events, self.policy.explore_pool), (0, slots)):
            for c in unseen:
                if len(pool) < most and c not in pool and (item := self._first(c, used, least)):
                    pool[c] = item
                    used.add(item.item_id)
        shares = [self.interest[c]["predicted"] for c in pool]
        random, whole = generator(self.policy.seed, self.user, self.policy.as_of), len(pool) <= slots
        weights = [s / sum(shares) for s in shares]
        if how == "share":
            pi = [1.0] * len(pool) if whole else inclusion(shares, slots)
        else:
            told = ([self.interest[c][name] for c in pool] for name in ("guess", "shape", "rate"))
            pi = [1.0] * len(pool) if whole else bandit(how, *told, slots, random)
            pi = [(1 - self.policy.explore_floor) * p + self.policy.explore_floor * sum(pi) / len(pool) for p in pi]
            weights = [p / sum(pi) for p in pi]
        drawn = draw(np.array(pi), random) if pool else []
        rows: list[tuple[object, ...]] = []
        for n in drawn:
            c = list(pool)[n]
            rows.append(self._explore_row(rank + len(rows) + 1, pool[c], c, weights[n], pi[n], top))
        order = sorted(
            self.interest, key=lambda c: (c == "UNKNOWN", not self.interest[c]["seen"], self.interest[c]["observed"], c)
        )
        while len(rows) < slots:
            before = len(rows)
            for c in order:
                if len(rows) < slots and (item := self._first(c, used, 0)):
                    used.add(item.item_id)
                    rows.append(self._explore_row(rank + len(rows) + 1, item, c, 0.0, 1.0, top))
            if len(rows) == before:
                break
        return rows

    def _first(self, category: str, used: set[str], least: int) -> Item | None:
        for _, name in sorted(self.shelf[category]):
            if name not in used and self.shelf_items[name].visits >= least:
                return self.shelf_items[name]
        return None

    def _explore_row(self, rank: int, item: Item, category: str, weight: float, pi: float, top: float) -> tuple[object, ...]:
        row = self.interest[category]
        code, value = ("least_known", row["observed"]) if row["seen"] else ("unseen_category", row["predicted"])
        known = self.candidates.get(item.item_id)
        relevance = round(min(known.value / top, 1.0), 12) if known else 0.0
        return (rank, item.item_id, category, "explore", "explore", code, category, weight, relevance, pi, value)
