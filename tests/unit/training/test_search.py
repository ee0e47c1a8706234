from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equipoise.errors import ModelError, SettingsError
from equipoise.job.search import plan as plan_of
from equipoise.job.search import told
from equipoise.settings.model import Settings
from equipoise.settings.search import Range
from equipoise.training.search import Outcome, Plan, as_text, best_of, from_text, proposal, run, rungs

pytest.importorskip("optuna")
SPACE: dict[str, Any] = {
    "training.learning_rate": Range(low=1e-5, high=1e-1, log=True),
    "training.lora_rank": Range(low=1, high=32, integer=True),
    "training.schedule": ["linear", "cosine"],
}
AS_THEY_ARE: dict[str, Any] = {"training.learning_rate": None, "training.lora_rank": 8, "training.schedule": "linear"}
PLAN = Plan(SPACE, AS_THEY_ARE, "random", 8, 1, 0, 3, 100)


def valley(params: dict[str, Any]) -> float:
    """Lowest, 0, at a rate of 1e-3 and 16 ranks; the settings as they are have 9."""
    if params["training.learning_rate"] is None:
        return 9.0
    away = math.log10(params["training.learning_rate"]) + 3
    return float(away**2 + ((params["training.lora_rank"] - 16) / 16) ** 2 + (params["training.schedule"] == "linear"))


def trained(function: Callable[[dict[str, Any]], float | None]) -> Callable[[int, int, int, dict[str, Any]], Outcome]:
    return lambda trial, rung, steps, params: Outcome(trial, rung, steps, params, function(params))


Function = Callable[[dict[str, Any]], float | None]


def all_of(plan: Plan, function: Function = valley, done: list[Outcome] | None = None) -> list[Outcome]:
    return list(run(plan, done or [], trained(function), lambda: False))


@pytest.mark.parametrize("sampler", ["random", "bayesian"])
def test_proposals_lie_in_the_space_and_hang_on_seed_and_number(sampler: str) -> None:
    plan = replace(PLAN, sampler=sampler, trials=12)
    found = all_of(plan)
    assert found == all_of(plan)
    assert found[0].params == AS_THEY_ARE
    for outcome in found[1:]:
        rate, rank, schedule = outcome.params.values()
        assert 1e-5 <= rate <= 1e-1 and isinstance(rank, int) and 1 <= rank <= 32 and schedule in ("linear", "cosine")
    assert len({str(o.params) for o in found}) == 13
    assert [o.params for o in all_of(replace(plan, seed=2))][1:] != [o.params for o in found][1:]


@pytest.mark.parametrize("sampler", ["random", "bayesian"])
@pytest.mark.parametrize("cut", [0, 1, 7, 12, 17])
def test_a_search_that_was_cut_off_ends_as_one_that_was_not(sampler: str, cut: int) -> None:
    plan = replace(PLAN, sampler=sampler, trials=11, first_steps=10)
    whole = all_of(plan)
    first = whole[:cut]
    assert first + all_of(plan, done=first) == whole
    assert all_of(plan, done=whole) == []


def test_it_stops_when_it_is_late() -> None:
    left = iter([False, False, True])
    assert len(list(run(PLAN, [], trained(valley), lambda: next(left)))) == 2


def test_more_trials_are_the_same_search_gone_on_with() -> None:
    few = all_of(replace(PLAN, sampler="bayesian", trials=6))
    more = all_of(replace(PLAN, sampler="bayesian", trials=10))
    assert more[:7] == few


def test_halving_by_hand() -> None:
    plan = replace(PLAN, trials=8, first_steps=10, max_steps=100)
    assert [tuple(r) for r in rungs(plan)] == [(10, 9), (30, 3), (90, 1), (100, 1)]
    found = all_of(plan)
    first = sorted((o for o in found if o.rung == 0), key=lambda o: o.value or 0.0)
    assert {o.trial for o in found if o.rung == 1} == {0, *(o.trial for o in first[:3])}
    assert {o.trial for o in found if o.rung == 3} == {0, first[0].trial}
    assert {(o.rung, o.steps) for o in found} == {(0, 10), (1, 30), (2, 90), (3, 100)}
    assert [tuple(r) for r in rungs(PLAN)] == [(100, 9)]


def test_learning_from_trials_finds_the_valley_sooner() -> None:
    """Best of 30, over 10 seeds."""
    best: dict[str, list[float]] = {"random": [], "bayesian": []}
    for sampler, found in best.items():
        for seed in range(1, 11):
            plan = replace(PLAN, sampler=sampler, trials=30, seed=seed)
            found.append(min(o.value for o in all_of(plan) if o.value is not None))
    assert np.mean(best["bayesian"]) < 0.7 * np.mean(best["random"])


