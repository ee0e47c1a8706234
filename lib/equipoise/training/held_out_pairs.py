"""Held-out pairs that decide how long pre-training helps: partners whose texts it has never seen must be found among themselves.

Letters: q pairs asked, c held-out texts, d entries of a vector.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from equipoise.training.together import Together

HELD_OUT_SHARE, MOST_HELD_OUT, MOST_ASKED = 0.1, 2000, 2000
"""Of the texts with a pair, so many are held out, and so many of their pairs are asked."""

LEAST_HELD_OUT = 2
TEMPERATURES = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3)
"""Each encoder is judged at the one that suits it best, so that none wins by the scale of its cosines alone."""

FOUND_AT = 10
NEIGHBOURS = 10


class HeldOut(NamedTuple):
    """texts (c,) places of the held-out texts; asked (q,) places of any texts; answers (q,) places in `texts` of what was bought
    with them. training: the pairs that touch no held-out text."""

    texts: Tensor
    asked: Tensor
    answers: Tensor
    training: Together


def hold_out(found: Together, seed: int) -> HeldOut:
    """Texts, and with them all of their pairs, drawn by the seed."""
    draw = torch.Generator().manual_seed(seed)
    paired = torch.unique(found.pairs)
    paired = paired[paired >= found.answers_from]
    number = min(max(LEAST_HELD_OUT, math.ceil(HELD_OUT_SHARE * len(paired))), MOST_HELD_OUT)
    held = paired[torch.randperm(len(paired), generator=draw)[:number]].sort().values
    inside = torch.isin(found.pairs, held)
    both = torch.cat([found.pairs, found.pairs.flip(1)])  # asked from the other end; where both are held, from both
    asked = torch.nonzero(torch.cat([inside[:, 1], inside[:, 0]])).flatten()
    if len(asked) > MOST_ASKED:
        asked = asked[drawn(found.counts.repeat(2)[asked], MOST_ASKED, draw)]
    anchor, partner = both[asked].unbind(dim=1)
    rest = ~inside.any(dim=1)
    return HeldOut(
        held,
        anchor,
        torch.searchsorted(held, partner.contiguous()),
        found._replace(pairs=found.pairs[rest], counts=found.counts[rest]),
    )


def drawn(counts: Tensor, number: int, generator: torch.Generator) -> Tensor:
    """(number,) places drawn with replacement, each as often as its count says; `torch.multinomial` stops at 2²⁴ places."""
    ends = counts.double().cumsum(dim=0)
    at = torch.rand(number, generator=generator, dtype=torch.float64) * ends[-1]
    return torch.searchsorted(ends, at, right=True).clamp(max=len(counts) - 1)


def judged(held: HeldOut, asked: Tensor, candidates: Tensor, before: Tensor) -> dict[str, float]:
    """Figures of an encoder on the held-out pairs.

    retrieval_loss: nats, softmax of cosine ÷ temperature over all held-out texts, at the best of TEMPERATURES. recall: share of
    answers among the first FOUND_AT. kept_neighbours: mean share of each held-out text's NEIGHBOURS nearest that it had before.
    moved: mean 1 − cosine to the vector before.

    Args:
        asked: (q, d) vectors of what is asked; candidates, before: (c, d) of the held-out texts, now and by the untouched
            encoder.
    """
    itself = held.asked[:, None] == held.texts
    cosines = (asked @ candidates.T).masked_fill(itself.to(asked.device), float("-inf"))
    answers = held.answers.to(asked.device)
    losses = [float(nn.functional.cross_entropy(cosines / t, answers)) for t in TEMPERATURES]
    best = cosines.topk(min(FOUND_AT, len(candidates)), dim=1).indices
    return {
        "retrieval_loss": min(losses),
        "temperature": TEMPERATURES[losses.index(min(losses))],
        "recall": float((best == answers[:, None]).any(dim=1).double().mean()),
        "kept_neighbours": _kept(candidates, before),
        "moved": float((1.0 - (candidates * before).sum(dim=1)).mean()),
    }


def _kept(now: Tensor, before: Tensor) -> float:
    number = min(NEIGHBOURS, len(now) - 1)
    own = torch.eye(len(now), dtype=torch.bool, device=now.device)
    sets = []
    for vectors in (now, before):
        nearest = (vectors @ vectors.T).masked_fill(own, -2.0).topk(number, dim=1).indices
        sets.append(torch.zeros(len(now), len(now), device=now.device).scatter_(1, nearest, 1.0))
    return float((sets[0] * sets[1]).sum(dim=1).mean() / number)
