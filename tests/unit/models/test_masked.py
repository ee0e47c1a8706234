from __future__ import annotations

from pathlib import Path

import pytest
import torch

from equipoise.errors import ModelError
from equipoise.models.encoder import TextEncoder, load_backbone, load_tokenizer
from equipoise.models.masked import UNCHOSEN, MaskedHead, Words, masked_loss, masked_tokens, words_of
from tests.unit.models import tiny

WORDS = Words(4, torch.arange(5, len(tiny.WORDS)))
SPECIALS = 5


def _texts(rows: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    """[CLS] 2–8 words [SEP] and padding, with an unknown word here and there."""
    draw = torch.Generator().manual_seed(3)
    lengths = torch.randint(4, 11, (rows, 1), generator=draw)
    places = torch.arange(10)
    tokens = torch.randint(5, len(tiny.WORDS), (rows, 10), generator=draw)
    tokens = torch.where(torch.rand(rows, 10, generator=draw) < 0.05, 1, tokens)
    tokens = torch.where(places == lengths - 1, 3, torch.where(places == 0, 2, tokens))
    mask = (places < lengths).long()
    return tokens * mask, mask


def test_neither_specials_nor_padding_are_ever_chosen() -> None:
    tokens, mask = _texts()
    shown, stood = masked_tokens(tokens, mask, WORDS, 1.0, torch.Generator().manual_seed(1))
    chosen = stood != UNCHOSEN
    assert torch.equal(chosen, tokens >= SPECIALS)
    assert torch.equal(shown[~chosen], tokens[~chosen])
    assert torch.equal(stood[chosen], tokens[chosen])
    assert int(shown[chosen].min()) == 4  # the mask, never another special


def test_shares_are_those_of_the_paper() -> None:
    """15 %; of them 80 % masked, 10 % another word drawn evenly among the words, itself included, 10 % kept; within 4 σ."""
    tokens, mask = _texts(20_000)
    shown, stood = masked_tokens(tokens, mask, WORDS, 0.15, torch.Generator().manual_seed(1))
    chosen, able = stood != UNCHOSEN, tokens >= SPECIALS

    def near(found: torch.Tensor, share: float) -> bool:
        number = len(found)
        return abs(float(found.double().mean()) - share) < 4 * (share * (1 - share) / number) ** 0.5

    assert near(chosen[able], 0.15)
    assert near(shown[chosen] == 4, 0.8)
    words = len(tiny.WORDS) - SPECIALS
    assert near((shown[chosen] != 4) & (shown[chosen] != stood[chosen]), 0.1 * (words - 1) / words)
    assert near(shown[chosen] == stood[chosen], 0.1 + 0.1 / words)


def test_a_seed_decides() -> None:
    tokens, mask = _texts(50)
    one, two, other = (masked_tokens(tokens, mask, WORDS, 0.5, torch.Generator().manual_seed(s))[0] for s in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_the_loss_is_that_of_the_masked_places(tmp_path: Path, family: str) -> None:
    """Against logits of every place, of which those chosen are picked; and finite differences in the head."""
    path = tiny.directory(tmp_path, family)
    encoder = TextEncoder(load_backbone(path), "mean").eval()
    torch.manual_seed(1)
    head = MaskedHead(encoder)
    tokens, mask = _texts(6)
    shown, stood = masked_tokens(tokens, mask, WORDS, 0.4, torch.Generator().manual_seed(2))
    found = masked_loss(encoder, head, shown, mask, stood)
    embeddings = encoder.backbone.get_input_embeddings().weight  # type: ignore[operator]
    logits = head(encoder.backbone(input_ids=shown, attention_mask=mask).last_hidden_state, embeddings)
    expected = -logits.log_softmax(-1).gather(-1, stood.clamp(min=0).unsqueeze(-1)).squeeze(-1)[stood != UNCHOSEN]
    assert torch.allclose(found, expected, atol=1e-5)
    found.sum().backward()
    assert embeddings.grad is not None and bool((embeddings.grad != 0).any())


def test_gradients_of_the_head(tmp_path: Path) -> None:
    encoder = TextEncoder(load_backbone(tiny.directory(tmp_path)), "mean")
    head = MaskedHead(encoder).double()
    draw = torch.Generator().manual_seed(1)
    states = torch.randn(3, 16, generator=draw, dtype=torch.float64, requires_grad=True)
    words = torch.randn(7, 16, generator=draw, dtype=torch.float64, requires_grad=True)
    head.bias = torch.nn.Parameter(torch.zeros(7, dtype=torch.float64))
    stood = torch.tensor([0, 3, 6])
    assert torch.autograd.gradcheck(lambda s, w: torch.nn.functional.cross_entropy(head(s, w), stood), (states, words))


def test_the_encoder_stands_still_while_the_head_learns_alone(tmp_path: Path) -> None:
    encoder = TextEncoder(load_backbone(tiny.directory(tmp_path)), "mean")
    head = MaskedHead(encoder)
    tokens, mask = _texts(6)
    shown, stood = masked_tokens(tokens, mask, WORDS, 0.4, torch.Generator().manual_seed(2))
    masked_loss(encoder, head, shown, mask, stood, head_alone=True).sum().backward()
    assert all(p.grad is None for p in encoder.parameters())
    assert head.dense.weight.grad is not None


@pytest.mark.parametrize("family", ["qwen", "llama", "gpt2"])
def test_a_decoder_is_refused(tmp_path: Path, family: str) -> None:
    path = tiny.directory(tmp_path, family)
    with pytest.raises(ModelError, match=r"cannot fill in masked words: it is a decoder.*set training.pretraining to 'contr"):
        words_of(path, load_tokenizer(path))


def test_a_tokenizer_without_a_mask_is_refused(tmp_path: Path) -> None:
    path = tiny.directory(tmp_path)
    tokenizer = load_tokenizer(path)
    assert words_of(path, tokenizer).mask_id == 4
    tokenizer.mask_token = None
    with pytest.raises(ModelError, match="its tokenizer has no mask token"):
        words_of(path, tokenizer)
