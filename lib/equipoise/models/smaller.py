"""Cheaper encoders for inference: fewer layers, fewer heads, fewer weights, eight bits. Each costs quality; measure before use
(tests/benchmarks/cheaper.py). Letters: h heads of a layer, d entries of a state.
"""

from __future__ import annotations

import copy
import math
import warnings
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from equipoise.errors import ModelError
from equipoise.models.bottleneck import blocks_of
from equipoise.models.encoder import TextEncoder
from equipoise.models.methods import has_peft

_READ = ("query", "key", "value")
"""Projections of an attention layer that can lose heads, as BERT and its kin name them."""


@dataclass(frozen=True)
class Smaller:
    """How; every field is a setting of the same name."""

    drop_layers: int = 0
    prune_heads: float = 0.0
    prune_weights: float = 0.0
    int8: Literal["on", "off"] = "off"

    @property
    def any(self) -> bool:
        """Whether the encoder is another one by it."""
        return self != Smaller()


def smaller(encoder: TextEncoder, options: Smaller) -> TextEncoder:
    """A smaller copy, for inference alone; the encoder itself where nothing is asked.

    Raises:
        ModelError: when the encoder lacks what is to be taken away, or is not a plain one.
    """
    if not options.any:
        return encoder
    if has_peft(encoder.backbone):
        raise ModelError(
            "scoring.int8, drop_layers, prune_heads and prune_weights need an encoder whose additions are merged into it; "
            "expected training.method other than prefix and prompt; set them to 0 and off"
        )
    made = copy.deepcopy(encoder)
    if options.drop_layers:
        drop_layers(made.backbone, options.drop_layers)
    if options.prune_heads:
        prune_heads(made.backbone, options.prune_heads)
    if options.prune_weights:
        prune_weights(made.backbone, options.prune_weights)
    if options.int8 == "on":
        made.backbone, made.autocast = in_eight_bits(made.backbone), None
    return made


def drop_layers(backbone: nn.Module, number: int) -> None:
    """Takes the last blocks away, whose removal costs least (Sajjad et al. 2023, arXiv 2004.03844).

    Raises:
        ModelError: when no block would be left.
    """
    blocks = blocks_of(backbone)
    if number >= len(blocks):
        raise ModelError(
            f"scoring.drop_layers = {number}, but the encoder has {len(blocks)}; expected at least one to stay; set it lower"
        )
    holder = next(m for m in backbone.modules() if isinstance(m, nn.ModuleList) and list(m) == blocks)
    del holder[len(blocks) - number :]
    cast(Any, backbone.config).num_hidden_layers = len(blocks) - number


def prune_heads(backbone: nn.Module, share: float) -> None:
    """Takes that share of every layer's heads away, those with the smallest norm of what they add to the states (magnitude, as
    Michel et al. 2019, arXiv 1905.10650, compare it with); at least one stays.

    Raises:
        ModelError: when attention is not made of query, key and value with an output behind them, as in BERT and RoBERTa.
    """
    found = 0
    for parent in list(backbone.modules()):
        attention, out = getattr(parent, "self", None), getattr(getattr(parent, "output", None), "dense", None)
        if not isinstance(attention, nn.Module) or not isinstance(out, nn.Linear):
            continue
        if not all(isinstance(getattr(attention, n, None), nn.Linear) for n in _READ):
            continue
        found += 1
        size = int(cast(Any, attention).attention_head_size)
        heads = out.in_features // size
        norms = out.weight.detach().view(out.out_features, heads, size).norm(dim=(0, 2)) * _value_norms(attention, heads, size)
        stay = norms.topk(max(1, heads - math.floor(share * heads))).indices.sort().values
        columns = (stay.unsqueeze(1) * size + torch.arange(size)).flatten()
        for name in _READ:
            setattr(attention, name, _rows(cast(nn.Linear, getattr(attention, name)), columns))
        cast(Any, parent).output.dense = _columns(out, columns)
        cast(Any, attention).num_attention_heads = len(stay)
        cast(Any, attention).all_head_size = len(columns)
    if not found:
        raise ModelError(
            f"scoring.prune_heads = {share}: no attention with {', '.join(_READ)} and an output in {type(backbone).__name__}; "
            "expected BERT or one of its kin; set it to 0"
        )


def prune_weights(backbone: nn.Module, share: float) -> None:
    """Sets that share of all weights of linear layers to 0, the smallest of each layer (Han et al. 2015, arXiv 1506.02626).
    Memory and time stay: torch multiplies by zeros too."""
    with torch.no_grad():
        for layer in _linear(backbone):
            flat = layer.weight.abs().flatten()
            gone = math.floor(share * len(flat))
            if gone:
                layer.weight[layer.weight.abs() <= flat.kthvalue(gone).values] = 0.0


def in_eight_bits(backbone: nn.Module) -> nn.Module:
    """A copy with linear layers in int8, weights scaled per output, activations as they come (dynamic quantisation); CPU only.

    Raises:
        ModelError: when the weights are on another device, or this torch has no such kernels.
    """
    place = next(backbone.parameters()).device
    if place.type != "cpu":
        raise ModelError(
            f"scoring.int8 = 'on' with weights on {place}; expected the CPU; set it to 'off', or scoring.device = 'cpu'"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch names a package that the pinned torch does not need
            from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic

            quantised: Any = quantize_dynamic
            return cast(nn.Module, quantised(backbone, {nn.Linear: per_channel_dynamic_qconfig}))
    except (ImportError, RuntimeError) as error:
        raise ModelError(f"scoring.int8 = 'on' does not work with this torch: {error}; set it to 'off'") from error


def in_int8(encoder: TextEncoder) -> bool:
    """Whether `in_eight_bits` made its layers."""
    return any("quantized" in type(m).__module__ for m in encoder.backbone.modules())


def _value_norms(attention: nn.Module, heads: int, size: int) -> Tensor:
    values = cast(nn.Linear, attention.value)
    found: Tensor = torch.linalg.vector_norm(values.weight.detach().view(heads, size, values.in_features), dim=(1, 2))
    return found


def _rows(layer: nn.Linear, kept: Tensor) -> nn.Linear:
    made = nn.Linear(layer.in_features, len(kept), bias=layer.bias is not None)
    with torch.no_grad():
        made.weight.copy_(layer.weight[kept])
        if layer.bias is not None:
            made.bias.copy_(layer.bias[kept])
    return made.to(layer.weight.device).requires_grad_(layer.weight.requires_grad)


def _columns(layer: nn.Linear, kept: Tensor) -> nn.Linear:
    made = nn.Linear(len(kept), layer.out_features, bias=layer.bias is not None)
    with torch.no_grad():
        made.weight.copy_(layer.weight[:, kept])
        if layer.bias is not None:
            made.bias.copy_(layer.bias)
    return made.to(layer.weight.device).requires_grad_(layer.weight.requires_grad)


def _linear(backbone: nn.Module) -> list[nn.Linear]:
    return [m for block in blocks_of(backbone) for m in block.modules() if isinstance(m, nn.Linear)]
