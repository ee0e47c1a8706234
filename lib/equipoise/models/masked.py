"""Masked-language objective on an encoder's own states (Devlin et al. 2019, arXiv 1810.04805, §3.1).

Letters: b texts, s places, d entries of a state, v words of the vocabulary, m masked places of a batch.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from equipoise.errors import ModelError
from equipoise.models.encoder import TextEncoder, load_tokenizer, reads_both_ways

AS_MASK, AS_OTHER = 0.8, 0.1
"""Of the chosen places: shown as the mask token, and as another word; the rest is shown as it is (Devlin et al. 2019)."""

UNCHOSEN = -100


class Words(NamedTuple):
    """The tokenizer's mask token, and the ids that are words: neither special nor padding, (n,) int64 rising."""

    mask_id: int
    words: Tensor


def check_masked(path: str) -> None:
    """Raises ModelError when the encoder in the directory cannot fill in masked words."""
    words_of(path, load_tokenizer(path))


def words_of(path: str, tokenizer: Any) -> Words:
    """What of the tokenizer in an encoder's directory is masked, and with what.

    Raises:
        ModelError: a decoder, which reads forwards alone, or a tokenizer without a mask token.
    """
    if not reads_both_ways(path) or tokenizer.mask_token_id is None:
        why = "its tokenizer has no mask token" if reads_both_ways(path) else "it is a decoder, which only reads forwards"
        raise ModelError(
            f"training.pretraining = masked, but {path!r} cannot fill in masked words: {why}; expected an encoder as BERT is; "
            "set training.pretraining to 'contrastive' or 'none', or use another encoder.path"
        )
    special = torch.tensor(sorted(set(tokenizer.all_special_ids)))
    every = torch.arange(len(tokenizer))
    return Words(int(tokenizer.mask_token_id), every[~torch.isin(every, special)])


def masked_tokens(tokens: Tensor, mask: Tensor, words: Words, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """What is shown (b, s), and what stood there (b, s) at the chosen places, UNCHOSEN elsewhere; on the CPU.

    Each word is chosen with chance `share`; specials and padding never are. Of those chosen 80 % become the mask token, 10 % a
    word drawn evenly, 10 % stay.
    """
    draw, what = torch.rand(tokens.shape, generator=generator), torch.rand(tokens.shape, generator=generator)
    other = words.words[torch.randint(len(words.words), tokens.shape, generator=generator)]
    chosen = (draw < share) & torch.isin(tokens, words.words) & (mask > 0)
    shown = torch.where(chosen & (what < AS_MASK), words.mask_id, tokens)
    shown = torch.where(chosen & (what >= AS_MASK) & (what < AS_MASK + AS_OTHER), other, shown)
    return shown, torch.where(chosen, tokens, UNCHOSEN)


class MaskedHead(nn.Module):
    """State of a masked place → logits of the vocabulary, read against the encoder's own word embeddings, as BERT's head does.

    Its own, since text encoders come without one; it is thrown away after pre-training.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        embeddings = cast(nn.Embedding, cast(Any, encoder.backbone).get_input_embeddings())
        self.dense = nn.Linear(encoder.width, embeddings.embedding_dim)
        self.norm = nn.LayerNorm(embeddings.embedding_dim)
        self.bias = nn.Parameter(torch.zeros(embeddings.num_embeddings))

    def forward(self, states: Tensor, embeddings: Tensor) -> Tensor:
        """states (m, d), embeddings (v, e) → (m, v)."""
        hidden = self.norm(nn.functional.gelu(self.dense(states)))
        logits: Tensor = nn.functional.linear(hidden, embeddings, self.bias)
        return logits


def masked_loss(
    encoder: TextEncoder, head: MaskedHead, shown: Tensor, mask: Tensor, stood: Tensor, *, head_alone: bool = False
) -> Tensor:
    """(m,) log loss in nats of each chosen place; logits are made for those alone. `head_alone`: no gradient for the encoder."""
    places = stood != UNCHOSEN
    states = encoder.states(shown, mask)[places].float()
    embeddings = cast(nn.Embedding, cast(Any, encoder.backbone).get_input_embeddings()).weight
    if head_alone:
        states, embeddings = states.detach(), embeddings.detach()
    return nn.functional.cross_entropy(head(states, embeddings), stood[places], reduction="none")
