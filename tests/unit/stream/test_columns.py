from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from equipoise.errors import StreamError
from equipoise.stream.columns import Ragged, Widths, dense_cells, in_order, taken, to_batch, unpack
from equipoise.tables.packing import CELL_VALUES, TREND_VALUES, cell_type

WIDTHS = Widths(tokens=4, categories=2, features=3)


def objects(values: list[bytes]) -> pa.Array:
    return pa.array(values, pa.binary())


def test_trailing_zero_bytes_survive() -> None:
    raw = {"tokens": objects([np.array([7, 0, 0, 0], "<i4").tobytes(), np.array([1, 2, 256, 0], "<i4").tobytes()])}
    assert unpack(raw, WIDTHS)["tokens"].tolist() == [[7, 0, 0, 0], [1, 2, 256, 0]]


def test_a_slice_of_a_column_is_its_own_rows() -> None:
    whole = objects([np.full(4, k, "<i4").tobytes() for k in range(5)])
    assert unpack({"tokens": whole.slice(1, 3)}, WIDTHS)["tokens"].tolist() == [[k] * 4 for k in (1, 2, 3)]  # type: ignore[union-attr]
    ragged = unpack({"cells": objects([cells(0), cells(0, 1), b"", cells(1)]).slice(1, 3)}, WIDTHS)["cells"]
    assert isinstance(ragged, Ragged) and ragged.counts.tolist() == [2, 0, 1]
    assert ragged.flat()["position"].tolist() == [0, 1, 1]
    assert unpack({"cells": objects([])}, WIDTHS)["cells"].counts.tolist() == []  # type: ignore[union-attr]


def test_rows_are_taken_and_joined_as_one_by_one() -> None:
    draw = np.random.default_rng(3)
    lists = [[int(x) for x in draw.integers(0, 2, draw.integers(0, 3))] for _ in range(40)]
    block = unpack({"cells": objects([cells(*x) for x in lists]), "label_value": pa.array(range(40))}, WIDTHS)
    order = draw.permutation(40)
    blocks = [taken(block, slice(0, 15)), taken(block, slice(15, 15)), taken(block, slice(15, None))]
    again = taken(in_order(blocks, order), slice(5, 30))
    assert in_order([block], order)["label_value"].tolist() == order.tolist()  # type: ignore[union-attr]
    records = again["cells"].flat()["position"].tolist()  # type: ignore[union-attr]
    assert again["label_value"].tolist() == order[5:30].tolist()  # type: ignore[union-attr]
    assert records == [place for row in order[5:30] for place in lists[row]]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ({"prior": objects([b"1234"])}, r"values of \[4\] bytes, expected 8 \(2 × float32\).*other settings"),
        ({"prior": objects([None])}, "prior came as binary with 1 nulls, expected bytes without nulls"),  # type: ignore[list-item]
        ({"prior": pa.array(["12345678"])}, "prior came as string"),
        ({"label_value": pa.array([1, None])}, "label_value came as int64 with 1 nulls, expected int64 without nulls"),
        ({"label_value": pa.array([1.0, 2.0])}, "label_value came as double"),
        ({"label_spend": pa.array([1])}, "label_spend came as int64"),
        ({"label_value": pa.array([1, 2]), "length": pa.array([1])}, "unequal lengths"),
    ],
)
def test_what_does_not_look_as_packed_is_refused(raw: dict[str, pa.Array], text: str) -> None:
    with pytest.raises(StreamError, match=text):
        unpack(raw, WIDTHS)


def test_batch_is_cut_to_its_longest_text() -> None:
    arrays = {
        "tokens": np.array([[5, 0, 0, 0], [6, 7, 0, 0]], "<i4"),
        "length": np.array([1, 2]),
        "label_spend": np.array([0.5, 2.0]),
    }
    batch = to_batch(arrays, WIDTHS)
    assert batch["tokens"].tolist() == [[5, 0], [6, 7]]
    assert batch["mask"].tolist() == [[1, 0], [1, 1]]
    assert batch["label_spend"].dtype == torch.float64
    assert "length" not in batch


def cells(*positions: int) -> bytes:
    out = np.zeros(len(positions), dtype=cell_type())
    out["position"] = positions
    if positions:
        out["values"] = [[10 * p + k for k in range(len(CELL_VALUES))] for p in positions]
    return out.tobytes()


def test_cells_become_dense_and_nothing_stands_where_nobody_was() -> None:
    arrays = unpack({"cells": objects([cells(1), b"", cells(1, 0)])}, WIDTHS)
    found = to_batch(arrays, WIDTHS)["cells"]
    assert found.shape == (3, 2, len(CELL_VALUES))
    ten, zero = [10.0 + k for k in range(len(CELL_VALUES))], [float(k) for k in range(len(CELL_VALUES))]
    assert found[0].tolist() == [[0.0] * len(CELL_VALUES), ten]
    assert found[1].abs().sum() == 0
    assert found[2].tolist() == [zero, ten]


def test_trends_stand_by_category() -> None:
    packed = np.arange(2 * len(TREND_VALUES), dtype="<f4")
    batch = to_batch(unpack({"trends": objects([packed.tobytes()])}, WIDTHS), WIDTHS)
    assert batch["trends"].tolist() == [[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]]


@pytest.mark.parametrize("wrong", [b"123", None, cells(0) + b"0"])
def test_broken_cells_are_refused(wrong: bytes) -> None:
    says = r"column cells holds values of .* expected whole records of 48" if wrong else "cells came as binary with 1 nulls"
    with pytest.raises(StreamError, match=says):
        unpack({"cells": objects([cells(0), wrong])}, WIDTHS)


def test_cells_of_another_vocabulary_are_refused() -> None:
    with pytest.raises(StreamError, match="places 0 to 2 of 2 categories"):
        dense_cells(unpack({"cells": objects([cells(0, 2)])}, WIDTHS)["cells"], 2)  # type: ignore[arg-type]
