"""Cuts texts of unequal length into padded batches of near-equal cost.

Notation: n texts, b rows of one batch, s its padded width in tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Plan:
    """How n texts are run: `order[k]` is the text that stands at place k; batch i holds the places `bounds[i]..bounds[i + 1]`."""

    order: NDArray[np.int64]
    bounds: tuple[int, ...]

    def batches(self) -> list[NDArray[np.int64]]:
        """Text numbers of each batch, longest texts first; every text is in exactly one batch."""
        return [self.order[a:b] for a, b in zip(self.bounds[:-1], self.bounds[1:], strict=True)]

    def restored(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """`values` (n, …), one row per place, put back in the order of the texts."""
        out = np.empty_like(values)
        out[self.order] = values
        return out


def plan_batches(lengths: Sequence[int] | NDArray[np.int64], tokens_per_batch: int) -> Plan:
    """The batches of texts with `lengths` tokens: rows × width ≤ tokens_per_batch, but for a single text that is longer.

    Longest first, so that a batch that does not fit in memory fails at once and not after an hour. Ties keep the
    order of the texts, so the plan is a function of its arguments alone.
    """
    if tokens_per_batch < 1:
        raise ValueError(f"tokens_per_batch = {tokens_per_batch}; expected at least 1")
    sizes = np.maximum(np.asarray(lengths, dtype=np.int64), 1)
    order = np.argsort(-sizes, kind="stable")
    bounds = [0]
    while bounds[-1] < len(order):
        start = bounds[-1]
        rows = max(1, tokens_per_batch // int(sizes[order[start]]))
        bounds.append(min(start + rows, len(order)))
    return Plan(order, tuple(bounds))


def pad(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Token ids (b, s) filled up with `pad_id` on the right, and the mask (b, s): 1 where a token stands."""
    width = max(len(row) for row in rows)
    tokens = np.full((len(rows), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(rows), width), dtype=np.int64)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return tokens, mask


def distinct(texts: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Each text once, in order of first appearance, and per given text the place of its copy."""
    places: dict[str, int] = {}
    index = np.fromiter((places.setdefault(text, len(places)) for text in texts), dtype=np.int64, count=len(texts))
    return list(places), index
