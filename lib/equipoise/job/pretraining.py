"""Continued pre-training of finetune_encoder: texts and pairs out of the pinned tables, the encoder's directory out of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pyspark.sql import functions as F

from equipoise.inference.batching import distinct
from equipoise.inference.hardware import half_of
from equipoise.job.context import Context
from equipoise.models.masked import check_masked
from equipoise.settings import chosen
from equipoise.tables.packing import item_keys
from equipoise.tables.vocabulary import UNKNOWN
from equipoise.training.naming import naming
from equipoise.training.pretrain import PretrainOptions
from equipoise.training.pretrained import pretrained_directory
from equipoise.training.start import Files, purchases_in
from equipoise.training.together import Together, together

PRETRAINED = "pretrained"


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
    keys = item_keys(pa.array([r["item_id"] for r in rows], type=pa.string()))
    order = np.argsort(keys, kind="stable")
    if options.pretraining == "categories":
        number = len(texts)
        names, found = _named(ctx, {r["item_id"]: p for r, p in zip(rows, place, strict=True)}, number)
        texts = [*texts, *names]
        ctx.say(f"pre-training (categories) on {number:,} texts and {len(found.counts):,} pairs with {len(names):,} names")
    else:
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


def _named(ctx: Context, places: Mapping[str, int], texts: int) -> tuple[list[str], Together]:
    """Names of the categories of the items that have a text, and the pairs of text and name; what is unknown has no name."""
    categories = ctx.read("silver.item_categories").filter(F.col("category") != UNKNOWN).select("item_id", "category")
    rows = [r for r in categories.orderBy("item_id", "category").collect() if r["item_id"] in places]
    names, name = distinct([r["category"].lower() for r in rows])
    return names, naming(np.array([places[r["item_id"]] for r in rows], dtype=np.int64), name, texts)


def _device(ctx: Context) -> torch.device:
    wanted = ctx.settings.training.device
    if wanted == "cuda" and not torch.cuda.is_available():
        ctx.say("pre-training on the processor: training.device = 'cuda', but torch sees no GPU on the driver")
        return torch.device("cpu")
    return torch.device(wanted)
