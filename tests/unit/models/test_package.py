from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from equipoise.errors import ModelError
from equipoise.models import ModelMeta, load_package, save_package
from equipoise.models.encoder import POOLING, pooling_of
from equipoise.models.package import MANIFEST, checksums, encoder_sha256, listed_sha256, load_held_back, load_meta
from tests.unit.models import tiny

META = ModelMeta(
    model_id="m1",
    categories=["a", "b", "c", "d", "e"],
    max_tokens=8,
    max_item_tokens=4,
    class_mean_spend=(0.0, 10.0, 99.5),
    has_amounts=True,
    feature_names=["f1", "f2", "f3", "f4"],
    pooling="mean",
    metrics={"loss": 1.5},
    table_versions={"feature.examples": 3},
    settings={"encoder": {"path": "package:some/model"}},
)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, object]:
    encoder_path = tiny.directory(tmp_path / "source")
    net = tiny.model(encoder_path)
    with torch.no_grad():
        draw = torch.Generator().manual_seed(4)
        for _, parameter in net.trainable():
            parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.3)
    save_package(tmp_path / "package", net, tokenizer_path=encoder_path, meta=META, card="# card\n")
    return tmp_path / "package", tiny.predict(net.eval(), tiny.batch(7))


def test_a_package_predicts_what_the_model_did(saved: tuple[Path, object]) -> None:
    folder, before = saved
    loaded = load_package(folder)
    assert loaded.meta == META
    after = tiny.predict(loaded.model, tiny.batch(7))
    for a, b in zip(before, after, strict=True):  # type: ignore[call-overload]
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
    assert not loaded.model.training
    assert loaded.tokenizer("beef milk")["input_ids"] == tiny.tokenizer()("beef milk")["input_ids"]


@pytest.mark.parametrize("kind", ["attention", "gru", "lstm"])
def test_a_tower_predicts_what_it_did_before_it_was_saved(kind: str, tmp_path: Path) -> None:
    encoder_path = tiny.directory(tmp_path / "source")
    net = tiny.tower(encoder_path, kind)
    with torch.no_grad():
        draw = torch.Generator().manual_seed(4)
        for _, parameter in net.trainable():
            parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.3)
    meta = replace(META, route="tower", tower=asdict(net.tower.options), off={"behaviour": "nothing but purchases"})
    save_package(tmp_path / "package", net, tokenizer_path=encoder_path, meta=meta, card="# card\n")
    before, loaded = tiny.predict(net.eval(), tiny.batch(9)), load_package(tmp_path / "package")
    assert loaded.meta == meta and len(loaded.model.table) == 25  # type: ignore[union-attr]
    after = tiny.predict(loaded.model, tiny.batch(9))
    for a, b in zip((*before[:4], *before.sequence), (*after[:4], *after.sequence), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
    assert not (tmp_path / "package" / "adapter").exists()
    (tmp_path / "package" / "tower.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=r"changed \['tower.safetensors'\]"):
        load_package(tmp_path / "package")


def test_the_adapter_on_its_base_gives_the_merged_encoder(saved: tuple[Path, object], tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModel

    folder, _ = saved
    adapted = PeftModel.from_pretrained(AutoModel.from_pretrained(tmp_path / "source"), folder / "adapter").eval()
    rows = tiny.batch(5)
    with torch.no_grad():
        ours = (
            load_package(folder).model.encoder.backbone(input_ids=rows["tokens"], attention_mask=rows["mask"]).last_hidden_state
        )
        theirs = adapted(input_ids=rows["tokens"], attention_mask=rows["mask"]).last_hidden_state
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_files_are_as_promised(saved: tuple[Path, object], tmp_path: Path) -> None:
    folder, _ = saved
    assert {p.name for p in folder.iterdir()} == {
        "encoder",
        "adapter",
        "heads.safetensors",
        "model.json",
        "MODEL_CARD.md",
        "manifest.json",
    }
    assert str(tmp_path) not in (folder / "adapter" / "adapter_config.json").read_text()
    assert not list(folder.rglob("*.bin"))
    assert "category.out.weight" in load_file(folder / "heads.safetensors")


def test_the_encoder_says_how_its_states_become_a_vector(tmp_path: Path) -> None:
    net, sums = tiny.model(tiny.directory(tmp_path / "source")), {}
    for pooling in ("mean", "cls", "last"):
        folder = tmp_path / pooling
        meta = replace(META, pooling=pooling)
        save_package(folder, net, tokenizer_path=str(tmp_path / "source"), meta=meta, card="")
        assert pooling_of(folder / "encoder") == load_package(folder).model.encoder.pooling == pooling
        assert f"encoder/{POOLING}/config.json" in listed_sha256(folder)
        sums[pooling] = encoder_sha256(folder)
    assert sums["mean"] != sums["cls"] != sums["last"]
    shutil.rmtree(folder / "encoder" / POOLING)  # as earlier versions published it
    (folder / MANIFEST).write_text(json.dumps({"sha256": checksums(folder)}))
    assert encoder_sha256(folder) == sums["last"]


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda f: (f / "encoder" / "config.json").unlink(), r"missing \['encoder/config.json'\]"),
        (lambda f: (f / "encoder" / "tokenizer.json").unlink(), r"missing \['encoder/tokenizer.json'\]"),
        (lambda f: (f / "heads.safetensors").write_bytes(b"x"), r"changed \['heads.safetensors'\]"),
        (lambda f: (f / "encoder" / "more.bin").write_bytes(b"x"), r"not in the manifest \['encoder/more.bin'\]"),
        (lambda f: (f / "manifest.json").unlink(), "has no manifest.json"),
        (lambda f: (f / "manifest.json").write_text("{"), "is not readable"),
    ],
)
def test_damage_is_seen(saved: tuple[Path, object], damage: object, text: str) -> None:
    damage(saved[0])  # type: ignore[operator]
    with pytest.raises(ModelError, match=text):
        load_package(saved[0])


