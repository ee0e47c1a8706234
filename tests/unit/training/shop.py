"""A made shop in which what goes together is known: kinds of things in makes and sizes, each kind bought with one other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from equipoise.training.together import Together

KINDS, MAKES, SIZES = 8, 6, 3
TEXTS = [f"make{m} kind{k} size{s}" for k in range(KINDS) for m in range(MAKES) for s in range(SIZES)]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted({w for t in TEXTS for w in t.split()})]


def kind(place: int) -> int:
    """Of the text at a place in TEXTS."""
    return place // (MAKES * SIZES)


def pairs() -> Together:
    """Kinds 0 and 1, 2 and 3, … are bought together, whatever make and size: 3 partners of each text, drawn."""
    draw = torch.Generator().manual_seed(3)
    found = []
    for place in range(len(TEXTS)):
        first = (kind(place) ^ 1) * MAKES * SIZES
        found += [sorted((place, first + int(torch.randint(MAKES * SIZES, (1,), generator=draw)))) for _ in range(3)]
    once, counts = torch.unique(torch.tensor(found), dim=0, return_counts=True)
    return Together(once, counts)


def directory(folder: Path, family: str = "bert") -> str:
    """An encoder of random weights that has a token for each word of the shop."""
    import transformers as hf
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    torch.manual_seed(5)
    sizes: dict[str, Any] = {"vocab_size": len(WORDS), "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    made = {
        "bert": lambda: hf.BertModel(hf.BertConfig(num_hidden_layers=2, **sizes)),
        "qwen": lambda: hf.Qwen2Model(hf.Qwen2Config(num_hidden_layers=2, num_key_value_heads=2, **sizes)),
    }
    made[family]().save_pretrained(folder)
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    hf.PreTrainedTokenizerFast(tokenizer_object=core, **names).save_pretrained(folder)
    return str(folder)
