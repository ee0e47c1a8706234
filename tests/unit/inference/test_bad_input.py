"""Texts of every kind, memory that runs out, and packages that are not what they say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from equipoise.errors import ModelError
from equipoise.inference.predictor import Predictor
from equipoise.inference.texts import TextVectors
from equipoise.models import load_package
from equipoise.models.package import MANIFEST, checksums
from equipoise.models.smaller import Smaller
from equipoise.settings.model import resolve
from tests import small_models
from tests.unit.models import tiny

TEXTS = [
    "beef",
    "",
    " \t\n",
    "🍕🍕🍕",
    "حليب طازج",  # right to left
    "חלב",
    "牛肉",
    "x" * 5000,
    "often soft drinks, beef; " * 400,
    "\u200f\u202eabc\x00def",
    "e\u0301" * 50,
    "beef",
]


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("minilm") / "model"
    return small_models.publish(folder, resolve(small_models.MINILM, Path()))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    return small_models.publish(folder / "model", str(small_models.tiny_bert(folder / "bert")))


@pytest.mark.parametrize("kind", ["minilm", "small"])
def test_every_text_has_a_vector_of_its_own(kind: str, request: pytest.FixtureRequest) -> None:
    model = Predictor.load(request.getfixturevalue(kind), bfloat16="off")
    found = model.encode(TEXTS, max_tokens=32)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    for text, vector in zip(TEXTS, found, strict=True):
        np.testing.assert_allclose(model.encode([text], max_tokens=32)[0], vector, atol=1e-5)
    assert np.array_equal(found[0], found[-1]) and np.allclose(found[1], found[2], atol=1e-5)
    if kind == "minilm":
        assert float(found[0] @ found[4]) < 0.99


@pytest.mark.parametrize("family", ["qwen", "llama", "gpt2"])
def test_a_decoder_reads_any_text_by_its_last_token(tmp_path: Path, family: str) -> None:
    path = tiny.directory(tmp_path, family)
    texts = TextVectors.pretrained(path, device=torch.device("cpu"), bfloat16=False, tokens_per_batch=64)
    given = ["often beef", "", "🍕 حليب", "beef " * 200, "often milk"]
    found = texts.encode(given, 16)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    for text, vector in zip(given, found, strict=True):
        np.testing.assert_allclose(texts.encode([text], 16)[0], vector, atol=1e-5)


def test_where_memory_runs_out_batches_are_halved(small: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    model = Predictor.load(small, bfloat16="off", tokens_per_batch=512)
    expected = model.encode(TEXTS, max_tokens=32)
    encoder = model._model.encoder
    kept, sizes = type(encoder).forward, []

    def forward(self: Any, tokens: Any, mask: Any) -> Any:
        sizes.append(tokens.numel())
        if tokens.numel() > 100:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return kept(self, tokens, mask)

    monkeypatch.setattr(type(encoder), "forward", forward)
    np.testing.assert_allclose(model.encode(TEXTS, max_tokens=32), expected, atol=1e-5)
    said = capsys.readouterr().err.splitlines()
    assert said == [f"[scoring] out of memory: going on with {n} tokens per batch" for n in (256, 128, 64)]
    sizes.clear()
    model.encode(TEXTS, max_tokens=32)
    assert max(sizes) <= 64  # it was learnt for the rest of the work
    monkeypatch.setattr(type(encoder), "forward", lambda *_: (_ for _ in ()).throw(RuntimeError("can't allocate memory")))
    with pytest.raises(ModelError, match=r"out of memory with scoring.tokens_per_batch = 1.*smaller encoder"):
        model.encode(TEXTS, max_tokens=32)
    monkeypatch.setattr(type(encoder), "forward", lambda *_: (_ for _ in ()).throw(RuntimeError("shapes cannot be multiplied")))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        model.encode(TEXTS, max_tokens=32)


def test_a_smaller_encoder_is_asked_for_by_settings(minilm: Path) -> None:
    texts = ["often soft drinks, beef", "lately frozen pizza"]
    whole = Predictor.load(minilm, bfloat16="off").encode(texts)
    for less in (Smaller(int8="on"), Smaller(drop_layers=1), Smaller(prune_heads=0.1), Smaller(prune_weights=0.1)):
        found = Predictor.load(minilm, less=less).encode(texts)
        near = (found * whole).sum(axis=1)
        assert not np.allclose(found, whole, atol=1e-4) and near.min() > 0.5, less


def resealed(package: Path) -> Path:
    """The folder with checksums that agree with what is in it: damage that nobody's checksum shows."""
    (package / MANIFEST).write_text(json.dumps({"sha256": checksums(package)}))
    return package


def test_a_checkpoint_of_another_architecture(small: Path, tmp_path: Path) -> None:
    package = shutil.copytree(small, tmp_path / "package")
    tiny.directory(tmp_path / "qwen", "qwen")
    shutil.copy(tmp_path / "qwen" / "model.safetensors", package / "encoder" / "model.safetensors")
    with pytest.raises(ModelError, match=r"changed \['encoder/model.safetensors'\]"):
        load_package(package)
    with pytest.raises(ModelError, match=r"does not hold the weights of its config.json: .* missing"):
        load_package(resealed(package))


@pytest.mark.parametrize("left", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_weights_file(small: Path, tmp_path: Path, left: float) -> None:
    package = shutil.copytree(small, tmp_path / "package")
    file = package / "encoder" / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[: int(left * len(whole))])
    with pytest.raises(ModelError, match=r"changed \['encoder/model.safetensors'\]"):
        load_package(package)
    with pytest.raises(ModelError, match="does not load"):
        load_package(resealed(package))
