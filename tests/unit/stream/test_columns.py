from __future__ import annotations

import numpy as np
import pytest
import torch

from equipoise.errors import StreamError
from equipoise.stream.columns import Widths, dense_cells, to_batch, unpack
from equipoise.tables.packing import CELL_VALUES, TREND_VALUES, cell_type

WIDTHS = Widths(tokens=4, categories=2, features=3)


def objects(values: list[bytes]) -> np.ndarray:
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


def test_trailing_zero_bytes_survive() -> None:
    raw = {"tokens": objects([np.array([7, 0, 0, 0], "<i4").tobytes(), np.array([1, 2, 256, 0], "<i4").tobytes()])}
    assert unpack(raw, WIDTHS)["tokens"].tolist() == [[7, 0, 0, 0], [1, 2, 256, 0]]


def test_numpy_bytes_are_refused_because_they_cut_zeros() -> None:
    cut = np.array([np.array([7, 0, 0, 0], "<i4").tobytes()])  # dtype S16, reads back as b"\x07"
    assert cut[0] == b"\x07"
    with pytest.raises(StreamError, match="trailing zero bytes would be lost"):
        unpack({"tokens": cut}, WIDTHS)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ({"prior": objects([b"1234"])}, r"values of \['4'\] bytes, expected 8 \(2 × float32\).*other settings"),
        ({"prior": objects([None])}, "NoneType"),  # type: ignore[list-item]
        ({"label_value": np.array([1.0, np.nan])}, "label_value came as float64, expected int64 without nulls"),
        ({"label_spend": np.array([1])}, "label_spend came as int64"),
        ({"label_value": np.array([1, 2]), "length": np.array([1])}, "unequal lengths"),
    ],
)
def test_what_does_not_look_as_packed_is_refused(raw: dict[str, np.ndarray], text: str) -> None:
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
    with pytest.raises(StreamError, match=r"column cells holds values of .* expected whole records of 48"):
        unpack({"cells": objects([cells(0), wrong])}, WIDTHS)


def test_cells_of_another_vocabulary_are_refused() -> None:
    with pytest.raises(StreamError, match="places 0 to 2 of 2 categories"):
        dense_cells([cells(0, 2)], 2)
