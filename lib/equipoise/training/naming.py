"""Pairs of an item's text and the name of a category that it has: what the words of a text are called in a shop. Arrays only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from equipoise.inference.batching import distinct
from equipoise.tables.vocabulary import UNKNOWN
from equipoise.training.together import Together


def named(places: Mapping[str, int], categories: Iterable[tuple[str, str]], texts: int) -> tuple[list[str], Together]:
    """Names of the categories of items that have a text, and the pairs of text and name; what is unknown has no name.

    Args:
        places: item_id → place of its text; categories: (item_id, category), in a fixed order; texts: how many texts there are.
    """
    known = [(places[item], category.lower()) for item, category in categories if item in places and category != UNKNOWN]
    names, name = distinct([n for _, n in known])
    return names, naming(np.array([p for p, _ in known], dtype=np.int64), name, texts)


def naming(text: NDArray[np.int64], name: NDArray[np.int64], texts: int) -> Together:
    """Every text with the names of its categories, once; the names lie behind the texts, at `texts` + their place.

    Counts make the names equally likely to be drawn, up to a factor of two: else the largest categories would be learnt alone.

    Args:
        text, name: (n,) places of a text and of a category's name; texts: how many texts there are.
    """
    rows = np.unique(np.stack([text, texts + name], axis=1).reshape(-1, 2), axis=0)
    _, at, size = np.unique(rows[:, 1], return_inverse=True, return_counts=True)
    counts = size.max(initial=1) // size[at]
    return Together(torch.from_numpy(rows.astype(np.int64)), torch.from_numpy(counts.astype(np.int64)), texts)