def test_one_flipped_byte_is_seen(saved: tuple[Path, object]) -> None:
    weights = saved[0] / "encoder" / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    with pytest.raises(ModelError, match=r"changed \['encoder/model.safetensors'\]"):
        load_package(saved[0])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_never_written(tmp_path: Path, value: float) -> None:
    encoder_path = tiny.directory(tmp_path / "source")
    net = tiny.model(encoder_path)
    with torch.no_grad():
        net.heads.value.out.bias[1] = value
    with pytest.raises(ModelError, match=r"such as heads.value.out.bias"):
        save_package(tmp_path / "package", net, tokenizer_path=encoder_path, meta=META, card="")
    assert not (tmp_path / "package").exists()


def test_a_folder_with_something_in_it_is_refused(saved: tuple[Path, object], tmp_path: Path) -> None:
    net = tiny.model(str(tmp_path / "source"))
    with pytest.raises(ModelError, match="is not empty"):
        save_package(saved[0], net, tokenizer_path=str(tmp_path / "source"), meta=META, card="")


def test_a_package_from_before_dates_and_gate_loads(saved: tuple[Path, object]) -> None:
    raw = json.loads((saved[0] / "model.json").read_text())
    (saved[0] / "model.json").write_text(json.dumps({k: v for k, v in raw.items() if k not in ("dates", "gate")}))
    (saved[0] / MANIFEST).write_text(json.dumps({"sha256": checksums(saved[0])}))
    assert load_meta(saved[0]) == META
    with pytest.raises(ModelError, match=r"has no held_back.safetensors; expected a model of this version"):
        load_held_back(saved[0])


def test_metadata_of_another_version_is_refused(saved: tuple[Path, object]) -> None:
    raw = json.loads((saved[0] / "model.json").read_text())
    (saved[0] / "model.json").write_text(json.dumps({**raw, "surprise": 1}))
    (saved[0] / MANIFEST).write_text(json.dumps({"sha256": checksums(saved[0])}))
    with pytest.raises(ModelError, match=r"\['surprise'\]"):
        load_meta(saved[0])


def test_models_import_without_spark_or_petastorm() -> None:
    import subprocess
    import sys

    code = (
        "import sys; sys.modules.update(dict.fromkeys(('pyspark', 'delta', 'petastorm')));"
        "import equipoise.models, equipoise.training.loop, equipoise.training.registry; print('fine')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": "lib", "PATH": ""}, check=False
    )
    assert done.stdout == "fine\n", done.stderr
