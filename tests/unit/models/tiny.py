"""Tiny random Hugging Face directories of several families, and a small model on one."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from equipoise.models import BehaviourModel, Model, TowerModel, TowerOptions, build, build_tower
from equipoise.models.items import ItemTable
from equipoise.models.methods import Method
from equipoise.tables.packing import CELL_VALUES, HALF_LIVES, TREND_VALUES
from equipoise.tables.vocabulary import EVENT_TYPES

torch.set_num_threads(1)  # models this small only wait for one another's threads

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *["often", "soft", "drinks", "beef", "cheese", "milk", "frozen", "pizza", "lately", "items", "active", "weekly"],
]
CATEGORIES, FEATURES = 5, 4
POPULATION = [0.4, 0.3, 0.15, 0.1, 0.05]
SMALL: dict[str, Any] = {"vocab_size": len(WORDS), "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}


def directory(folder: Path, family: str = "bert") -> str:
    """A loadable directory of the family with seeded random weights."""
    import transformers as hf

    torch.manual_seed(7)
    made: dict[str, Any] = {
        "bert": lambda: hf.BertModel(hf.BertConfig(num_hidden_layers=2, **SMALL)),
        "roberta": lambda: hf.RobertaModel(hf.RobertaConfig(num_hidden_layers=2, max_position_embeddings=40, **SMALL)),
        "distilbert": lambda: hf.DistilBertModel(
            hf.DistilBertConfig(vocab_size=len(WORDS), dim=16, n_heads=2, n_layers=2, hidden_dim=32)
        ),
        "qwen": lambda: hf.Qwen2Model(hf.Qwen2Config(num_hidden_layers=2, num_key_value_heads=2, **SMALL)),
        "llama": lambda: hf.LlamaModel(hf.LlamaConfig(num_hidden_layers=2, num_key_value_heads=1, **SMALL)),
        "gpt2": lambda: hf.GPT2Model(hf.GPT2Config(vocab_size=len(WORDS), n_embd=16, n_head=2, n_layer=2)),
    }
    made[family]().save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return str(folder)


@lru_cache
def tokenizer() -> Any:
    """One word, one token."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    return PreTrainedTokenizerFast(tokenizer_object=core, **names)


def model(encoder_path: str, **more: Any) -> BehaviourModel:
    """An untrained model over CATEGORIES and FEATURES."""
    settings: dict[str, Any] = {
        "dirichlet": 2.0,
        "sharpening": 1.0,
        "method": Method(lora_rank=2, lora_alpha=4.0),
        "seed": 1,
    }
    return build(encoder_path, features=FEATURES, population=POPULATION, **{**settings, **more})


def batch(rows: int, seed: int = 1, length: int = 8) -> dict[str, torch.Tensor]:
    """Random users with texts of 2..length tokens; every third has an empty label window."""
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, length + 1, (rows, 1), generator=draw)
    mask = (torch.arange(length) < lengths).long()
    prior = torch.rand(rows, CATEGORIES, generator=draw) * 10
    counts = torch.randint(0, 4, (rows, CATEGORIES), generator=draw).float()
    counts[::3] = 0
    return {
        "tokens": torch.randint(5, len(WORDS), (rows, length), generator=draw) * mask,
        "mask": mask,
        **events(rows, draw),
        "prior": prior,
        "cells": cells(rows, draw),
        "trends": torch.rand(rows, CATEGORIES, len(TREND_VALUES), generator=draw) * 0.3,
        "features": torch.randn(rows, FEATURES, generator=draw) * 100,
        "label_counts": counts,
        "label_value": torch.randint(0, 3, (rows,), generator=draw),
        "label_spend": torch.rand(rows, generator=draw, dtype=torch.float64) * 50,
        "user_id": torch.randint(0, 256, (rows, 16), generator=draw).to(torch.uint8),
    }


ITEMS, EVENTS = 30, 6
"""Items are 1 … ITEMS; the last five have no vector."""


def events(rows: int, draw: torch.Generator) -> dict[str, torch.Tensor]:
    """0 to EVENTS events of each user, oldest first: views, purchases and reviews, 0 behind the last one."""
    number = torch.randint(0, EVENTS + 1, (rows, 1), generator=draw)
    there = torch.arange(EVENTS) < number
    kinds = torch.tensor([1 + EVENT_TYPES.index(t) for t in ("view", "purchase", "review")])
    ages = torch.randint(1, 400, (rows, EVENTS), generator=draw).sort(dim=1, descending=True).values
    return {
        "items": torch.randint(1, ITEMS + 1, (rows, EVENTS), generator=draw) * there,
        "types": kinds[torch.randint(0, 3, (rows, EVENTS), generator=draw)] * there,
        "ages": (ages * there).float(),
    }


def item_table(width: int = 16) -> ItemTable:
    """Random unit vectors of the items, of which 1 and 2 share one."""
    draw = torch.Generator().manual_seed(11)
    vectors = torch.nn.functional.normalize(torch.randn(ITEMS - 6, width, generator=draw), dim=-1)
    keys = torch.arange(1, ITEMS - 4)
    return ItemTable(keys, (keys - 2).clamp(min=0), vectors)


def tower(encoder_path: str, kind: Any = "attention", dropout: float = 0.0, kinds: bool = False, **more: Any) -> TowerModel:
    """An untrained tower over CATEGORIES, FEATURES and the items."""
    settings: dict[str, Any] = {"dirichlet": 2.0, "sharpening": 1.0, "seed": 1, **more}
    options = TowerOptions(kind, width=8, layers=2, attention_heads=2, dropout=dropout, events=EVENTS, kinds=kinds)
    made = build_tower(encoder_path, options, features=FEATURES, population=POPULATION, **settings)
    made.look_up(item_table())
    return made


def cells(rows: int, draw: torch.Generator) -> torch.Tensor:
    """Cells of users who visited two of three categories, 1 to 20 days; decayed visits rise with the half-life."""
    days = torch.randint(1, 21, (rows, CATEGORIES), generator=draw).float()
    recency = torch.randint(1, 120, (rows, CATEGORIES), generator=draw).float()
    first = recency + torch.where(days > 1, days * 7, torch.zeros(()))
    decayed = torch.stack([days * 0.5 ** ((recency + first) / 2 / h) for h in HALF_LIVES], dim=-1)
    since = torch.randint(0, 9, (rows, CATEGORIES), generator=draw).float()
    rest = torch.stack([1.5 * decayed[..., -2], days, recency, first, since], dim=-1)
    visited = torch.rand(rows, CATEGORIES, 1, generator=draw) < 2 / 3
    out = torch.cat([decayed, rest], dim=-1) * visited
    assert out.shape[-1] == len(CELL_VALUES)
    return out


def predict(net: Model, rows: dict[str, torch.Tensor]) -> Any:
    """Outputs without gradients."""
    with torch.no_grad():
        return net(*(rows[name] for name in net.inputs))


def forward(net: Model, rows: dict[str, torch.Tensor]) -> Any:
    """Outputs with gradients, in training mode."""
    return net.train()(*(rows[name] for name in net.inputs))
