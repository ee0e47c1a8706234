"""The simulated shop shows what was planted in it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest

from equipoise.sources.behaviour import BAD_WORDS, GOOD_WORDS, Shelves, frame, taste_on, user_events
from equipoise.sources.world import World, categories, plant_items, plant_users
from equipoise.tables.vocabulary import EVENT_TYPES

WORLD = World(users=120, items=90, days=364, seed=3)


@pytest.fixture(scope="module")
def made() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    items, users = plant_items(WORLD), plant_users(WORLD)
    shelves = Shelves(items)
    rows = frame((u["raw_user"], user_events(WORLD, shelves, u)) for u in _records(users))
    rows["time"] = pd.to_datetime(rows["time"])
    placed = rows.merge(items[["item_id", "category_2"]], on="item_id", how="left")
    return items, users, placed.merge(users.drop(columns="number"), on="raw_user")


def _records(users: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in u.items()} for u in users.to_dict("records")]


def test_every_event_type_occurs(made: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]) -> None:
    assert set(made[2]["event_type"]) == set(EVENT_TYPES)


def test_the_same_seed_makes_the_same_rows_and_another_others() -> None:
    def rows(seed: int) -> list[tuple[Any, ...]]:
        world = World(users=3, items=60, days=60, seed=seed)
        shelves = Shelves(plant_items(world))
        return [r for u in _records(plant_users(world)) for r in user_events(world, shelves, u)]

    assert rows(1) == rows(1)
    assert rows(1) != rows(2)


def test_a_user_is_the_same_in_a_larger_world(made: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]) -> None:
    """Chunks of users are made apart; a row must not depend on how many others there are."""
    user = _records(plant_users(WORLD))[7]
    alone = user_events(WORLD, Shelves(plant_items(WORLD)), user)
    assert len(alone) == (made[2]["raw_user"] == user["raw_user"]).sum()


def test_items_cover_the_tree() -> None:
    items = plant_items(WORLD)
    assert set(items["category_2"]) == set(categories())
    assert items["item_id"].is_unique
    several = items["categories_2"].map(len)
    assert set(several) == {1, 2}
    assert all(own in listed for own, listed in zip(items["category_2"], items["categories_2"], strict=True))


def test_tastes_show_and_drift(made: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]) -> None:
    views = made[2][made[2]["event_type"] == "view"]
    inside = [c in taste_on(u, t) for c, t, u in zip(views["category_2"], views["time"], _records(views), strict=True)]
    assert np.mean(inside) > 0.9, "93 % follow the taste of the day, and some of the rest by chance"
    late = views[views["drift_date"].notna() & (views["time"] >= pd.to_datetime(views["drift_date"]))]
    assert len(late) > 200
    assert np.mean([c in t for c, t in zip(late["category_2"], late["tastes"], strict=True)]) < 0.15, "the old taste is gone"


def test_value_classes_show(made: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]) -> None:
    counts = made[2].groupby(["value_class", "event_type"]).size().unstack(fill_value=0)
    users = made[1]["value_class"].value_counts()
    per_user = counts.div(users, axis=0)
    rate = counts["purchase"] / counts["view"]
    assert per_user.loc["O", "view"] < 0.15 * per_user.loc["interest", "view"]
    assert rate["buy"] == pytest.approx(0.25, abs=0.02)
    assert rate["interest"] == pytest.approx(0.02, abs=0.01)


def test_a_hidden_interest_hardly_shows_unless_shown(made: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]) -> None:
    events = made[2]
    assert not any(h in t for h, t in zip(made[1]["hidden_interest"], made[1]["tastes"], strict=True))
    views = events[events["event_type"] == "view"]
    assert (views["category_2"] == views["hidden_interest"]).mean() < 0.04
    shown = events[(events["event_type"] == "expose")]
    answered = events[(events["event_type"] == "click") & events["campaign_id"].notna()]
    hidden = shown["category_2"] == shown["hidden_interest"]
    clicks = answered["category_2"] == answered["hidden_interest"]
    assert clicks.sum() / hidden.sum() == pytest.approx(0.4, abs=0.04)
    assert (~clicks).sum() / (~hidden).sum() < 0.15


def test_review_words_agree_with_the_rating(made: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]) -> None:
    reviews = made[2][made[2]["event_type"] == "review"]
    assert len(reviews) > 50
    assert set(reviews[reviews["rating"] >= 4]["text"]) <= set(GOOD_WORDS)
    assert set(reviews[reviews["rating"] <= 2]["text"]) <= set(BAD_WORDS)


def test_each_type_brings_its_columns(made: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]) -> None:
    events = made[2]
    filled = {t: set(g.dropna(axis=1, how="all").columns) for t, g in events.groupby("event_type")}
    assert {"quantity", "amount", "basket_id", "item_id"} <= filled["purchase"]
    assert "dwell_ms" in filled["view"] and "amount" not in filled["view"]
    assert "text" in filled["search"] and "item_id" not in filled["search"]
    assert "campaign_id" in filled["redeem"] and "item_id" not in filled["redeem"]
    assert Counter(events["number"][events["raw_user"] == "user-000007"]).most_common(1)[0][1] == 1, "the natural key"


def test_only_the_user_column_says_whose_event_it_is(made: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]) -> None:
    events = made[2]
    held = {c for c in events.columns if events[c].astype(str).str.contains("user-", regex=False).any()}
    assert held == {"raw_user"}
    visits = events.dropna(subset="basket_id").groupby("basket_id")["raw_user"].nunique()
    assert len(visits) > 100 and visits.max() == 1
