"""Packing against numpy and the tokenizer's own padding, and what a folder without tokenizer says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from equipoise.errors import ModelError
from equipoise.features import pack
from equipoise.tables.packing import CELL_VALUES, cell_type, event_record
from equipoise.tables.vocabulary import EVENT_TYPES
from tests.small_models import tiny_bert

TEXTS = ["often soft drinks, beef; active weekly, high spend", "came once", " ".join(["cheese"] * 40)]


K = len(CELL_VALUES)
FIRST, SECOND = [float(k) for k in range(K)], [k / 4 for k in range(K)]
TRENDS = np.arange(12, dtype="<f4").tobytes()
DENSE = pack.Dense(("A", "B", "C", "D"), {17_000: TRENDS, 17_056: TRENDS[::-1]})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("pack") / "bert")


def batch() -> pa.RecordBatch:
    n = len(TEXTS)
    return pa.RecordBatch.from_pydict(
        {
            "user_id": [f"{i:032x}" for i in range(n)],
            "cut_day": pa.array([17_000, 17_028, 17_056], pa.int32()),
            "behaviour_text": TEXTS,
            "prior_positions": pa.array([[0, 3], [], [2]], pa.list_(pa.int32())),
            "prior_weights": pa.array([[1.5, 0.25], [], [1e-9]], pa.list_(pa.float64())),
            "cell_categories": [["D", "NEW", "A"], [], ["B"]],
            "cells": pa.array([[*FIRST, *[9.0] * K, *SECOND], [], FIRST], pa.list_(pa.float32())),
            "item_ids": pa.array([["a", "b", "a"], [], None], pa.list_(pa.string())),
            "event_types": pa.array([["view", "purchase", "wink"], [], None], pa.list_(pa.string())),
            "age_days": pa.array([[30, 2, 0], [], None], pa.list_(pa.int32())),
            "feature_values": pa.array([[float(i + j) for j in range(12)] for i in range(n)], pa.list_(pa.float64())),
            "label_positions": pa.array([[], [1], [0, 1]], pa.list_(pa.int32())),
            "label_events": pa.array([[], [2.0], [0.5, 7.0]], pa.list_(pa.float64())),
            "label_value": pa.array([0, 1, 2], pa.int32()),
            "label_spend": pa.array([0.0, 1.5, 2.5]),
            "salt": pa.array([9, 8, 7], pa.int32()),
            "place": pa.array([5, 6, 4], pa.int32()),
        }
    )


def test_every_row_comes_back(folder: Path) -> None:
    tokenizer = pack.load_tokenizer(str(folder))
    packed = pack.pack_batch(batch(), tokenizer, 16, DENSE)
    assert packed.schema == pack.PACKED
    rows = packed.to_pylist()
    padded = tokenizer(TEXTS, truncation=True, max_length=16, padding="max_length")
    for i, row in enumerate(rows):
        assert np.frombuffer(row["tokens"], "<i4").tolist() == padded["input_ids"][i]
        assert row["length"] == sum(padded["attention_mask"][i])
        assert np.frombuffer(row["features"], "<f4").tolist() == [float(i + j) for j in range(12)]
    assert rows[2]["length"] == 16, "cut off"
    cells = [np.frombuffer(r["cells"], cell_type()) for r in rows]
    assert [c["position"].tolist() for c in cells] == [[3, 0], [], [1]], "NEW is in no vocabulary"
    assert cells[0]["values"].tolist() == [FIRST, SECOND] and cells[2]["values"].tolist() == [FIRST]
    events = [np.frombuffer(r["events"], event_record()) for r in rows]
    assert [e["age"].tolist() for e in events] == [[30, 2, 0], [], []]
    view, purchase = (1 + EVENT_TYPES.index(t) for t in ("view", "purchase"))
    assert events[0]["type"].tolist() == [view, purchase, 0], "a word that is no event type"
    a, b, again = events[0]["item"].tolist()
    assert a == again and a != b and 0 not in (a, b)
    assert [r["trends"] for r in rows] == [TRENDS, bytes(len(TRENDS)), TRENDS[::-1]]
    assert [np.frombuffer(r["prior"], "<f4").tolist() for r in rows] == [
        [1.5, 0, 0, 0.25],
        [0, 0, 0, 0],
        [0, 0, pytest.approx(1e-9), 0],
    ]
    assert [np.frombuffer(r["label_counts"], "<f4").tolist() for r in rows] == [[0, 0, 0, 0], [0, 2, 0, 0], [0.5, 7, 0, 0]]
    assert [(r["user_id"], r["cut_day"], r["label_value"], r["label_spend"], r["salt"], r["place"]) for r in rows] == [
        (f"{0:032x}", 17_000, 0, 0.0, 9, 5),
        (f"{1:032x}", 17_028, 1, 1.5, 8, 6),
        (f"{2:032x}", 17_056, 2, 2.5, 7, 4),
    ]


def test_a_slice_of_a_batch_and_an_empty_one(folder: Path) -> None:
    """Arrow slices share buffers with an offset; Spark sends empty batches."""
    tokenizer = pack.load_tokenizer(str(folder))
    whole = pack.pack_batch(batch(), tokenizer, 16, DENSE)
    assert pack.pack_batch(batch().slice(1, 2), tokenizer, 16, DENSE).to_pylist() == whole.to_pylist()[1:]
    assert pack.pack_batch(batch().slice(0, 0), tokenizer, 16, DENSE).num_rows == 0


def test_cells_that_do_not_fit_their_names_are_refused() -> None:
    names, values = pa.array([["A", "B"]]), pa.array([FIRST], pa.list_(pa.float32()))
    with pytest.raises(ValueError, match="expected 11 values per entry of cell_categories"):
        pack.cells_as_bytes(names, values, DENSE.categories)


def test_the_pad_of_a_decoder_is_its_end_token() -> None:
    class Decoder:
        pad_token_id = None
        eos_token_id = 50_256

        def __call__(self, texts: list[str], **_: object) -> dict[str, list[list[int]]]:
            return {"input_ids": [[1, 2, 3][: len(t)] for t in texts]}

    ids, lengths = pack.encode(Decoder(), ["ab", "abc"], 4)
    assert ids.tolist() == [[1, 2, 50_256, 50_256], [1, 2, 3, 50_256]] and lengths.tolist() == [2, 3]


def test_the_same_tokenizer_files_as_the_model_room() -> None:
    from equipoise.models.encoder import TOKENIZER_FILES

    assert pack.TOKENIZER_FILES == TOKENIZER_FILES


def test_a_folder_without_tokenizer_says_so(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ModelError, match="no such folder; expected a local Hugging Face directory"):
        pack.tokenizer_sha256(str(tmp_path / "nowhere"))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"no tokenizer; expected one of tokenizer\.json.*found config\.json; save it there"):
        pack.tokenizer_sha256(str(tmp_path))


def test_the_hash_follows_what_decides_the_tokens(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("a\n")
    first = pack.tokenizer_sha256(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"weights decide no tokens")
    assert pack.tokenizer_sha256(str(tmp_path)) == first
    (tmp_path / "special_tokens_map.json").write_text("{}")
    second = pack.tokenizer_sha256(str(tmp_path))
    (tmp_path / "vocab.txt").write_text("b\n")
    assert len({first, second, pack.tokenizer_sha256(str(tmp_path))}) == 3
