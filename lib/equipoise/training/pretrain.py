"""Continued pre-training of an encoder on the shop's own texts, before fine-tuning. Torch only, one process.

Letters: n texts, s places of a text, b pairs or texts of a batch, d entries of a vector.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn, optim

from equipoise.errors import ModelError
from equipoise.models.contrast import KnownPairs, contrast_loss, negatives, pull_loss
from equipoise.models.encoder import TextEncoder
from equipoise.models.masked import MaskedHead, Words, masked_loss, masked_tokens
from equipoise.models.methods import Method, prepared
from equipoise.training.held_out_pairs import LEAST_HELD_OUT, HeldOut, drawn, hold_out, judged
from equipoise.training.optimiser import rate_factor
from equipoise.training.step import clip, step_seed
from equipoise.training.together import Together

Kind = Literal["none", "masked", "contrastive", "both", "categories"]

EVALUATIONS = 6
"""Times that the held-out pairs are asked on the way, beside the beginning."""

HEAD_ALONE = 0.2
"""Share of the steps in which the masked head learns from an encoder that it does not move: its first gradients are noise."""

HEAD_RATE, WEIGHT_DECAY, WARMUP, CLIP_NORM = 1e-3, 0.01, 0.1, 1.0
ENCODED_AT_ONCE = 256


@dataclass(frozen=True)
class PretrainOptions:
    """How to pre-train; every field is a setting of the same name."""

    seed: int
    pretraining: Kind
    pretraining_steps: int = 300
    pretraining_rate: float = 2e-5
    pretraining_batch: int = 64
    pretraining_mask_share: float = 0.15
    pretraining_temperature: float = 0.05
    pretraining_pull: float = 1.0

    @property
    def masks(self) -> bool:
        """Whether words are masked."""
        return self.pretraining in ("masked", "both")


class Texts(NamedTuple):
    """Tokens (n, s) int64 and mask (n, s) int64, 1 where a token stands, on the CPU; the ids that are words, rising; what masking
    needs, None where it is not asked for."""

    tokens: Tensor
    mask: Tensor
    words: Tensor
    masking: Words | None = None

    def batch(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens and mask (b, s') of some texts, no wider than the longest of them."""
        mask = self.mask[places]
        width = max(1, int(mask.sum(dim=1).max()))
        return self.tokens[places, :width], mask[:, :width]


class Pretrained(NamedTuple):
    """The figures of the encoder that was kept (it is left in the encoder given), its step, 0 being the untouched one, and every
    time the held-out pairs were asked."""

    step: int
    best: dict[str, float]
    history: list[dict[str, float]]


def pretrain(
    encoder: TextEncoder,
    texts: Texts,
    found: Together,
    options: PretrainOptions,
    *,
    device: torch.device,
    say: Callable[[str], None],
) -> Pretrained:
    """Trains every weight of the encoder, in place, on texts and pairs of texts; same arguments, same weights on a CPU.

    A step's loss, in nats: contrast of b pairs in both directions (contrastive, both, categories) + log loss of masked words of
    b other texts (masked, both) + pretraining_pull × (1 − cosine to the vectors of the untouched encoder) on the step's texts,
    unmasked. What is kept is the encoder that best finds held-out partners, texts (or names of categories) it has never been
    trained on; the untouched one is the first candidate. Without the pull, a shop's few pairs tear near duplicates apart.
    float16 is not used: there is no loss scale here.

    Raises:
        ModelError: too few pairs to hold any out, or a loss that is not finite.
    """
    held = hold_out(found, options.seed)
    if len(held.texts) < LEAST_HELD_OUT or not len(held.asked) or not len(held.training.counts):
        raise ModelError(
            f"training.pretraining = {options.pretraining!r} with {len(found.counts):,} pairs of texts "
            f"{_what(options.pretraining)}, of which {len(held.training.counts):,} are left to train on; expected enough to hold "
            "some out, which decide; set training.pretraining = 'none', or build examples of more users"
        )
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        return _Run(encoder.to(device), texts, held, options, device, say).run()


