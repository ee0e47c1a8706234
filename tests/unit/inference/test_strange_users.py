"""Users and sources that a model was not made for: what it answers is defined, and what cannot be is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from equipoise.inference.interface import EVENTS_IN, FEATURES_IN
from equipoise.inference.predictor import Predictor
from equipoise.job.finetune import _off
from equipoise.models import TowerOptions
from equipoise.tables.packing import CELL_VALUES
from tests.small_models import CATEGORIES, FEATURE_NAMES, ITEMS, publish, tiny_bert

TRENDS = tuple((0.1 * k, 0.05 * k, 0.01 * k) for k in range(len(CATEGORIES)))
SCHEMA = pa.schema([*FEATURES_IN, *EVENTS_IN])
PLACES, TOKENS = 8, 24
CELL = [float(k + 1) for k in range(len(CELL_VALUES))]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("strange")
    bert = str(tiny_bert(root / "bert"))
    tower = TowerOptions("attention", width=8, layers=1, attention_heads=2, dropout=0.0, events=PLACES)
    return {"text": publish(root / "text", bert, max_tokens=TOKENS), "tower": publish(root / "tower", bert, tower=tower)}


def user(**more: Any) -> dict[str, Any]:
    number = 3
    usual: dict[str, Any] = {
        "behaviour_text": "often cheese, milk",
        "prior_categories": ["CHEESE"],
        "prior_weights": [3.0],
        "cell_categories": ["CHEESE"],
        "cells": CELL,
        "features": [1.0] * len(FEATURE_NAMES),
        "item_ids": ITEMS[:number],
        "event_types": ["purchase"] * number,
        "age_days": [30, 20, 10],
    }
    return usual | more


def answers(path: Path, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    model = Predictor.load(path, bfloat16="off", trends=TRENDS)
    found: list[dict[str, Any]] = model.predict(pa.RecordBatch.from_pylist(list(rows), schema=SCHEMA)).to_pylist()
    return found


def alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(np.allclose(one[name], other[name], atol=1e-5) for name in one)


@pytest.mark.parametrize("route", ["text", "tower"])
def test_a_user_whose_items_and_categories_are_all_unknown(models: dict[str, Path], route: str) -> None:
    """Answered as one without history in these categories; which unknown things they are changes nothing."""
    strange = {"prior_categories": ["NEW"], "cell_categories": ["NEW"], "item_ids": ["x", "y", "z"]}
    one, other, none, known = answers(
        models[route],
        user(**strange),
        user(**strange | {"prior_categories": ["NEWER"], "cell_categories": ["NEWER"], "item_ids": ["p", "q", "r"]}),
        user(**strange | {"prior_categories": [], "prior_weights": [], "cell_categories": [], "cells": []}),
        user(),
    )
    assert alike(one, other) and alike(one, none) and not alike(one, known)
    assert sum(one["category_probabilities"]) == pytest.approx(1.0) and np.isfinite(one["vector"]).all()


@pytest.mark.parametrize("route", ["text", "tower"])
def test_a_category_that_appears_only_after_training(models: dict[str, Path], route: str) -> None:
    """It has no place in the answer, and the known ones are answered as if it were not there."""
    both = {"prior_categories": ["CHEESE", "NEW"], "prior_weights": [3.0, 9.0]}
    one, known = answers(models[route], user(**both, cell_categories=["CHEESE", "NEW"], cells=CELL * 2), user())
    assert alike(one, known) and len(one["category_probabilities"]) == len(CATEGORIES)


def test_a_text_longer_than_the_models_window(models: dict[str, Path]) -> None:
    """What lies beyond the window is not read: its first words alone, each one token, with two places for the ends."""
    words = ["often", "cheese", "milk", "bread", "weekly"] * 200
    long, cut = " ".join(words), " ".join(words[: TOKENS - 2])
    one, by_hand, tail = answers(
        models["text"], user(behaviour_text=long), user(behaviour_text=cut), user(behaviour_text=long + " wine beer")
    )
    assert alike(one, by_hand) and alike(one, tail)


def test_a_sequence_longer_than_the_models_window(models: dict[str, Path]) -> None:
    """The latest events count, as many as the tower has places for."""
    number = 3 * PLACES
    items = [ITEMS[n % len(ITEMS)] for n in range(number)]
    whole = {"item_ids": items, "event_types": ["purchase"] * number, "age_days": list(range(number, 0, -1))}
    latest = {name: values[-PLACES:] for name, values in whole.items()}
    first = {name: values[:PLACES] for name, values in whole.items()}
    one, by_hand, other = answers(models["tower"], user(**whole), user(**latest), user(**first))
    assert alike(one, by_hand) and not alike(one, other)


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ({"buy": 9, "look": 3, "review": 0}, None),
        ({"buy": 9, "look": 0, "review": 0}, "the sequences show buy alone; it needs two of buy, look, review"),
        ({"buy": 0, "look": 0, "review": 0}, "the sequences show nothing alone"),
    ],
)
def test_a_source_without_one_heads_labels(shown: dict[str, int], said: str | None) -> None:
    off = _off(shown)
    assert (said is None and off == {}) or (said is not None and said in off["behaviour"])
