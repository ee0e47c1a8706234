"""What a worker does around the model: buffers, keys, one load; the model itself is a stand-in of three lines."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from equipoise.errors import ModelError
from equipoise.inference import predictor as predictor_module
from equipoise.inference import worker
from equipoise.inference.interface import FEATURES_IN, PREDICTION
from equipoise.inference.progress import Progress


class Fake:
    """Answers with the length of the text; counts how often it was loaded and what it was asked at once."""

    loads = 0
    asked: tuple[int, ...] = ()

    @classmethod
    def load(cls, path: str, **_: object) -> Fake:
        cls.loads += 1
        return cls()

    def predict(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        n = batch.num_rows
        Fake.asked = (*Fake.asked, n)
        sizes = [float(len(t)) for t in batch.column("behaviour_text").to_pylist()]
        lists = [[s] for s in sizes]
        third = [1 / 3] * n
        return pa.RecordBatch.from_arrays(
            [
                pa.array(lists, pa.list_(pa.float32())),
                *[pa.array(lists, pa.list_(pa.float64()))] * 2,
                *[pa.array(third)] * 3,
                pa.array(sizes),
            ],
            schema=PREDICTION,
        )

    def encode(self, texts: list[str], max_tokens: int | None = None) -> NDArray[np.float32]:
        return np.array([[len(t)] for t in texts], dtype=np.float32)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(predictor_module, "Predictor", Fake)
    monkeypatch.setattr(worker, "_LOADED", {})
    monkeypatch.setattr(Fake, "loads", 0)
    monkeypatch.setattr(Fake, "asked", ())
    (tmp_path / "manifest.json").write_text("{}")
    return tmp_path


def users(texts: list[str]) -> pa.RecordBatch:
    n = len(texts)
    columns = {
        "user_id": [f"u{i}" for i in range(n)],
        "behaviour_text": texts,
        "prior_categories": [[]] * n,
        "prior_weights": [[]] * n,
        "cell_categories": [[]] * n,
        "cells": [[]] * n,
        "features": [[0.0]] * n,
    }
    schema = pa.schema([pa.field("user_id", pa.string()), *FEATURES_IN])
    return pa.RecordBatch.from_pydict(columns, schema=schema)


@given(st.lists(st.integers(min_value=0, max_value=9), max_size=8), st.integers(min_value=1, max_value=7))
def test_buffers_hold_the_same_rows_in_the_same_order(sizes: list[int], rows: int) -> None:
    values = iter(range(1000))
    batches = [pa.record_batch([pa.array([next(values) for _ in range(n)], pa.int64())], names=["x"]) for n in sizes]
    buffers = list(worker.in_buffers(batches, rows))
    assert [x for b in buffers for x in b.column("x").to_pylist()] == list(range(sum(sizes)))
    assert all(b.num_rows == rows for b in buffers[:-1])
    assert all(0 < b.num_rows <= rows for b in buffers)


def test_answers_carry_their_keys_through_buffers(model: Path) -> None:
    texts = ["x" * n for n in (5, 1, 9, 0, 3, 3, 7)]
    batch = users(texts)
    given_batches = [batch.slice(0, 2), batch.slice(2, 4), batch.slice(6)]
    out = list(worker.predictions(given_batches, worker.Setup(str(model), buffer_rows=3), "user_id", Progress("p")))
    assert Fake.asked == (3, 3, 1)
    table = pa.Table.from_batches(out)
    assert table.column("user_id").to_pylist() == [f"u{i}" for i in range(7)]
    assert table.column("expected_spend").to_pylist() == [float(len(t)) for t in texts]
    for name in ("category_probabilities", "visit_probabilities"):
        assert table.schema.field(name).type == pa.list_(pa.float32())
    assert table.schema.names == ["user_id", *PREDICTION.names]


def test_vectors_carry_their_keys(model: Path) -> None:
    batch = pa.RecordBatch.from_pydict({"k": ["a", "b"], "t": ["xx", "xxx"]})
    (out,) = worker.vectors([batch], worker.Setup(str(model)), "k", "t", None, Progress("p"))
    assert out.to_pydict() == {"k": ["a", "b"], "vector": [[2.0], [3.0]]}


def test_a_process_loads_a_model_once_until_it_changes(model: Path) -> None:
    setup = worker.Setup(str(model))
    assert worker.predictor(setup) is worker.predictor(worker.Setup(str(model)))
    assert Fake.loads == 1
    (model / "manifest.json").write_text('{"other": 1}')
    worker.predictor(setup)
    assert Fake.loads == 2
    assert len(worker._LOADED) == 1, "the old model must go: a worker has room for one"


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no manifest\.json, so not a published model; run finetune_encoder"):
        worker.predictor(worker.Setup(str(tmp_path)))


def test_progress_speaks_every_few_seconds_only() -> None:
    now = iter([0.0, 1.0, 4.9, 6.0, 7.0, 12.0])
    stream = io.StringIO()
    progress = Progress("score users", 1000, stream=stream, clock=lambda: next(now))
    for _ in range(5):
        progress.add(50)
    assert stream.getvalue().splitlines() == [
        "[score users] 150 of about 1,000 in this worker, 25 a second",
        "[score users] 250 of about 1,000 in this worker, 21 a second",
    ]
