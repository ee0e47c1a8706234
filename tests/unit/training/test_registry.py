from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from equipoise.errors import GateError, ModelError
from equipoise.models import load_package, save_package
from equipoise.models.package import checksums
from equipoise.training.registry import Registry, check_gate
from tests.unit.models import tiny
from tests.unit.models.test_package import META

GOOD = {"start_loss": 4.0, "best_loss": 3.9}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models" / "encoder")


def stage(registry: Registry, model_id: str, metrics: dict[str, float], tmp_path: Path) -> Path:
    source = str(tmp_path / "source")
    if not Path(source).exists():
        tiny.directory(Path(source))
    folder = registry.staging(model_id)
    meta = replace(META, model_id=model_id, metrics=metrics)
    save_package(folder, tiny.model(source), tokenizer_path=source, meta=meta, card="# card\n")
    return folder


def test_publish_then_promote(registry: Registry, tmp_path: Path) -> None:
    assert registry.current() is None
    staged = stage(registry, "m1", GOOD, tmp_path)
    assert registry.publish(staged, "m1") == registry.path("m1")
    assert not staged.exists()
    assert registry.current() is None  # published is not promoted
    registry.promote("m1")
    assert registry.current() == "m1"
    assert load_package(registry.path("m1")).meta.model_id == "m1"


@pytest.mark.parametrize("best", [4.0001, float("nan"), float("inf")])
def test_the_gate_keeps_the_old_model(registry: Registry, tmp_path: Path, best: float) -> None:
    registry.publish(stage(registry, "old", GOOD, tmp_path), "old")
    registry.promote("old")
    registry.publish(stage(registry, "new", {"start_loss": 4.0, "best_loss": best}, tmp_path), "new")
    with pytest.raises(GateError, match=r"new is published but not promoted: validation loss .* at most 4.0000"):
        registry.promote("new")
    assert registry.current() == "old"
    assert registry.published("new")


def test_the_gate_needs_figures() -> None:
    with pytest.raises(GateError):
        check_gate("m", {})
    check_gate("m", {"start_loss": 1.0, "best_loss": 1.0})  # the baselines themselves pass


def test_publishing_again_keeps_what_is_there(registry: Registry, tmp_path: Path) -> None:
    registry.publish(stage(registry, "m1", GOOD, tmp_path), "m1")
    before = checksums(registry.path("m1"))
    registry.publish(stage(registry, "m1", {"start_loss": 9.0, "best_loss": 1.0}, tmp_path), "m1")
    assert checksums(registry.path("m1")) == before
    assert not registry.staging("m1").exists()


def test_a_damaged_stage_is_not_published(registry: Registry, tmp_path: Path) -> None:
    staged = stage(registry, "m1", GOOD, tmp_path)
    (staged / "heads.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="is damaged"):
        registry.publish(staged, "m1")
    assert not registry.published("m1")


def test_a_damaged_model_is_not_promoted(registry: Registry, tmp_path: Path) -> None:
    registry.publish(stage(registry, "m1", GOOD, tmp_path), "m1")
    meta = registry.path("m1") / "model.json"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "metrics": {"start_loss": 9.0, "best_loss": 1.0}}))
    with pytest.raises(ModelError, match=r"changed \['model.json'\]"):
        registry.promote("m1")


def test_current_that_names_nothing_is_an_error(registry: Registry) -> None:
    registry.root.mkdir(parents=True)
    (registry.root / "CURRENT").write_text("gone\n")
    with pytest.raises(ModelError, match="names 'gone', which is not there"):
        registry.current()


@pytest.mark.parametrize("model_id", ["../up", "a/b", "", ".hidden", "_staging"])
def test_ids_cannot_leave_the_folder(registry: Registry, model_id: str) -> None:
    with pytest.raises(ModelError, match="is not letters"):
        registry.path(model_id)


def test_object_stores_are_refused_and_file_uris_are_not(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="all machines mount"):
        Registry("s3://bucket/warehouse/models/encoder")
    assert Registry(f"file://{tmp_path}").root == tmp_path
