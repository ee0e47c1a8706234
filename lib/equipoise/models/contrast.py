"""Contrastive objective on pairs of texts: what is bought together lies together, and nothing else moves.

Letters: b pairs of a batch, d entries of a vector, s places of a text, n texts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

NEAR_DUPLICATE = 0.8
"""Two texts with so much of their words in common (Jaccard) are one thing in two wordings, and no negatives of each other."""


class KnownPairs:
    """Which two of n texts are bought together, to be asked for many at once."""

    def __init__(self, pairs: Tensor, texts: int) -> None:
        """pairs (p, 2) int64, in any order; `texts`: how many there are."""
        low, high = pairs.min(dim=1).values, pairs.max(dim=1).values
        self._texts = texts
        self._codes = torch.unique(low * texts + high)

    def __call__(self, left: Tensor, right: Tensor) -> Tensor:
        """Whether left and right, of shapes that fit each other, are known together."""
        low, high = torch.minimum(left, right), torch.maximum(left, right)
        wanted = low * self._texts + high
        if not len(self._codes):
            return torch.zeros_like(wanted, dtype=torch.bool)
        place = torch.searchsorted(self._codes, wanted.contiguous()).clamp(max=len(self._codes) - 1)
        found: Tensor = self._codes[place] == wanted
        return found


def word_overlap(left: Tensor, right: Tensor, words: Tensor) -> Tensor:
    """(i, j): Jaccard similarity of the sets of words of texts with tokens left (i, s) and right (j, s).

    `words`: ids that count, so that specials and padding do not. Two texts without a word have 0.
    """
    ids, place = torch.unique(torch.cat([left.flatten(), right.flatten()]), return_inverse=True)
    sets = torch.zeros(len(left) + len(right), len(ids))
    sets[torch.arange(len(sets)).repeat_interleave(left.shape[1]), place] = 1.0
    sets = sets * torch.isin(ids, words)
    one, two = sets[: len(left)], sets[len(left) :]
    both = one @ two.T
    return both / (one.sum(dim=1, keepdim=True) + two.sum(dim=1) - both).clamp(min=1.0)


def negatives(anchors: Tensor, partners: Tensor, known: KnownPairs, tokens: Tensor, words: Tensor) -> Tensor:
    """(b, b) bool: whether the partner of pair j (column) may stand against that of pair i (row).

    It may not where it is the same text as, or a near duplicate of, pair i's partner or anchor, or is itself bought with that
    anchor. anchors, partners (b,) places among the texts, whose tokens are (n, s).
    """
    mine, theirs = tokens[anchors], tokens[partners]
    alike = (word_overlap(theirs, theirs, words) >= NEAR_DUPLICATE) | (word_overlap(mine, theirs, words) >= NEAR_DUPLICATE)
    same = (partners[:, None] == partners) | (anchors[:, None] == partners)
    return ~(alike | same | known(anchors[:, None].expand(-1, len(partners)), partners.expand(len(anchors), -1)))


def contrast_loss(anchors: Tensor, partners: Tensor, allowed: Tensor, log_share: Tensor, temperature: float) -> Tensor:
    """(b,) nats: softmax over each pair's own partner and its `negatives`, by cosine ÷ temperature less the log of how often a
    partner is drawn (logQ correction, Yi et al. 2019), so that popular ones are not pushed away for being drawn more often.

    anchors, partners (b, d) of length 1; allowed (b, b) bool; log_share (b,) of the partners.
    """
    logits = anchors @ partners.T / temperature - log_share
    own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    logits = logits.masked_fill(~(allowed | own), float("-inf"))
    return nn.functional.cross_entropy(logits, torch.arange(len(logits), device=logits.device), reduction="none")


def pull_loss(vectors: Tensor, before: Tensor) -> Tensor:
    """(b,) 1 − cosine to where the untouched encoder has the text; all (b, d) of length 1."""
    return 1.0 - (vectors * before).sum(dim=-1)
