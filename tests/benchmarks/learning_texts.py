"""Continued pre-training on the shop's own texts, masked words and texts bought together, and what it does for new items.

Pairs come from before the origin alone. Kinds, rates and pulls are compared one origin earlier; the best of each kind is looked
at once at the last one. The encoder of the best is left in OUT, for another shop.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from equipoise.inference.texts import TextVectors
from equipoise.models.encoder import TextEncoder, load_backbone, load_tokenizer, pooling_of
from equipoise.training.pretrain import PretrainOptions, pretrain
from equipoise.training.pretrained import tokenised
from equipoise.training.together import Bought, Together, together
from tests.benchmarks import zero_shot
from tests.benchmarks.learning_items import MAX_TOKENS, RESAMPLES, Ranker, Shop, World, measured, say, standard, table, values

STEPS = 300
BATCH = 256
LAST_DAYS = 180
"""Pairs are of so many days before the origin."""

TRIED: dict[str, dict[str, Any]] = {
    "masked": {"pretraining": "masked", "pretraining_rate": 5e-5, "pretraining_pull": 1.0},
    "contrastive, pull 1": {"pretraining": "contrastive", "pretraining_rate": 2e-5, "pretraining_pull": 1.0},
    "contrastive, pull 5": {"pretraining": "contrastive", "pretraining_rate": 5e-5, "pretraining_pull": 5.0},
    "both, pull 1": {"pretraining": "both", "pretraining_rate": 5e-5, "pretraining_pull": 1.0},
}
WEIGHT = 0.3
"""Of the kernel beside the learnt ranker, in its standard deviations: what the evaluation takes."""


def pairs_of(shop: Shop, origin: int) -> Together:
    """Texts that a user bought on one day, before the origin."""
    kept = (shop.day < origin) & (shop.day >= origin - LAST_DAYS)
    rows = np.unique(np.stack([shop.user[kept], shop.day[kept], shop.number[shop.item[kept]]], axis=1), axis=0)
    return together(Bought(*rows.T.astype(np.int64)), days=0, seed=1)


def encoder_of(asked: argparse.Namespace, device: torch.device) -> TextEncoder:
    encoder = TextEncoder(load_backbone(asked.encoder), pooling_of(asked.encoder)).to(device)
    encoder.autocast = torch.bfloat16 if device.type == "cuda" else None
    return encoder


def texts(asked: argparse.Namespace) -> None:
    """Prints what was tried one origin earlier, and every kind at the last."""
    shop = Shop(asked)
    held = tokenised(asked.encoder, shop.distinct.tolist(), MAX_TOKENS, masked=True)
    found = pairs_of(shop, shop.origin["chosen"])
    say(f"\n{len(shop.distinct):,} texts, {len(found.counts):,} pairs of {LAST_DAYS} days; steps of {BATCH} pairs\n")
    say("| kind | kept step | loss of held-out partners | new items one origin earlier: alone | beside the ranker | s |")
    say("|---|---|---|---|---|---|")
    best: dict[str, tuple[float, str]] = {}
    for name, options in TRIED.items() if not asked.few else list(TRIED.items())[-1:]:
        began = time.monotonic()
        encoder, told = made(asked, shop, held, found, options, 1)
        alone, beside = looked(encoder, shop, shop.worlds["chosen"])
        first, last = told.history[0]["retrieval_loss"], told.best["retrieval_loss"]
        cells = name, told.step, f"{first:.4f} → {last:.4f}", values(alone), values(beside), f"{time.monotonic() - began:.0f}"
        say(f"| {' | '.join(map(str, cells))} |")
        best[options["pretraining"]] = max(best.get(options["pretraining"], (0.0, "")), (beside["NDCG@10"].value(), name))
    world = shop.worlds["test"]
    alone, beside = looked(encoder_of(asked, shop.device), shop, world)
    rows = {"ranker without language": [measured(world.ranker, world)]}
    rows |= {"untouched encoder alone": [alone], "ranker + untouched encoder": [beside]}
    last_pairs = pairs_of(shop, shop.origin["test"])
    elsewhere = {zero_shot.UNTOUCHED: encoder_of(asked, shop.device)}
    for _, name in best.values():
        for seed in range(1, asked.seeds + 1):
            encoder, told = made(asked, shop, held, last_pairs, TRIED[name], seed)
            alone, beside = looked(encoder, shop, world)
            rows.setdefault(f"{name}: alone", []).append(alone)
            rows.setdefault(f"ranker + {name}", []).append(beside)
            elsewhere[f"{name}, seed {seed}"] = encoder
        if name == max(best.values())[1]:
            keep(encoder, asked)
    say("\nThe last origin:\n")
    table(rows, "ranker without language", world)
    other_shop(asked, shop, elsewhere)


def other_shop(asked: argparse.Namespace, shop: Shop, encoders: dict[str, TextEncoder]) -> None:
    """The same encoders on MovieLens-100k, where its folder lies beside the data."""
    if not (folder := asked.data / "ml-100k").is_dir():
        say(f"\nno {folder}: nothing is said of another shop")
        return
    tokenizer, how = load_tokenizer(asked.encoder), {"device": shop.device, "tokens_per_batch": 8192}
    vectors = {name: TextVectors(one.eval(), tokenizer, **how) for name, one in encoders.items()}
    zero_shot.table(zero_shot.compared(vectors, RESAMPLES, folder), "pre-trained on the texts of Complete Journey")


def made(asked: argparse.Namespace, shop: Shop, held: Any, found: Together, options: dict[str, Any], seed: int) -> Any:
    """An encoder pre-trained so, and what was told of it."""
    encoder = encoder_of(asked, shop.device)
    steps = {"pretraining_steps": asked.few or STEPS, "pretraining_batch": BATCH}
    told = pretrain(encoder, held, found, PretrainOptions(seed=seed, **steps, **options), device=shop.device, say=lambda _: None)
    return encoder, told


def looked(encoder: TextEncoder, shop: Shop, world: World) -> tuple[Any, Any]:
    """New items by the kernel of the encoder's vectors alone, and beside the learnt ranker."""
    language = shop.scores(Ranker(encoder, sells=False).to(shop.device), world)
    return measured(language, world), measured(standard(world.ranker) + WEIGHT * standard(language), world)


def keep(encoder: TextEncoder, asked: argparse.Namespace) -> None:
    """The transformer's weights in half precision, where OUT says."""
    from safetensors.torch import save_file

    if (out := os.environ.get("OUT")) and not asked.few:
        state = {
            k: t.detach().half().cpu().contiguous() for k, t in encoder.backbone.state_dict().items() if t.is_floating_point()
        }
        save_file(state, Path(out) / "pretrained.safetensors")
