"""LoRA on the attention projections of any Hugging Face transformer (Hu et al. 2021, arXiv 2106.09685)."""

from __future__ import annotations

import copy
from typing import Any, cast

from torch import nn

from equipoise.errors import ModelError

_PROJECTIONS = ("Linear", "Conv1D")
"""Types of a projection: torch's, and the transposed one that GPT-2 uses."""


def attention_projections(backbone: nn.Module) -> list[str]:
    """Full names of the linear layers directly inside modules whose type is named …Attention: query, key, value (and where the
    family keeps it there, output), such as `encoder.layer.0.attention.self.query` or `layers.0.self_attn.q_proj`.

    Raises:
        ModelError: when there are none.
    """
    names = [
        f"{parent}.{child}" if parent else child
        for parent, module in backbone.named_modules()
        if "Attention" in type(module).__name__
        for child, layer in module.named_children()
        if type(layer).__name__ in _PROJECTIONS
    ]
    if not names:
        raise ModelError(
            f"no attention projections in {type(backbone).__name__}: expected {' or '.join(_PROJECTIONS)} inside modules named "
            "…Attention; use another encoder"
        )
    return names


def add_lora(backbone: nn.Module, *, rank: int, alpha: float, dropout: float) -> nn.Module:
    """The transformer with its own weights frozen and trainable adapters, which start as no change (B = 0)."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=attention_projections(backbone), bias="none"
    )
    return cast(nn.Module, get_peft_model(cast(Any, backbone), config))


def has_lora(backbone: nn.Module) -> bool:
    """Whether `add_lora` made this module."""
    return hasattr(backbone, "peft_config")


def merged(backbone: nn.Module) -> nn.Module:
    """A plain transformer with the adapters added into its weights; the argument stays as it is."""
    if not has_lora(backbone):
        return backbone
    return cast(nn.Module, cast(Any, copy.deepcopy(backbone)).merge_and_unload())
