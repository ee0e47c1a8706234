"""Arrow lists to matrices, by hand, with the text of what is refused."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from equipoise.errors import ContractError
from equipoise.inference.arrow import as_lists, feature_matrix, prior_matrix

NAMES = pa.array([["milk", "bread"], [], None, ["wine", "milk"]], pa.list_(pa.string()))
WEIGHTS = pa.array([[1.5, 2.0], [], None, [9.0, 0.25]], pa.list_(pa.float64()))


def test_prior_by_hand() -> None:
    """wine is not in the vocabulary, empty and null rows are all zero."""
    matrix = prior_matrix(NAMES, WEIGHTS, ["bread", "cheese", "milk"])
    assert matrix.tolist() == [[2.0, 0.0, 1.5], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.25]]


def test_prior_of_a_slice_is_the_slice_of_the_prior() -> None:
    """Buffers are slices of Arrow batches, whose lists keep their offsets into the whole."""
    matrix = prior_matrix(NAMES.slice(2, 2), WEIGHTS.slice(2, 2), ["milk"])
    assert matrix.tolist() == [[0.0], [0.25]]


def test_a_prior_with_a_weight_too_few_is_refused() -> None:
    short = pa.array([[1.5], [], None, [9.0, 0.25]], pa.list_(pa.float64()))
    with pytest.raises(ContractError, match="differ in length in 1 rows, first row 0: 2 and 1; expected one weight per category"):
        prior_matrix(NAMES, short, ["milk"])


def test_features_by_hand() -> None:
    assert feature_matrix(pa.array([[1.0, 2.0], [3.0, 4.0]]), ["a", "b"]).tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1.0, 2.0, 3.0], [1.0, 2.0]], r"rows with \[3\] numbers; expected 2: a, b"),
        ([None, [1.0, 2.0]], r"rows with \[0\] numbers"),
        ([[1.0, None], [1.0, float("nan")]], r"features \['b'\]: 2 rows with a null, NaN or infinite"),
        ([[float("inf"), 1.0]], r"features \['a'\]: 1 rows"),
    ],
)
def test_features_that_do_not_fit_are_refused(rows: list[list[float] | None], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        feature_matrix(pa.array(rows, pa.list_(pa.float64())), ["a", "b"])


def test_lists_are_the_rows() -> None:
    lists = as_lists(np.arange(6, dtype=np.float32).reshape(2, 3))
    assert lists.type == pa.list_(pa.float32())
    assert lists.to_pylist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert as_lists(np.zeros((0, 3), dtype=np.float32)).to_pylist() == []
