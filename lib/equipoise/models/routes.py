"""The routes from a user's behaviour to a prediction, and what training and inference ask of each of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from equipoise.models.behaviour import BehaviourModel
from equipoise.models.encoder import TextEncoder, load_backbone, pooling_of
from equipoise.models.heads import Heads
from equipoise.models.tower import Tower, TowerModel, TowerOptions

Model = BehaviourModel | TowerModel
"""A route: names in `inputs` the columns of a batch that `forward` takes, in order, those of `user_vectors` first."""


def build_tower(
    encoder_path: str,
    options: TowerOptions,
    *,
    features: int,
    population: Sequence[float],
    dirichlet: float,
    sharpening: float,
    adapter_width: int = 0,
    seed: int,
) -> TowerModel:
    """An untrained tower on a pretrained encoder: the user's vector is the decayed mean of the items, heads as counted.

    The same arguments give the same weights; torch's global generator is left as it was.

    Raises:
        ModelError: when the encoder directory is incomplete.
    """
    encoder = TextEncoder(load_backbone(encoder_path), pooling_of(encoder_path))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tower = Tower(encoder.width, options)
        heads = Heads(
            encoder.width, features, population, dirichlet=dirichlet, sharpening=sharpening, adapter_width=adapter_width
        )
    return TowerModel(encoder, tower, heads)
