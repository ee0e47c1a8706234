"""Vectors of items, looked up by key; a file that every worker and rank maps instead of copying."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from equipoise.errors import ModelError

NAMES = ("keys", "rows", "vectors")


class ItemTable:
    """Unit vectors of items by `tables.packing.item_keys`; items of the same text share one. An unknown item is the 0 vector."""

    def __init__(self, keys: Tensor, rows: Tensor, vectors: Tensor) -> None:
        """keys (n,) int64 rising, rows (n,) int64 places in vectors (u, d).

        Raises:
            ModelError: when keys are not rising, or a place does not exist.
        """
        if len(keys) != len(rows) or not bool((keys[1:] > keys[:-1]).all()):
            raise ModelError(f"item table: {len(keys)} keys, not rising or not one per row; two items share a key: score again")
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < len(vectors):
            raise ModelError(f"item table: rows {int(rows.min())} to {int(rows.max())} of {len(vectors)} vectors; score again")
        self._keys, self._rows = keys, rows
        self._vectors = torch.cat([vectors.float(), vectors.new_zeros(1, vectors.shape[1]).float()])

    @classmethod
    def of(cls, keys: NDArray[np.int64], rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> ItemTable:
        """The table of items in any order."""
        order = np.argsort(keys, kind="stable")
        return cls(torch.from_numpy(keys[order]), torch.from_numpy(rows[order].astype(np.int64)), torch.from_numpy(vectors))

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device = "cpu") -> ItemTable:
        """The table that `save` wrote.

        Raises:
            ModelError: when there is none, or it is damaged.
        """
        try:
            state = load_file(path, device=str(device))
            return cls(*(state[name] for name in NAMES))
        except (OSError, KeyError, ValueError) as error:
            raise ModelError(f"item table {str(path)!r} does not load: {error}; run the job again") from error

    def save(self, path: str | Path) -> None:
        """Writes it for `load`."""
        save_file(dict(zip(NAMES, (self._keys, self._rows, self._vectors[:-1].contiguous()), strict=True)), path)

    @property
    def width(self) -> int:
        """Entries d of a vector."""
        return int(self._vectors.shape[1])

    def __len__(self) -> int:
        return len(self._keys)

    def to(self, device: torch.device) -> ItemTable:
        """The same table on a device."""
        return ItemTable(self._keys.to(device), self._rows.to(device), self._vectors[:-1].to(device))

    def known(self, items: Tensor) -> Tensor:
        """Whether each key of any shape is in the table."""
        return self._found(items)[1]

    def __call__(self, items: Tensor) -> Tensor:
        """Keys (…) int64 → vectors (…, d)."""
        row, known = self._found(items)
        return self._vectors[torch.where(known, row, len(self._vectors) - 1)]

    def _found(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Row of each key, and whether it is in the table, where it means something; one search for both."""
        if not len(self._keys):
            return torch.zeros_like(items), torch.zeros_like(items, dtype=torch.bool)
        place = torch.searchsorted(self._keys, items.contiguous()).clamp(max=len(self._keys) - 1)
        return self._rows[place], self._keys[place] == items
