"""Between Arrow columns and numpy matrices.

Notation: n rows, d entries of a vector, C categories, K values of a cell, F explicit features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from equipoise.errors import ContractError
from equipoise.tables.packing import CELL_VALUES, places, sizes


def as_lists(values: NDArray[np.float32] | NDArray[np.float64]) -> pa.ListArray:
    """A list column whose rows are the rows of `values` (n, d)."""
    rows, width = values.shape
    offsets = np.arange(rows + 1, dtype=np.int32) * width
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.reshape(-1)))


def prior_matrix(names: pa.ListArray, weights: pa.ListArray, categories: Sequence[str]) -> NDArray[np.float32]:
    """(n, C): weight per row and category; 0 where the row does not name it. Names outside `categories` have no column.

    Raises:
        ContractError: when a row has more names than weights, or fewer.
    """
    counts = sizes(names)
    unequal = np.flatnonzero(counts != sizes(weights))
    if len(unequal):
        row = int(unequal[0])
        raise ContractError(
            f"prior_categories and prior_weights differ in length in {len(unequal)} rows, first row {row}: "
            f"{counts[row]} and {sizes(weights)[row]}; expected one weight per category; rebuild feature.sequences"
        )
    matrix = np.zeros((len(counts), len(categories)), dtype=np.float64)
    rows, found = places(names, categories)
    values = weights.flatten().fill_null(0.0).to_numpy(zero_copy_only=False)
    known = found >= 0
    np.add.at(matrix, (rows[known], found[known]), values[known])
    return matrix.astype(np.float32)


def cell_tensor(names: pa.ListArray, values: pa.ListArray, categories: Sequence[str]) -> NDArray[np.float32]:
    """(n, C, K): CELL_VALUES per row and category; 0 where the row does not name it. Names outside `categories` have no place.

    Raises:
        ContractError: when a row has not K values per name, or one that is null or not finite.
    """
    counts, width = sizes(names), len(CELL_VALUES)
    flat = np.asarray(values.flatten().to_numpy(zero_copy_only=False), dtype=np.float32)
    unequal = np.flatnonzero(counts * width != sizes(values))
    if len(unequal) or not np.isfinite(flat).all():
        what = f"{len(unequal)} rows without {width} values per category" if len(unequal) else "values that are not finite"
        raise ContractError(
            f"cells: {what}; expected {', '.join(CELL_VALUES)} of each of cell_categories; rebuild feature.sequences"
        )
    rows, found = places(names, categories)
    known = found >= 0
    out = np.zeros((len(counts), len(categories), width), dtype=np.float32)
    out[rows[known], found[known]] = flat.reshape(-1, width)[known]
    return out


def feature_matrix(features: pa.ListArray, names: Sequence[str]) -> NDArray[np.float32]:
    """(n, F): the explicit features in the order of `names`.

    Raises:
        ContractError: when a row has another number of features than F, or one that is null or not finite.
    """
    counts = sizes(features)
    if (counts != len(names)).any():
        got = sorted({int(n) for n in counts if n != len(names)})
        wanted = f"{len(names)}: {', '.join(names)}"
        raise ContractError(f"features: rows with {got} numbers; expected {wanted}; rebuild feature.user_profile")
    flat = np.asarray(features.flatten().to_numpy(zero_copy_only=False), dtype=np.float64)
    matrix = flat.reshape(len(counts), len(names))
    rows, columns = np.nonzero(~np.isfinite(matrix))
    if len(rows):
        bad, count = sorted({names[c] for c in columns}), len(set(rows.tolist()))
        raise ContractError(f"features {bad}: {count} rows with a null, NaN or infinite number; rebuild feature.user_profile")
    return matrix.astype(np.float32)
