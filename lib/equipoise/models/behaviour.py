"""The text route: behaviour as text → encoder → heads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from equipoise.models.encoder import Pooling, TextEncoder, load_backbone, pooling_of
from equipoise.models.heads import Heads, Outputs
from equipoise.models.methods import Method, prepared


class BehaviourModel(nn.Module):
    """Text, decayed category weights, pair features and explicit features of a user → vector, next categories, value class."""

    inputs: tuple[str, ...] = ("tokens", "mask", "prior", "cells", "trends", "features")

    def __init__(self, encoder: TextEncoder, heads: Heads) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = heads

    def forward(self, tokens: Tensor, mask: Tensor, prior: Tensor, cells: Tensor, trends: Tensor, features: Tensor) -> Outputs:
        """tokens (b, s) int64, mask (b, s), the others as `Heads.forward` takes them."""
        outputs: Outputs = self.heads(self.encode(tokens, mask), prior, cells, trends, features)
        return outputs

    def user_vectors(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """(b, d), unit length."""
        return self.encode(tokens, mask)

    def encode(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Unit vectors (b, d) of texts."""
        vectors: Tensor = self.encoder(tokens, mask)
        return vectors

    def trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """What training changes: the encoder's part and the heads, by name."""
        return ((name, p) for name, p in self.named_parameters() if p.requires_grad)


def build(
    encoder_path: str,
    *,
    features: int,
    population: Sequence[float],
    dirichlet: float,
    sharpening: float,
    adapter_width: int = 0,
    method: Method,
    seed: int,
    pooling: Pooling | None = None,
) -> BehaviourModel:
    """An untrained model: pretrained encoder prepared for the way of fine-tuning, heads that say what the baselines say.

    `pooling` None: as the directory says. The same arguments give the same weights; torch's global generator is left as it was.

    Raises:
        ModelError: when the encoder directory is incomplete, or its family lacks what the method needs.
    """
    backbone = load_backbone(encoder_path)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = encoder_with(backbone, pooling or pooling_of(encoder_path), method)
        heads = Heads(
            encoder.width, features, population, dirichlet=dirichlet, sharpening=sharpening, adapter_width=adapter_width
        )
    return BehaviourModel(encoder, heads)


def encoder_with(backbone: nn.Module, pooling: Pooling, method: Method) -> TextEncoder:
    """The encoder prepared for a way of fine-tuning; fresh weights come from torch's generator."""
    prompt = method.virtual_tokens if method.method == "prompt" else 0
    return TextEncoder(prepared(backbone, method), pooling, prompt=prompt)


def expected_spend(value_probabilities: Tensor, class_mean_spend: Sequence[float]) -> Tensor:
    """Money in the next window (b,): Σ over classes of probability × mean spend of the class in training labels."""
    means = torch.tensor(class_mean_spend, dtype=value_probabilities.dtype, device=value_probabilities.device)
    return value_probabilities @ means
