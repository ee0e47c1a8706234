"""The loop closed: lists, responses and learning in a shop with planted tastes that drift."""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.feedback.offpolicy import Logged, doubly_robust, ips, snips
from equipoise.recommend.simulate import EXPLOIT, Played, Strategy, play, world

SEEDS = range(20)
BALANCED, GREEDY = Strategy(slots=2), Strategy(epsilon=0.2)


@pytest.fixture(scope="module")
def runs() -> dict[str, list[Played]]:
    how = {"balanced": BALANCED, "exploit": EXPLOIT, "greedy": GREEDY}
    return {n: [play(world(s, users=100), h, seed=s) for s in SEEDS] for n, h in how.items()}


def interval(values: list[float]) -> tuple[float, float]:
    """95 % of the mean over seeds (Student's t with 19 degrees of freedom)."""
    half = 2.093 * np.std(values, ddof=1) / np.sqrt(len(values))
    return float(np.mean(values) - half), float(np.mean(values) + half)


def test_hidden_interests_are_found_by_exploring_and_never_by_exploiting(runs: dict[str, list[Played]]) -> None:
    assert all(p.found == 0.0 for p in runs["exploit"])
    assert interval([p.found for p in runs["balanced"]])[0] > 0.5
    less = [b.found - g.found for b, g in zip(runs["balanced"], runs["greedy"], strict=True)]
    assert interval(less)[0] > 0.2


@pytest.mark.parametrize("other", ["exploit", "greedy"])
def test_regret_over_twenty_rounds_is_lower(runs: dict[str, list[Played]], other: str) -> None:
    saved = [o.regret.sum() - b.regret.sum() for b, o in zip(runs["balanced"], runs[other], strict=True)]
    assert interval(saved)[0] > 0.0


def test_it_recovers_from_drift(runs: dict[str, list[Played]]) -> None:
    last = {n: float(np.mean([p.regret[-3:].mean() for p in found])) for n, found in runs.items()}
    assert last["balanced"] < min(last["exploit"], last["greedy"])


def test_the_same_seed_plays_the_same() -> None:
    one, two = (play(world(3, users=20), BALANCED, rounds=4, seed=3) for _ in range(2))
    assert one.regret.tolist() == two.regret.tolist()
    assert one.regret.tolist() != play(world(3, users=20), BALANCED, rounds=4, seed=4).regret.tolist()


def test_another_policy_is_judged_from_the_log_of_the_one_that_ran() -> None:
    log_by, other = Strategy(slots=2, draw="share", pool=48), Strategy(slots=2, pool=48)
    errors: dict[str, list[float]] = {"ips": [], "snips": [], "dr": []}
    covered: list[bool] = []
    for seed in range(6):
        for places in play(world(seed, users=100), log_by, rounds=8, seed=seed, other=other).places:
            log = Logged(places["user"].astype(np.int64), places["propensity"], places["response"], places["probability"], 100)
            truth = float(np.asarray(places["truth"]).mean())
            robust = doubly_robust(log, places["predicted"], places["expected"])
            covered.append(robust.low <= truth <= robust.high)
            for name, found in (("ips", ips(log)), ("snips", snips(log, 2.0)), ("dr", robust)):
                errors[name].append(found.value - truth)
    for name, off in errors.items():
        assert abs(np.mean(off)) < 4 * np.std(off) / np.sqrt(len(off)) + (0.02 if name == "snips" else 0.0), name
    assert np.mean(covered) > 0.8
