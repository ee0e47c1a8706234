from __future__ import annotations

from pathlib import Path

import pytest
import torch

from equipoise.errors import ModelError
from equipoise.models.bottleneck import blocks_of
from equipoise.models.encoder import TextEncoder, load_backbone, pooling_of
from equipoise.models.methods import Method
from equipoise.models.smaller import Smaller, drop_layers, prune_heads, prune_weights, smaller
from tests.unit.models import tiny

ROWS = tiny.batch(12)


def encoder(folder: Path, family: str = "bert") -> TextEncoder:
    path = tiny.directory(folder, family)
    return TextEncoder(load_backbone(path), pooling_of(path)).eval().requires_grad_(False)


def vectors(given: TextEncoder) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = given(ROWS["tokens"], ROWS["mask"])
    return found


def test_nothing_asked_is_the_encoder_itself(tmp_path: Path) -> None:
    whole = encoder(tmp_path)
    assert smaller(whole, Smaller()) is whole


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "qwen", "llama", "gpt2"])
def test_without_its_last_layers_it_says_what_the_earlier_ones_say(tmp_path: Path, family: str) -> None:
    whole = encoder(tmp_path, family)
    less = smaller(whole, Smaller(drop_layers=1))
    assert (len(blocks_of(less.backbone)), len(blocks_of(whole.backbone))) == (1, 2)
    assert not torch.allclose(vectors(less), vectors(whole), atol=1e-3)
    with torch.inference_mode():
        first: list[torch.Tensor] = []
        handle = blocks_of(whole.backbone)[0].register_forward_hook(
            lambda m, a, o: first.append(o[0] if isinstance(o, tuple) else o)
        )
        vectors(whole)
        handle.remove()
    if family in ("bert", "roberta", "distilbert"):  # decoders have a norm behind the last block
        mask = ROWS["mask"].unsqueeze(-1)
        mean = torch.nn.functional.normalize((first[0] * mask).sum(1) / mask.sum(1), dim=-1)
        torch.testing.assert_close(vectors(less), mean, atol=1e-5, rtol=1e-4)
    with pytest.raises(ModelError, match=r"scoring.drop_layers = 2, but the encoder has 2; expected at least one"):
        drop_layers(whole.backbone, 2)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_a_head_that_adds_nothing_is_taken_away_without_a_trace(tmp_path: Path, family: str) -> None:
    whole = encoder(tmp_path, family)
    for place, block in enumerate(blocks_of(whole.backbone)):
        size = whole.width // 2
        head = slice(0, size) if place else slice(size, None)
        block.attention.output.dense.weight[:, head] = 0.0  # type: ignore[union-attr, index, operator]
    before = vectors(whole)
    less = smaller(whole, Smaller(prune_heads=0.5))
    torch.testing.assert_close(vectors(less), before, atol=1e-5, rtol=1e-4)
    assert sum(p.numel() for p in less.parameters()) < sum(p.numel() for p in whole.parameters())
    assert less.backbone.encoder.layer[0].attention.self.query.out_features == whole.width // 2  # type: ignore[union-attr, index]
    torch.testing.assert_close(vectors(whole), before)
    torch.testing.assert_close(vectors(smaller(whole, Smaller(prune_heads=1.0))), before, atol=1e-5, rtol=1e-4)  # one stays


def test_heads_of_another_family_stay(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"scoring.prune_heads = 0.5: no attention with query, key, value .* in Qwen2Model"):
        prune_heads(encoder(tmp_path, "qwen").backbone, 0.5)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_the_smallest_weights_go(tmp_path: Path, share: float) -> None:
    whole = encoder(tmp_path)
    layer = blocks_of(whole.backbone)[1].intermediate.dense  # type: ignore[union-attr]
    before = layer.weight.clone()  # type: ignore[operator, union-attr]
    prune_weights(whole.backbone, share)
    gone = layer.weight == 0.0  # type: ignore[union-attr]
    assert float(gone.float().mean()) == pytest.approx(share, abs=0.01)
    if share:
        assert float(before.abs()[gone].max()) <= float(before.abs()[~gone].min())
        torch.testing.assert_close(layer.weight[~gone], before[~gone])  # type: ignore[union-attr, index]


def test_eight_bits_are_near(tmp_path: Path) -> None:
    whole = encoder(tmp_path)
    less = smaller(whole, Smaller(int8="on"))
    assert float((vectors(whole) * vectors(less)).sum(dim=1).min()) > 0.99
    assert not torch.equal(vectors(whole), vectors(less)) and less.autocast is None
    assert any("Quantized" in type(m).__name__ or "quantized" in type(m).__module__ for m in less.backbone.modules())


def test_additions_beside_the_encoder_are_not_lost(tmp_path: Path) -> None:
    net = tiny.model(tiny.directory(tmp_path), method=Method("prompt", virtual_tokens=2))
    with pytest.raises(ModelError, match=r"additions are merged into it; expected training.method other than prefix and prompt"):
        smaller(net.encoder, Smaller(int8="on"))
