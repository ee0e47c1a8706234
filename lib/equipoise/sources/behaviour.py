"""What one simulated user does: a list of event rows, a pure function of the world and the user."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime, time, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from equipoise.sources.world import World

COLUMNS = (
    "event_type",
    "time",
    "item_id",
    "quantity",
    "amount",
    "dwell_ms",
    "basket_id",
    "campaign_id",
    "channel",
    "rating",
    "text",
)
P_HIDDEN, P_ELSEWHERE = 0.02, 0.05
"""Of the views: share in the hidden interest, and anywhere; the rest follows the taste of the day."""

P_SEARCH, P_CLICK, P_FAVOURITE, P_CART, P_PLAY, P_SHARE, P_COMMENT, P_RATE, P_REVIEW = (
    0.5,
    0.5,
    0.06,
    0.05,
    0.04,
    0.03,
    0.03,
    0.4,
    0.5,
)
CAMPAIGN_EVERY_DAYS, P_MAILED, SHOWN_ITEMS, P_SHOWN_HIDDEN = 14, 0.6, 3, 1 / 3
P_RESPONSE = {"taste": 0.3, "hidden": 0.4, "other": 0.03}
P_REDEEM = 0.3
GOOD_WORDS = ("excellent, works as promised", "love it, great quality", "very happy, would buy again")
BAD_WORDS = ("broke after a week, poor quality", "disappointed, not as described", "bad fit, sent it back")
CHANNELS = ("web", "app")

Row = tuple[Any, ...]
Indices = npt.NDArray[np.int64]


class Shelves:
    """The items by second-level category, to draw from by popularity."""

    def __init__(self, items: pd.DataFrame) -> None:
        self.ids = items["item_id"].to_numpy()
        self.prices = items["price"].to_numpy()
        self.category = items["category_2"].to_numpy()
        self.names = sorted(set(self.category))
        self._of = {c: np.flatnonzero(self.category == c) for c in self.names}
        weights = items["popularity"].to_numpy()
        self._weights = {c: weights[i] / weights[i].sum() for c, i in self._of.items()}

    def draw(self, category: str, rng: np.random.Generator) -> int:
        """Index of an item of the category, or of any when it has none."""
        if category not in self._of:
            return int(rng.integers(0, len(self.ids)))
        return int(rng.choice(self._of[category], p=self._weights[category]))


def user_events(world: World, shelves: Shelves, user: dict[str, Any]) -> list[Row]:
    """All events of one user, COLUMNS each, in order of time."""
    rng = np.random.default_rng([world.seed, 3, user["number"]])
    rows = _sessions(world, shelves, user, rng) + _campaigns(world, shelves, user, rng)
    return sorted(rows, key=lambda r: (r[1], r[0], r[2] or ""))


def taste_on(user: dict[str, Any], day: datetime) -> dict[str, float]:
    """Category → share, of the taste the user has on that day."""
    drifted = (
        user["drift_date"] is not None
        and not pd.isna(user["drift_date"])
        and day.date() >= pd.Timestamp(user["drift_date"]).date()
    )
    return dict(user["tastes_after"] if drifted else user["tastes"])


def _sessions(world: World, shelves: Shelves, user: dict[str, Any], rng: np.random.Generator) -> list[Row]:
    rows: list[Row] = []
    for number in range(int(rng.poisson(user["sessions_per_day"] * world.days))):
        second = int(np.clip(rng.normal(19.0, 2.5), 0.0, 23.0) * 3600)
        start = datetime.combine(world.start, time()) + timedelta(days=int(rng.integers(0, world.days)), seconds=second)
        visit, channel = _visit_id(world, user, number), CHANNELS[int(rng.random() < 0.4)]
        picked = _picked(shelves, user, taste_on(user, start), 1 + int(rng.poisson(2.0)), rng)
        if rng.random() < P_SEARCH:
            rows.append(_row("search", start, basket_id=visit, channel=channel, text=str(shelves.category[picked[0]])))
        for step, item in enumerate(picked):
            seen = start + timedelta(seconds=30 + 120 * step)
            rows += _view(shelves, int(item), seen, visit, channel, user["p_buy"], rng)
    return rows


def _visit_id(world: World, user: dict[str, Any], number: int) -> str:
    """Says nothing of whose visit it is: basket ids are kept as they come, beside pseudonyms."""
    return hashlib.md5(f"{world.seed}/{user['number']}/{number}".encode(), usedforsecurity=False).hexdigest()[:16]


def _picked(shelves: Shelves, user: dict[str, Any], taste: dict[str, float], n: int, rng: np.random.Generator) -> Indices:
    """Items looked at, in order."""
    names = list(taste)
    drawn = rng.choice(names, n, p=np.array([taste[c] for c in names]) / sum(taste.values()))
    where = rng.random(n)
    away = rng.choice(shelves.names, n)
    chosen = np.where(where < P_HIDDEN, user["hidden_interest"], np.where(where < P_HIDDEN + P_ELSEWHERE, away, drawn))
    return np.array([shelves.draw(str(c), rng) for c in chosen])


def _view(
    shelves: Shelves, item: int, at: datetime, visit: str, channel: str, p_buy: float, rng: np.random.Generator
) -> list[Row]:
    """A view and what follows from it."""
    id_ = str(shelves.ids[item])
    u = rng.random(10)
    common = {"item_id": id_, "basket_id": visit, "channel": channel}
    rows = [_row("view", at, dwell_ms=int(rng.lognormal(9.0, 0.8)), **common)]

    def later(seconds: int) -> datetime:
        return at + timedelta(seconds=seconds)

    buys = u[0] < p_buy
    if u[1] < P_CLICK or buys:
        rows.append(_row("click", later(5), **common))
    if u[2] < P_PLAY:
        rows.append(_row("play", later(8), dwell_ms=int(rng.lognormal(10.0, 0.5)), **common))
    if u[3] < P_FAVOURITE:
        rows.append(_row("favourite", later(15), **common))
    if u[4] < P_CART or buys:
        rows.append(_row("cart", later(20), quantity=1.0, **common))
    if u[5] < P_SHARE:
        rows.append(_row("share", later(25), **common))
    if u[6] < P_COMMENT:
        rows.append(_row("comment", later(28), text="is this in stock in other sizes?", **common))
    if buys:
        rows += _purchase(float(shelves.prices[item]), later(40), common, u[7:], rng)
    return rows


def _purchase(
    price: float, at: datetime, common: dict[str, str], u: npt.NDArray[np.float64], rng: np.random.Generator
) -> list[Row]:
    """A purchase, and often a rating and a review whose words agree with it."""
    quantity = 1.0 + float(rng.poisson(0.3))
    rows = [_row("purchase", at, quantity=quantity, amount=round(price * quantity, 2), **common)]
    if u[0] < P_RATE:
        rating = float(rng.choice([1, 2, 4, 5], p=[0.1, 0.1, 0.3, 0.5]))
        rows.append(_row("rate", at + timedelta(hours=1), rating=rating, **common))
        if u[1] < P_REVIEW:
            words = GOOD_WORDS if rating >= 4 else BAD_WORDS
            said = words[int(rng.integers(0, len(words)))]
            rows.append(_row("review", at + timedelta(hours=1, minutes=5), rating=rating, text=said, **common))
    return rows


def _campaigns(world: World, shelves: Shelves, user: dict[str, Any], rng: np.random.Generator) -> list[Row]:
    """What was shown to the user whether wanted or not, and the response: here a hidden interest comes to light."""
    rows: list[Row] = []
    for number, day in enumerate(range(3, world.days, CAMPAIGN_EVERY_DAYS)):
        if rng.random() >= P_MAILED:
            continue
        at = datetime.combine(world.start, time(9)) + timedelta(days=day)
        campaign = f"campaign-{number:03d}"
        taste = taste_on(user, at)
        answered = False
        for slot in range(SHOWN_ITEMS):
            hidden = user["hidden_interest"] if rng.random() < P_SHOWN_HIDDEN else str(rng.choice(shelves.names))
            item = shelves.draw(hidden, rng)
            category = shelves.category[item]
            shown = {"item_id": str(shelves.ids[item]), "campaign_id": campaign, "channel": "mail"}
            rows.append(_row("expose", at + timedelta(seconds=slot), **shown))
            kind = "hidden" if category == user["hidden_interest"] else "taste" if category in taste else "other"
            if rng.random() < P_RESPONSE[kind]:
                rows.append(_row("click", at + timedelta(hours=2, seconds=slot), **shown))
                answered = True
        if answered and rng.random() < P_REDEEM:
            rows.append(_row("redeem", at + timedelta(hours=3), campaign_id=campaign, channel="mail"))
    return rows


def _row(event_type: str, at: datetime, **given: Any) -> Row:
    return (event_type, at.isoformat(sep=" "), *[given.get(c) for c in COLUMNS[2:]])


def frame(rows_by_user: Iterable[tuple[str, list[Row]]]) -> pd.DataFrame:
    """raw_user, number (of the user's row, from 0), COLUMNS."""
    flat = [(user, n, *row) for user, rows in rows_by_user for n, row in zip(range(len(rows)), rows, strict=True)]
    return pd.DataFrame(flat, columns=["raw_user", "number", *COLUMNS])