def test_trials_that_fail_are_kept_and_passed_over() -> None:
    def sometimes(params: dict[str, Any]) -> float | None:
        return None if params["training.schedule"] == "linear" and params["training.learning_rate"] else valley(params)

    plan = replace(PLAN, first_steps=10, sampler="bayesian", trials=14)
    found = all_of(plan, sometimes)
    failed = {o.trial for o in found if o.value is None}
    assert failed and not failed & {o.trial for o in found if o.rung}
    with pytest.raises(ModelError, match=r"all 9 trainings of 100 steps failed; expected one to end; ops.trials says why"):
        all_of(PLAN, lambda _: None)


def test_the_best_is_of_the_longest_trainings() -> None:
    outcomes = [Outcome(0, 0, 10, {"a.b": 1}, 1.0), Outcome(1, 0, 10, {"a.b": 2}, 0.1), Outcome(0, 1, 30, {"a.b": 1}, 0.8)]
    outcomes += [Outcome(1, 1, 30, {"a.b": 2}, 0.9), Outcome(2, 1, 30, {"a.b": 3}, None)]
    best = best_of(PLAN, outcomes)
    assert best is not None and (best[0].trial, best[0].value) == (0, 0.8) and best[1] == best[0]
    assert best_of(PLAN, [Outcome(1, 0, 1, {}, None)]) is None
    lines = told(PLAN, [*outcomes, Outcome(3, 1, 30, {"training.lora_rank": 4, "training.schedule": "cosine"}, 0.5)])
    assert lines == [
        "best of 6 trainings: 0.50000, trial 3, after 30 steps",
        "the settings as they are: 0.80000 after 30 steps",
        "[training]",
        "lora_rank = 4",
        'schedule = "cosine"',
    ]


def test_values_survive_the_table() -> None:
    params: dict[str, Any] = {"a": 1, "b": 1e-5, "c": True, "d": "x", "e": None}
    assert from_text(as_text(params)) == params


def test_a_categorical_value_keeps_its_type() -> None:
    plan = replace(PLAN, space={"training.fit_prior": [True, False], "training.momentum": [0, 0.5]}, as_they_are={})
    for trial in range(1, 8):
        found = proposal(plan, trial, [])
        assert found["training.fit_prior"] in (True, False) and isinstance(found["training.fit_prior"], bool)


def settings_with(space: dict[str, Any], **more: Any) -> Settings:
    tree: dict[str, Any] = {
        "source": {"adapter": "simulated", "name": "s"},
        "identity": {"key_file": "key"},
        "windows": {"origin": "2017-01-02"},
        "search": {"space": space, **more},
    }
    return Settings.model_validate(tree)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "search.space is empty; expected settings to try"),
    "unknown": ({"training.learnin_rate": [1.0]}, "no setting 'training.learnin_rate'; expected one of training"),
    "steps": ({"training.max_steps": [10]}, "but not max_steps, which rungs set"),
    "refused value": ({"training.lora_rank": [4, 0]}, r"training.lora_rank = 0 makes settings that are refused"),
    "refused end": ({"training.lora_dropout": {"low": 0.0, "high": 2.0}}, r"training.lora_dropout = 2.0 makes settings"),
    "not whole": ({"training.lora_rank": {"low": 2, "high": 9}}, r"training.lora_rank = 4.67\d* makes settings that are refused"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_space_that_the_settings_refuse(case: str) -> None:
    space, says = REFUSED[case]
    with pytest.raises(SettingsError, match=says):
        plan_of(settings_with(space))


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ({"scoring.workers": [1]}, "'scoring.workers' is no setting of training or tower"),
        ({"training.lora_rank": []}, "'training.lora_rank' has no values"),
        ({"training.lora_rank": {"low": 5, "high": 4}}, "expected low below high"),
        ({"training.learning_rate": {"low": 0.0, "high": 4, "log": True}}, "above 0 with log = true"),
    ],
)
def test_a_space_that_is_none(space: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        settings_with(space)


def test_a_plan_knows_the_settings_as_they_are(tmp_path: Path) -> None:
    found = plan_of(settings_with(SPACE, trials=5, first_steps=1000))
    assert found.as_they_are == AS_THEY_ARE and found.first_steps == found.max_steps == 64
