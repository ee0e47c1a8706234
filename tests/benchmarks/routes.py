"""Users per second of the tower route against the text route, heads included: both on this machine, in turns, in one run.

python -m tests.benchmarks.routes [--users 512] [--repeats 5] [--width 64] [--tokens 64]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from equipoise.inference.interface import EVENTS_IN, FEATURES_IN
from equipoise.inference.predictor import Predictor
from equipoise.models import TowerOptions
from equipoise.settings.model import resolve
from equipoise.tables.packing import CELL_VALUES
from tests.small_models import FEATURE_NAMES, ITEMS, MINILM, publish

CATEGORIES = [f"c{k:03d}" for k in range(300)]
TRENDS = tuple((0.1, 0.1, 0.05) for _ in CATEGORIES)
WORDS = [
    "milk",
    "bread",
    "cheese",
    "frozen",
    "pizza",
    "soft",
    "drinks",
    "beef",
    "chicken",
    "snacks",
    "yogurt",
    "candy",
    "salad",
    "often",
    "sometimes",
    "lately",
    "weekly",
    "high",
]
EVENTS, VISITED, ITEM_WORDS = 50, 60, 6


def users(number: int, tokens: int = 64) -> pa.RecordBatch:
    """Users with a text of so many tokens of their own, 50 events and 60 visited categories."""
    draw = np.random.default_rng(1)
    rows = []
    for _ in range(number):
        names = sorted(draw.choice(CATEGORIES, VISITED, replace=False).tolist())
        rows.append(
            {
                "behaviour_text": " ".join(draw.choice(WORDS, tokens - 2)),
                "prior_categories": names,
                "prior_weights": draw.gamma(1.0, 9.0, VISITED).tolist(),
                "cell_categories": names,
                "cells": draw.gamma(1.0, 9.0, VISITED * len(CELL_VALUES)).tolist(),
                "features": draw.gamma(1.0, 30.0, len(FEATURE_NAMES)).tolist(),
                "item_ids": draw.choice(ITEMS, EVENTS).tolist(),
                "event_types": ["purchase"] * EVENTS,
                "age_days": sorted(draw.integers(1, 300, EVENTS).tolist(), reverse=True),
            }
        )
    return pa.RecordBatch.from_pylist(rows, schema=pa.schema([*FEATURES_IN, *EVENTS_IN]))


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=64)
    wish = parser.parse_args()
    batch, encoder = users(wish.users, wish.tokens), resolve(MINILM, Path())
    texts = [" ".join(np.random.default_rng(k).choice(WORDS, ITEM_WORDS)) + f" {k}" for k in range(1024)]
    with tempfile.TemporaryDirectory() as folder:
        options = TowerOptions("attention", wish.width, 2, 4, 0.0, EVENTS)
        paths = {
            "text": publish(Path(folder) / "text", encoder, categories=CATEGORIES, max_tokens=wish.tokens),
            "tower": publish(Path(folder) / "tower", encoder, categories=CATEGORIES, tower=options),
        }
        threads = torch.get_num_threads()
        models = {name: Predictor.load(path, threads=threads, trends=TRENDS) for name, path in paths.items()}
        for model in models.values():
            model.predict(batch.slice(0, 64))
        times: dict[str, list[float]] = {"text": [], "tower": [], "items": []}
        for _ in range(wish.repeats):
            for name, model in models.items():
                times[name].append(seconds(lambda model=model: model.predict(batch)))
            times["items"].append(seconds(lambda: models["tower"].encode(texts, 32)))
    ratios = [a / b for a, b in zip(times["text"], times["tower"], strict=True)]
    item = statistics.median(times["items"]) / len(texts)
    text, tower = (statistics.median(times[n]) / wish.users for n in ("text", "tower"))
    spread = f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
    lines = (
        f"{wish.users} users, {wish.repeats} turns, {threads} threads, width {wish.width}, texts of {wish.tokens} tokens",
        f"tower ÷ text in users per second, heads included: {spread}",
        f"one item's vector costs {item / text:.2f} of one user by text; with n items the tower pays from",
        f"{item / (text - tower):.2f} n users on",
    )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
