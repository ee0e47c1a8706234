from __future__ import annotations

import numpy as np
import pytest
import torch

from equipoise.errors import StreamError
from equipoise.stream.columns import Widths, to_batch, unpack

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
    batch = to_batch(arrays)
    assert batch["tokens"].tolist() == [[5, 0], [6, 7]]
    assert batch["mask"].tolist() == [[1, 0], [1, 1]]
    assert batch["label_spend"].dtype == torch.float64
    assert "length" not in batch
