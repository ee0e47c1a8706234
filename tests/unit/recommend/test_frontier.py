"""What calibration is expected to cost: against plain loops, and which weight is taken."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from equipoise.recommend.block import parse
from equipoise.recommend.frontier import WEIGHTS, _within, points
from equipoise.recommend.lists import lists
from tests.unit.recommend.made import policy, random_rows
from tests.unit.recommend.reference import divergence
from tests.unit.recommend.rivals import Item


@pytest.mark.parametrize("seed", [3, 4])
def test_points_are_those_of_the_lists_themselves(seed: int) -> None:
    """The expected DCG and the divergence, from the rows of the lists, their candidates and targets, one by one."""
    frame = random_rows(seed)
    block, how = parse(frame), policy(explore_slots=2)
    candidates = frame[frame["kind"] == "candidate"]
    value = candidates.groupby(["user_id", "item_id"])["value"].first()
    weights = frame[frame["kind"] == "shelf"].set_index(["item_id", "category"])["weight"].to_dict()
    weights |= candidates.set_index(["item_id", "category"])["weight"].to_dict()
    target = frame[frame["kind"] == "interest"].set_index(["user_id", "category"])["target"]
    for row in points(block, how, (0.0, 0.4, 0.8)).to_dict("records"):
        made = lists(block, policy(explore_slots=2, calibration=row["calibration"]))
        exploit = made[made["slot"] == "exploit"]
        expected = sum(
            value.get((u, i), 0.0) / math.log2(r + 1)
            for u, i, r in zip(exploit["user_id"], exploit["item_id"], exploit["rank"], strict=True)
        )
        bits = 0.0
        for user, mine in exploit.groupby("user_id"):
            listed = [Item(i, {c: w for (n, c), w in weights.items() if n == i}) for i in mine["item_id"]]
            held = {c for i, c in zip(candidates["item_id"], candidates["category"], strict=True) if (user, i) in value.index}
            held |= {c for item in listed for c in item.weights}
            aimed = {c: p for c, p in target[user].items() if c in held}
            whole = sum(aimed.values())
            bits += divergence({c: p / whole for c, p in aimed.items()}, listed, how.alpha) if whole else 0.0
        assert row["expected"] == pytest.approx(expected)
        assert row["divergence"] == pytest.approx(bits)
        assert row["users"] == len(block.users)


def test_the_largest_weight_before_the_first_that_costs_too_much() -> None:
    found = pd.DataFrame({"calibration": [0.0, 0.1, 0.2, 0.3, 0.4], "accuracy_loss": [0.0, 0.004, 0.012, 0.009, 0.03]})
    assert _within(found, 0.01) == 0.1
    assert _within(found, 0.05) == 0.4
    assert _within(found, 0.0) == 0.0


def test_without_calibration_nothing_is_lost() -> None:
    assert WEIGHTS[0] == 0.0
    found = points(parse(random_rows(5)), policy(), WEIGHTS)
    assert (found["expected"] <= found["expected"].iloc[0] + 1e-12).all()
