"""What other ways to explore would have brought: the probabilities against draws, the estimates against running the others."""

from __future__ import annotations

from datetime import date, timedelta
from typing import cast

import numpy as np
import pandas as pd
import pytest

from equipoise.feedback.response import Ratios, floored, optimistic, thompson
from equipoise.recommend.block import parse
from equipoise.recommend.estimates import DRAWS, chances_of, policy_estimates
from equipoise.recommend.explore import Exploring, chances, draw, explored, inclusion_probabilities
from tests.unit.recommend.made import AS_OF, policy, random_rows

USERS, POOL, SLOTS, NIGHTS = 2000, 6, 2, 2
SAMPLE, TIMES = 120, 120


@pytest.mark.parametrize("how", DRAWS)
def test_chances_are_the_propensities_of_whatever_is_drawn(how: str) -> None:
    block = parse(random_rows(4))
    way = policy(explore_draw=how).exploring
    drawn = 0
    for user, name in enumerate(block.users):
        taken = {s.item_id for shelf in block.shelves[:2] for s in shelf[:2]}
        for slots in (0, 1, 3):
            random = (7, name, AS_OF)
            found = chances(block, user, taken, slots, way, random)
            picked = [s for s in explored(block, user, taken, slots, way, random) if s.weight > 0]
            assert {s.category: s.propensity for s in picked}.items() <= found.items()
            assert sum(found.values()) == pytest.approx(min(slots, len(found)))
            assert len(picked) == min(slots, len(found))
            drawn += sum(s.propensity < 1 for s in picked)
    assert drawn > 10


def test_chances_are_how_often_a_category_is_drawn() -> None:
    block = parse(random_rows(4))
    way = Exploring(pool=5, min_visits=3, draw="share", floor=0.1)
    user = max(range(len(block.users)), key=lambda u: len(chances(block, u, set(), 2, way, (0, "u", AS_OF))))
    found = chances(block, user, set(), 2, way, (0, "u", AS_OF))
    times = 2000
    counted = dict.fromkeys(found, 0)
    for seed in range(times):
        for slot in explored(block, user, set(), 2, way, (seed, "u", AS_OF)):
            counted[slot.category] += 1
    assert len(found) > 2
    for category, p in found.items():
        assert counted[category] / times == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / times) + 1e-9)


def test_every_draw_has_rows_for_every_user_who_has_a_pool() -> None:
    block, how = parse(random_rows(4)), policy()
    found = chances_of(block, {}, how)
    assert set(found["draw"]) == set(DRAWS)
    assert found["predicted"].between(0, 1).all()
    assert found.groupby("draw")["user_id"].nunique().nunique() == 1
    assert not found.duplicated(["user_id", "draw", "category"]).any()


class People:
    """Users with tastes, a model that is wrong about them, how the log drew and how each way would draw tonight."""

    def __init__(self) -> None:
        rng = np.random.default_rng(9)
        usual = rng.uniform(0.05, 0.4, size=POOL)
        self.taste = np.clip(usual * rng.uniform(0.3, 1.7, size=(USERS, POOL)), 0.0, 1.0)
        guess = np.clip(self.taste * rng.uniform(0.4, 1.8, size=self.taste.shape), 0.01, 1.0)
        known = Ratios(np.full(POOL, 6.0), np.full(POOL, 6.0))
        self.predicted = guess
        self.logging = np.stack([0.6 * inclusion_probabilities(g[::-1], SLOTS) + 0.4 * SLOTS / POOL for g in guess])
        self.by = {
            "share": np.stack([inclusion_probabilities(g, SLOTS) for g in guess]),
            "thompson": np.stack([floored(thompson(g, known, SLOTS, rng), 0.1) for g in guess]),
            "ucb": np.stack([floored(optimistic(g, known, SLOTS), 0.1) for g in guess]),
        }

    def brings(self, how: str) -> float:
        return float((self.by[how] * self.taste).sum(axis=1).mean())

    def log(self, users: np.ndarray, rng: np.random.Generator, shown: float) -> pd.DataFrame:
        """Two nights each; a user answers to a category or not, on whatever night it is shown."""
        rows = []
        for u in users:
            answers = rng.random(POOL) < self.taste[u]
            for night in range(NIGHTS):
                for c in draw(self.logging[u], rng):
                    if rng.random() < shown:
                        day = AS_OF - timedelta(days=40 - night)
                        rows.append((f"u{u:04d}", day, f"i{c}", f"c{c}", self.logging[u, c], float(answers[c]), SLOTS))
        return pd.DataFrame(rows, columns=["user_id", "list_date", "item_id", "category", "propensity", "response", "drawn"])

    def tonight(self, users: np.ndarray) -> pd.DataFrame:
        parts = [
            pd.DataFrame(
                {
                    "user_id": np.repeat([f"u{u:04d}" for u in users], POOL),
                    "draw": how,
                    "category": np.tile([f"c{c}" for c in range(POOL)], len(users)),
                    "probability": p[users].ravel(),
                    "predicted": self.predicted[users].ravel(),
                }
            )
            for how, p in self.by.items()
        ]
        return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def people() -> People:
    return People()


