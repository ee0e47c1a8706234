"""A tower behind the predictor, against one user at a time through the bare model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from equipoise.inference.interface import EVENTS_IN, FEATURES_IN
from equipoise.inference.predictor import Predictor
from equipoise.models import TowerModel, TowerOptions, load_package
from equipoise.tables.packing import CELL_VALUES, item_keys, type_codes
from tests.small_models import CATEGORIES, FEATURE_NAMES, ITEMS, item_table, publish, tiny_bert

TRENDS = tuple((0.1 * k, 0.05 * k, 0.01 * k) for k in range(len(CATEGORIES)))
EVENTS = 8
SCHEMA = pa.schema([*FEATURES_IN, *EVENTS_IN])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tower")
    options = TowerOptions("attention", width=8, layers=1, attention_heads=2, dropout=0.1, events=EVENTS)
    return publish(root / "model", str(tiny_bert(root / "bert")), tower=options)


def load(folder: Path, tokens_per_batch: int = 24, **more: Any) -> Predictor:
    return Predictor.load(folder, bfloat16="off", tokens_per_batch=tokens_per_batch, trends=TRENDS, **more)


def users(n: int, seed: int) -> list[dict[str, Any]]:
    """0 to 12 events each, of which the tower has places for 8; items that nobody knows, and a word that is no event type."""
    draw = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        number = int(draw.integers(0, 13))
        names = sorted(draw.choice(CATEGORIES, int(draw.integers(0, 5)), replace=False).tolist())
        rows.append(
            {
                "behaviour_text": None,
                "prior_categories": names,
                "prior_weights": draw.gamma(1.0, 9.0, len(names)).tolist(),
                "cell_categories": names,
                "cells": draw.gamma(1.0, 9.0, len(names) * len(CELL_VALUES)).tolist(),
                "features": draw.gamma(1.0, 30.0, len(FEATURE_NAMES)).tolist(),
                "item_ids": draw.choice([*ITEMS, "stranger"], number).tolist() if i != 3 else None,
                "event_types": draw.choice(["view", "purchase", "wink"], number).tolist() if i != 3 else None,
                "age_days": sorted(draw.integers(1, 300, number).tolist(), reverse=True) if i != 3 else None,
            }
        )
    return rows


def answer(predictor: Predictor, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = predictor.predict(pa.RecordBatch.from_pylist(rows, schema=SCHEMA)).to_pylist()
    return found


def test_every_user_gets_what_the_model_alone_says_of_the_latest_events(folder: Path) -> None:
    rows, model = users(40, 1), load_package(folder).model
    assert isinstance(model, TowerModel)
    found = answer(load(folder), rows)
    for row, said in zip(rows, found, strict=True):
        events = [list(row[name] or [])[-EVENTS:] for name in EVENTS_IN.names]
        items = torch.from_numpy(item_keys(pa.array(events[0], pa.string())))[None]
        types = torch.from_numpy(type_codes(pa.array(events[1], pa.string())))[None]
        if not items.numel():
            items, types, events[2] = torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 1, dtype=torch.int64), [0]
        with torch.no_grad():
            vector = model.user_vectors(items, types, torch.tensor([events[2]], dtype=torch.float32))[0]
        np.testing.assert_allclose(said["vector"], vector, atol=1e-5)
        assert sum(said["category_probabilities"]) == pytest.approx(1.0, abs=1e-9)


def test_company_and_batches_change_nothing(folder: Path) -> None:
    rows = users(30, 2)
    whole, alone = answer(load(folder, 4096), rows), [answer(load(folder, 8), [row])[0] for row in rows]
    for a, b in zip(whole, alone, strict=True):
        for name in ("vector", "category_probabilities", "visit_probabilities"):
            np.testing.assert_allclose(a[name], b[name], atol=1e-5)


def test_vectors_of_all_items_replace_those_of_the_examples(folder: Path, tmp_path: Path) -> None:
    rows = [row for row in users(20, 3) if row["item_ids"]]
    width = load_package(folder).model.encoder.width
    item_table(width, seed=99).save(tmp_path / "items.safetensors")
    here = answer(load(folder), rows)
    other = answer(load(folder, items=str(tmp_path / "items.safetensors")), rows)
    known = [i for i, row in enumerate(rows) if row["item_ids"][-1] != "stranger"]
    assert known and all(np.abs(np.subtract(here[i]["vector"], other[i]["vector"])).max() > 1e-3 for i in known)


def test_no_users_at_all(folder: Path) -> None:
    assert answer(load(folder), []) == []
