"""The predictor against the plainest road to the same numbers: one text at a time, no sorting, no padding, float32."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray

from equipoise.errors import ContractError, ModelError
from equipoise.inference.arrow import cell_tensor, prior_matrix
from equipoise.inference.interface import FEATURES_IN, PREDICTION, BatchPredictor
from equipoise.inference.predictor import Predictor
from equipoise.inference.texts import TextVectors
from equipoise.models.package import LoadedPackage, load_package
from equipoise.settings.model import resolve
from equipoise.tables.packing import CELL_VALUES
from tests.small_models import CATEGORIES, FEATURE_NAMES, MINILM, WORDS, publish, tiny_bert

TRENDS = tuple((0.1 * k, 0.05 * k, 0.01 * k) for k in range(len(CATEGORIES)))
"""What each category is at the time of asking."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tiny")
    return publish(root / "model", str(tiny_bert(root / "bert")))


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish(tmp_path_factory.mktemp("minilm") / "model", resolve(MINILM, Path()))


def load(path: Path, *, tokens_per_batch: int = 96) -> Predictor:
    return Predictor.load(path, bfloat16="off", tokens_per_batch=tokens_per_batch, trends=TRENDS)


def some_users(n: int, seed: int) -> pa.RecordBatch:
    """Texts of 0 to 60 words with copies among them, priors of every size with names that no model knows."""
    rng = np.random.default_rng(seed)
    texts: list[str | None] = [" ".join(rng.choice(WORDS, int(rng.integers(0, 60)))) for _ in range(n)]
    texts[n // 2] = texts[0]
    texts[-1], texts[-2] = None, ""
    names = [sorted(rng.choice([*CATEGORIES, "NEW"], int(rng.integers(0, 7)), replace=False).tolist()) for _ in range(n)]
    weights = [rng.gamma(1.0, 10.0, len(x)).tolist() for x in names]
    columns = {
        "behaviour_text": texts,
        "prior_categories": names,
        "prior_weights": weights,
        "cell_categories": names,
        "cells": [rng.gamma(1.0, 9.0, len(x) * len(CELL_VALUES)).tolist() for x in names],
        "features": rng.gamma(1.0, 30.0, (n, len(FEATURE_NAMES))).tolist(),
    }
    return pa.RecordBatch.from_pydict(columns, schema=FEATURES_IN)


def slow_vector(package: LoadedPackage, text: str, max_tokens: int) -> NDArray[np.float32]:
    given = package.tokenizer(text, truncation=True, max_length=max_tokens, return_tensors="pt")
    with torch.no_grad():
        states = package.model.encoder.backbone(**given).last_hidden_state[0]  # (s, d)
    mean = states.mean(dim=0).numpy()
    return np.asarray(mean / math.sqrt(float((mean.astype(np.float64) ** 2).sum())), dtype=np.float32)


def softmax(logits: list[float]) -> list[float]:
    powers = [math.exp(x - max(logits)) for x in logits]
    return [p / math.fsum(powers) for p in powers]


def slow_answer(package: LoadedPackage, row: dict[str, object]) -> dict[str, object]:
    """One user alone, by plain Python around the network."""
    vector = slow_vector(package, str(row["behaviour_text"] or ""), package.meta.max_tokens)
    own = dict(zip(row["prior_categories"], row["prior_weights"], strict=True))  # type: ignore[call-overload]
    prior = [own.get(c, 0.0) for c in package.meta.categories]
    k, named, values = len(CELL_VALUES), list(row["cell_categories"]), list(row["cells"])  # type: ignore[call-overload]
    cells = [values[k * named.index(c) : k * named.index(c) + k] if c in named else [0.0] * k for c in package.meta.categories]
    with torch.no_grad():
        out = package.model.heads(
            torch.from_numpy(vector)[None],
            torch.tensor([prior], dtype=torch.float32),
            torch.tensor([cells], dtype=torch.float32),
            torch.tensor([TRENDS], dtype=torch.float32),
            torch.tensor([row["features"]], dtype=torch.float32),
        )
    values = softmax(out.value_logits[0].tolist())
    return {
        "vector": vector.tolist(),
        "category_probabilities": softmax(out.category_logits[0].tolist()),
        "visit_probabilities": [1 / (1 + math.exp(-x)) for x in out.visit_logits[0].tolist()],
        "p_o": values[0],
        "p_interest": values[1],
        "p_buy": values[2],
        "expected_spend": 20.0 * values[1] + 130.0 * values[2],
    }


@pytest.mark.parametrize("model", ["tiny", "minilm"])
def test_equals_one_text_at_a_time(model: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(model)
    batch = some_users(40, seed=1)
    answer = load(path).predict(batch)
    package = load_package(path)
    assert answer.num_rows == batch.num_rows
    for got, row in zip(answer.to_pylist(), batch.to_pylist(), strict=True):
        want = slow_answer(package, row)
        for name in PREDICTION.names:
            assert got[name] == pytest.approx(want[name], abs=1e-4 if name == "expected_spend" else 1e-5), (name, row)


def test_items_equal_one_text_at_a_time(minilm: Path) -> None:
    texts = ["", "milk", "frozen pizza with beef and cheese " * 9, "milk", "WINE / BEER (6 pack)", "ä ß 酒"]
    got = load(minilm, tokens_per_batch=20).encode(texts)
    package = load_package(minilm)
    assert np.abs(got - np.stack([slow_vector(package, t, 16) for t in texts])).max() < 1e-5
    assert np.abs(np.linalg.norm(got, axis=1) - 1).max() < 1e-6


def test_order_and_company_of_rows_do_not_matter(tiny: Path) -> None:
    batch = some_users(30, seed=2)
    predictor = load(tiny)
    whole = predictor.predict(batch).to_pylist()
    shuffled = np.random.default_rng(0).permutation(30)
    moved = predictor.predict(batch.take(pa.array(shuffled))).to_pylist()
    alone = [predictor.predict(batch.slice(i, 1)).to_pylist()[0] for i in range(30)]
    for place, i in enumerate(shuffled):
        assert moved[place]["vector"] == pytest.approx(whole[i]["vector"], abs=1e-6)
        assert alone[i]["category_probabilities"] == pytest.approx(whole[i]["category_probabilities"], abs=1e-6)


def test_two_runs_are_equal_to_the_bit(tiny: Path) -> None:
    batch = some_users(30, seed=3)
    assert load(tiny).predict(batch).equals(load(tiny).predict(batch))


@pytest.mark.parametrize("seed", range(5))
def test_probabilities_sum_to_one(tiny: Path, seed: int) -> None:
    answer = load(tiny).predict(some_users(50, seed=seed)).to_pydict()
    assert all(abs(math.fsum(p) - 1) <= 1e-9 for p in answer["category_probabilities"])
    triples = zip(answer["p_o"], answer["p_interest"], answer["p_buy"], strict=True)
    assert all(abs(math.fsum(t) - 1) <= 1e-9 and min(t) >= 0 for t in triples)


def test_a_text_is_encoded_once_however_often_it_comes(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = load(tiny)
    rows: list[int] = []
    run = TextVectors._encode

    def counted(self: TextVectors, tokens: list[list[int]]) -> NDArray[np.float32]:
        rows.append(len(tokens))
        return run(self, tokens)

    monkeypatch.setattr(TextVectors, "_encode", counted)
    predictor.encode(["milk", "bread", "milk", "milk"] * 25)
    assert sum(rows) == 2


def test_a_user_of_whom_nothing_is_known_has_the_population_as_prior(tiny: Path) -> None:
    """No text, no prior: finite answers, and the same as with an empty text and a prior on unknown names only."""
    nothing = {name: None for name in FEATURES_IN.names} | {"features": [0.0] * 12}
    little = {
        "behaviour_text": "",
        "prior_categories": ["NEW"],
        "prior_weights": [5.0],
        "cell_categories": ["NEW"],
        "cells": [5.0] * len(CELL_VALUES),
        "features": [0.0] * 12,
    }
    first, second = load(tiny).predict(pa.RecordBatch.from_pylist([nothing, little], schema=FEATURES_IN)).to_pylist()
    assert first.keys() == second.keys()
    for name, value in first.items():  # rows of one product of matrices may differ in the last bit
        assert second[name] == pytest.approx(value, rel=1e-6), name
    assert all(math.isfinite(x) for x in first["category_probabilities"])


def test_no_rows_give_no_rows(tiny: Path) -> None:
    empty = pa.RecordBatch.from_pylist([], schema=FEATURES_IN)
    assert load(tiny).predict(empty).num_rows == 0
    assert load(tiny).encode([]).shape == (0, 32)


def test_without_amounts_there_is_no_expected_spend(tmp_path: Path) -> None:
    path = publish(tmp_path / "model", str(tiny_bert(tmp_path / "bert")), has_amounts=False)
    assert load(path).predict(some_users(4, seed=1)).column("expected_spend").to_pylist() == [None] * 4


def test_bfloat16_stays_near(minilm: Path) -> None:
    """Eight bits of mantissa: vectors within a degree or two, and no other top category than a near tie."""
    batch = some_users(20, seed=6)
    exact = load(minilm).predict(batch).to_pydict()
    rough = Predictor.load(minilm, bfloat16="on", trends=TRENDS).predict(batch).to_pydict()
    cosines = [np.dot(a, b) for a, b in zip(exact["vector"], rough["vector"], strict=True)]
    assert 0.999 < min(cosines) < 1 - 1e-6, "1 would mean that bfloat16 was not used"
    assert np.abs(np.array(exact["p_buy"]) - np.array(rough["p_buy"])).max() < 0.02


def test_a_model_that_answers_nan_is_named(tiny: Path) -> None:
    predictor = load(tiny)
    predictor._model.heads.value.out.bias.data.fill_(float("nan"))
    with pytest.raises(ModelError, match="model model-under-test answers 6 of 6 rows with NaN or infinity"):
        predictor.predict(some_users(6, seed=1))


def test_features_of_another_model_are_refused(tiny: Path) -> None:
    batch = some_users(2, seed=1)
    short = pa.array([[1.0, 2.0]] * 2, pa.list_(pa.float64()))
    with pytest.raises(ContractError, match=r"rows with \[2\] numbers; expected 12: recency_days"):
        load(tiny).predict(_with_features(batch, short))


def test_cells_and_trends_that_do_not_fit_are_refused(tiny: Path) -> None:
    batch = some_users(2, seed=1)
    short = pa.RecordBatch.from_arrays(
        [*batch.columns[:4], pa.array([[1.0]] * 2, pa.list_(pa.float32())), batch.columns[5]], schema=FEATURES_IN
    )
    with pytest.raises(ContractError, match=r"2 rows without 11 values per category; expected visits_7d"):
        load(tiny).predict(short)
    with pytest.raises(ContractError, match=r"trends of shape \(0,\), expected \(6, 3\): visitors_share"):
        Predictor.load(tiny).predict(batch)


def test_is_the_stable_interface(tiny: Path) -> None:
    predictor: BatchPredictor = load(tiny)
    assert (predictor.model_id, predictor.categories) == ("model-under-test", tuple(CATEGORIES))
    assert predictor.predict(some_users(3, seed=1)).schema == PREDICTION


def _with_features(batch: pa.RecordBatch, features: pa.Array) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([*batch.columns[:-1], features], schema=FEATURES_IN)


def test_without_text_counts_alone_speak(tiny: Path) -> None:
    """What the text says changes nothing then, and shares are what the fitted part of the head says, by its own call."""
    alone = Predictor.load(tiny, bfloat16="off", trends=TRENDS, without_text=True)
    batch = some_users(9, seed=4)
    told = alone.predict(batch)
    columns = {name: batch.column(name) for name in batch.schema.names} | {"behaviour_text": pa.array(["cheese"] * 9)}
    texts = pa.RecordBatch.from_pydict(columns, schema=FEATURES_IN)
    assert alone.predict(texts).equals(told)
    assert load(tiny).predict(texts)["category_probabilities"] != load(tiny).predict(batch)["category_probabilities"]
    package = load_package(tiny)
    heads, names = package.model.heads, package.meta.categories
    prior = torch.from_numpy(prior_matrix(batch.column("prior_categories"), batch.column("prior_weights"), names)).float()
    cells = torch.from_numpy(cell_tensor(batch.column("cell_categories"), batch.column("cells"), names)).float()
    features = torch.tensor(batch.column("features").to_pylist())
    trends = torch.tensor(TRENDS).expand(9, -1, -1)
    with torch.no_grad():
        share, visit = heads.category.counted(prior, cells, trends, heads.standardised(features))
    np.testing.assert_allclose(told["category_probabilities"].to_pylist(), share.softmax(dim=1).numpy(), atol=1e-6)
    np.testing.assert_allclose(told["visit_probabilities"].to_pylist(), visit.sigmoid().numpy(), atol=1e-6)
    with torch.no_grad():
        value = heads.value.logit(heads.standardised(features)).softmax(dim=1)
    classes = np.stack([told[name].to_numpy() for name in ("p_o", "p_interest", "p_buy")], axis=1)
    np.testing.assert_allclose(classes, value.numpy(), atol=1e-6)