class _Run:
    def __init__(
        self,
        encoder: TextEncoder,
        texts: Texts,
        held: HeldOut,
        options: PretrainOptions,
        device: torch.device,
        say: Callable[[str], None],
    ) -> None:
        self._encoder, self._texts, self._held, self._options = encoder, texts, held, options
        self._device, self._say = device, say
        if encoder.autocast is torch.float16:
            encoder.autocast = None
        self._before = copy.deepcopy(encoder).eval().requires_grad_(False)
        prepared(encoder.backbone, Method("full"))
        self._known = KnownPairs(held.training.pairs, len(texts.tokens))
        self._log_share = _log_share(held.training, len(texts.tokens))
        torch.manual_seed(options.seed)
        self._head = MaskedHead(encoder).to(device) if options.masks else None
        self._free = _others(len(texts.tokens), held.texts)
        self._optimiser = self._made()

    def _made(self) -> optim.Optimizer:
        weights = [p for p in self._encoder.parameters() if p.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in weights if p.ndim > 1], "weight_decay": WEIGHT_DECAY, "peak": self._options.pretraining_rate},
            {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0, "peak": self._options.pretraining_rate},
        ]
        if self._head is not None:
            groups.append({"params": list(self._head.parameters()), "weight_decay": 0.0, "peak": HEAD_RATE})
        return optim.AdamW(groups, lr=self._options.pretraining_rate)

    def run(self) -> Pretrained:
        steps = self._options.pretraining_steps
        every = math.ceil(steps / EVALUATIONS)
        candidates = self._vectors(self._before, self._held.texts)
        self._untouched = candidates
        history = [self._judged(0)]
        best, kept = history[0], _state(self._encoder)
        for step in range(steps):
            loss = self._step(step)
            if not math.isfinite(loss):
                raise ModelError(
                    f"pre-training: the loss is {loss} at step {step + 1}; expected a finite one; lower "
                    f"training.pretraining_rate ({self._options.pretraining_rate}) or raise training.pretraining_temperature"
                )
            if (step + 1) % every == 0 or step + 1 == steps:
                history.append({**self._judged(step + 1), "training_loss": loss})
                if history[-1]["retrieval_loss"] < best["retrieval_loss"]:
                    best, kept = history[-1], _state(self._encoder)
        self._encoder.load_state_dict(kept)
        self._encoder.eval()
        self._say(f"pre-training: kept step {int(best['step'])} of {steps:,}")
        return Pretrained(int(best["step"]), best, history)

    def _step(self, step: int) -> float:
        seed = step_seed(self._options.seed, 0, step)
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)  # dropout
        factor = rate_factor(step, self._options.pretraining_steps, WARMUP)
        for group in self._optimiser.param_groups:
            group["lr"] = group["peak"] * factor
        self._encoder.train()
        self._optimiser.zero_grad()
        loss = self._loss(step, generator)
        loss.backward()  # type: ignore[no-untyped-call]
        clip([p for g in self._optimiser.param_groups for p in g["params"] if p.grad is not None], CLIP_NORM)
        self._optimiser.step()
        return float(loss.detach())

    def _loss(self, step: int, generator: torch.Generator) -> Tensor:
        kind, size = self._options.pretraining, self._options.pretraining_batch
        loss = torch.zeros((), device=self._device)
        if kind != "masked":
            one, two = self._held.training.pairs[drawn(self._held.training.counts, size, generator)].unbind(dim=1)
            vectors, before = self._both(torch.cat([one, two]))
            loss = loss + self._contrast(one, two, vectors) + self._options.pretraining_pull * pull_loss(vectors, before).mean()
        if self._head is not None and self._texts.masking is not None:
            places = self._free[torch.randint(len(self._free), (size,), generator=generator)]
            tokens, mask = self._texts.batch(places)
            share = self._options.pretraining_mask_share
            shown, stood = masked_tokens(tokens, mask, self._texts.masking, share, generator)
            alone = step < HEAD_ALONE * self._options.pretraining_steps
            words = masked_loss(self._encoder, self._head, *self._moved(shown, mask, stood), head_alone=alone)
            loss = loss + words.sum() / max(1, len(words))
            if kind == "masked" and not alone:
                loss = loss + self._options.pretraining_pull * pull_loss(*self._both(places)).mean()
        return loss

    def _contrast(self, one: Tensor, two: Tensor, vectors: Tensor) -> Tensor:
        """Both directions of the pairs, nats."""
        parts = []
        first, second = vectors[: len(one)], vectors[len(one) :]
        for anchors, partners, a, p in ((one, two, first, second), (two, one, second, first)):
            allowed = negatives(anchors, partners, self._known, self._texts.tokens, self._texts.words)
            allowed, share = self._moved(allowed, self._log_share[partners])
            parts.append(contrast_loss(a, p, allowed, share, self._options.pretraining_temperature))
        return torch.cat(parts).mean()

    def _both(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors of texts now, with gradient, and by the untouched encoder."""
        tokens, mask = self._moved(*self._texts.batch(places))
        with torch.no_grad():
            before = self._before(tokens, mask)
        return self._encoder(tokens, mask), before

    def _judged(self, step: int) -> dict[str, float]:
        self._encoder.eval()
        asked, place = torch.unique(self._held.asked, return_inverse=True)
        now = self._vectors(self._encoder, self._held.texts)
        questions = self._vectors(self._encoder, asked)[place.to(self._device)]
        figures = {"step": float(step), **judged(self._held, questions, now, self._untouched)}
        self._say(
            f"pre-training, step {step:,}: held-out retrieval {figures['retrieval_loss']:.4f} nats, "
            f"recall {figures['recall']:.4f}, {figures['kept_neighbours']:.0%} of neighbours kept"
        )
        return figures

    def _vectors(self, encoder: TextEncoder, places: Tensor) -> Tensor:
        """(len(places), d), without gradients, near-equal lengths together."""
        order = torch.argsort(self._texts.mask[places].sum(dim=1), stable=True)
        with torch.no_grad():
            parts = [encoder(*self._moved(*self._texts.batch(p))) for p in torch.split(places[order], ENCODED_AT_ONCE)]
        found = torch.cat(parts)
        out = torch.empty_like(found)
        out[order.to(found.device)] = found
        return out

    def _moved(self, *tensors: Tensor) -> Iterator[Tensor]:
        return (t.to(self._device) for t in tensors)


def _log_share(pairs: Together, texts: int) -> Tensor:
    """(n,) log of how often each text is drawn as a partner; of one that never is, the share of half a pair."""
    seen = torch.zeros(texts, dtype=torch.float64)
    for side in pairs.pairs.unbind(dim=1):
        seen.index_add_(0, side, pairs.counts.double())
    return (seen.clamp(min=0.5) / seen.sum()).log().float()


def _what(kind: Kind) -> str:
    return "and names of their categories" if kind == "categories" else "bought together"


def _others(number: int, without: Tensor) -> Tensor:
    return torch.from_numpy(np.setdiff1d(np.arange(number), without.numpy()))


def _state(module: nn.Module) -> dict[str, Tensor]:
    return {name: t.detach().clone() for name, t in module.state_dict().items()}
