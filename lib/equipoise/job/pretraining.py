"""Continued pre-training of finetune_encoder: texts and pairs out of the pinned tables, the encoder's directory out of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from equipoise.inference.batching import distinct
from equipoise.inference.hardware import half_of
from equipoise.job.context import Context
from equipoise.models.masked import check_masked
from equipoise.settings import Settings, chosen
from equipoise.tables.packing import item_keys
from equipoise.training.naming import named
from equipoise.training.pretrain import PretrainOptions
from equipoise.training.pretrained import pretrained_directory
from equipoise.training.start import Files, purchases_in
from equipoise.training.together import together

PRETRAINED = "pretrained"
CATEGORIES = "silver.item_categories"


def spared(settings: Settings) -> tuple[str, ...]:
    """What a training does without: names are read where they are learnt alone."""
    return () if settings.training.pretraining == "categories" else (CATEGORIES,)


def pretrained_encoder(ctx: Context, encoder_path: str, files: Files, into: Path) -> tuple[str, dict[str, Any]]:
    """Path of the encoder that fine-tuning starts from, and what pre-training did to it; the given path and nothing where it is
    off.

    Reads the texts of feature.example_items and the purchases before the training cuts, so nothing at or after the validation
    cut, or the categories of the items (categories). Runs on the driver, with its device: texts and pairs are brought there.

    Raises:
        ModelError: too few pairs, or masked words asked of an encoder that cannot fill them in.
    """
    training = ctx.settings.training
    if training.pretraining == "none":
        return encoder_path, {}
    options = PretrainOptions(**chosen(training, PretrainOptions))
    if options.masks:
        check_masked(encoder_path)
    rows = ctx.read("feature.example_items").select("item_id", "text").filter("text != ''").orderBy("item_id").collect()
    texts, place = distinct([r["text"] for r in rows])
    if options.pretraining == "categories":
        categories = ctx.read(CATEGORIES).select("item_id", "category").orderBy("item_id", "category").collect()
        places = {r["item_id"]: int(p) for r, p in zip(rows, place, strict=True)}
        names, found = named(places, ((r["item_id"], r["category"]) for r in categories), len(texts))
        ctx.say(f"pre-training (categories) on {len(texts):,} texts and {len(found.counts):,} pairs with {len(names):,} names")
        texts = [*texts, *names]
    else:
        keys = item_keys(pa.array([r["item_id"] for r in rows], type=pa.string()))
        order = np.argsort(keys, kind="stable")
        purchases = purchases_in(files.train, files.widths, training.seed, keys[order], place[order])
        found = together(purchases, days=training.pretraining_days, seed=training.seed)
        ctx.say(
            f"pre-training ({options.pretraining}) on {len(texts):,} texts and {len(found.counts):,} pairs of texts out of "
            f"{len(purchases.texts):,} purchases"
        )
    figures = pretrained_directory(
        encoder_path,
        texts,
        found,
        options,
        max_tokens=ctx.settings.encoder.max_item_tokens,
        device=_device(ctx),
        half=half_of(training.precision, training.device if torch.cuda.is_available() else "cpu"),
        into=into / PRETRAINED,
        say=ctx.say,
    )
    return str(into / PRETRAINED), figures


def _device(ctx: Context) -> torch.device:
    wanted = ctx.settings.training.device
    if wanted == "cuda" and not torch.cuda.is_available():
        ctx.say("pre-training on the processor: training.device = 'cuda', but torch sees no GPU on the driver")
        return torch.device("cpu")
    return torch.device(wanted)