@pytest.mark.parametrize("shown", [1.0, 0.7])
def test_what_another_way_brings_when_it_is_run_lies_in_the_intervals(people: People, shown: float) -> None:
    rng = np.random.default_rng(11)
    # A list of which nothing is shown is not in the log; of the others this share of the places is.
    visible = shown / (1 - (1 - shown) ** SLOTS)
    truth: dict[tuple[str, str], float] = {}
    for how, p in people.by.items():
        ran = [people.taste[u, draw(p[u], rng)].sum() for u in range(USERS)]
        assert np.mean(ran) == pytest.approx(people.brings(how), abs=4 * np.std(ran) / np.sqrt(USERS))
        truth |= {(how, e): people.brings(how) * visible for e in ("ips", "snips", "dr")}
        truth[(how, "logged")] = float((people.logging * people.taste).sum(axis=1).mean()) * visible
    found = []
    for _ in range(TIMES):
        users = rng.choice(USERS, SAMPLE, replace=False)
        found.append(policy_estimates(people.log(users, rng, shown), people.tonight(users), "share"))
    rows = pd.concat(found)
    assert (rows["published"] == (rows["draw"] == "share")).all()
    for key, mine in rows.groupby(["draw", "estimator"]):
        true = truth[cast("tuple[str, str]", key)]
        covered = ((mine["ci_low"] <= true) & (true <= mine["ci_high"])).mean()
        assert 0.88 <= covered <= 1.0, (key, covered)
        spread = float(mine["value"].std())
        slack = 0.02 * true if key[1] == "snips" else 0.0
        assert abs(mine["value"].mean() - true) <= 4 * spread / np.sqrt(TIMES) + slack, key
    widths = rows.assign(width=rows["ci_high"] - rows["ci_low"]).groupby("estimator")["width"].mean()
    assert widths["dr"] < widths["ips"]
    assert (rows["unsupported"].dropna() < 0.5).all()
    assert rows["unsupported"].mean() < 0.06, "everything that is drawn tonight can be in the log"


def test_what_the_log_could_not_show_is_told(people: People) -> None:
    rng = np.random.default_rng(12)
    users = np.arange(400)
    log = people.log(users, rng, 1.0)
    tonight = people.tonight(users)
    # Half of tonight's probability goes to categories that no list ever held.
    new = tonight.assign(category="new " + tonight["category"])
    half = pd.concat([tonight, new], ignore_index=True).assign(probability=lambda d: d["probability"] / 2)
    found = policy_estimates(log, half, "ucb").set_index(["draw", "estimator"])
    for how in DRAWS:
        assert found.loc[(how, "ips"), "unsupported"] == pytest.approx(0.5, abs=0.08)
        whole = policy_estimates(log, tonight, "ucb").set_index(["draw", "estimator"]).loc[(how, "ips"), "value"]
        assert found.loc[(how, "ips"), "value"] == pytest.approx(whole / 2)
    assert found["unsupported"].xs("logged", level="estimator").isna().all()


def test_feedback_of_one_user_or_none_makes_no_rows(people: People) -> None:
    one = people.log(np.array([3]), np.random.default_rng(1), 1.0)
    assert len(one)
    assert policy_estimates(one, people.tonight(np.array([3])), "share").empty
    assert policy_estimates(one.iloc[:0], people.tonight(np.array([3])), "share").empty


def test_a_user_without_a_pool_tonight_counts_as_shown_nothing(people: People) -> None:
    log = people.log(np.array([3, 4]), np.random.default_rng(1), 1.0)
    found = policy_estimates(log, people.tonight(np.array([], dtype=np.int64)), "share").set_index(["draw", "estimator"])
    assert (found.loc["ucb", "value"].drop("logged") == 0.0).all()
    assert found.loc[("ucb", "logged"), "value"] == pytest.approx(log["response"].sum() / 4)
    assert found["unsupported"].isna().all()
    assert isinstance(log["list_date"].iloc[0], date)
