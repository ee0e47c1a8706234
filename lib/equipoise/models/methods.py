"""Ways to fine-tune a Hugging Face transformer: which of its weights change, and what is added to it.

full          every weight
last_layers   the last blocks, and the norm behind them
frozen        none; the heads alone learn
lora          low-rank additions to the attention projections (Hu et al. 2021, arXiv 2106.09685), or to all layers of the blocks
adalora       the same as P·Λ·Q with a budget of ranks dealt out by importance (Zhang et al. 2023, arXiv 2303.10512)
bottleneck    a small network behind every block (Houlsby et al. 2019, arXiv 1902.00751; placed as Pfeiffer et al. 2020)
prefix        trained keys and values before those of the text, in every block (Li and Liang 2021, arXiv 2101.00190)
prompt        trained embeddings before those of the text (Lester et al. 2021, arXiv 2104.08691)

LoRA, AdaLoRA, prefix and prompt are PEFT's. The first five leave a plain transformer behind; the last three stay beside it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from equipoise.errors import ModelError
from equipoise.models.bottleneck import BOTTLENECK, add_bottlenecks, blocks_of
from equipoise.models.encoder import UNREAD

Way = Literal["full", "last_layers", "frozen", "lora", "adalora", "bottleneck", "prefix", "prompt"]

BESIDE: tuple[Way, ...] = ("bottleneck", "prefix", "prompt")
"""Ways whose additions cannot be merged into the transformer's own weights."""

LEARNING_RATES: dict[Way, float] = {
    "full": 5e-5,
    "last_layers": 1e-4,
    "frozen": 5e-4,
    "lora": 5e-4,
    "adalora": 2e-3,
    "bottleneck": 1e-3,
    "prefix": 1e-2,
    "prompt": 1e-2,
}
"""Peak learning rate of the encoder's part where none is set."""

_PROJECTIONS = ("Linear", "Conv1D")
"""Types of a projection: torch's, and the transposed one that GPT-2 uses."""

_INITIAL_RANKS = 1.5
"""AdaLoRA begins with so many times the ranks that it ends with."""


@dataclass(frozen=True)
class Method:
    """A way and its sizes; every field is a setting of the same name. `total_steps`: those of the training, for AdaLoRA's
    budget."""

    method: Way = "lora"
    last_layers: int = 2
    lora_rank: int = 8
    lora_alpha: float = 16.0
    lora_dropout: float = 0.0
    lora_layers: Literal["attention", "all"] = "attention"
    bottleneck_width: int = 32
    virtual_tokens: int = 8
    total_steps: int = 1000

    @property
    def prepended(self) -> int:
        """Places before the text that its tokens cannot have."""
        return self.virtual_tokens if self.method in ("prefix", "prompt") else 0


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


def block_layers(backbone: nn.Module) -> list[str]:
    """Full names of all linear layers inside the blocks: attention, its output, and the feed-forward part.

    Raises:
        ModelError: when there are no blocks.
    """
    inside = {id(module) for block in blocks_of(backbone) for module in block.modules()}
    return [n for n, m in backbone.named_modules() if id(m) in inside and type(m).__name__ in _PROJECTIONS]


def prepared(backbone: nn.Module, method: Method) -> nn.Module:
    """The transformer with what `method` adds, and gradients for what it trains; what is added starts as no change but for prefix
    and prompt, whose random places are read from the first step on.

    Raises:
        ModelError: when the family lacks what the method needs.
    """
    way = method.method
    backbone.requires_grad_(way == "full")
    if way == "full":
        for name, module in backbone.named_children():
            module.requires_grad_(name not in UNREAD)
    elif way == "last_layers":
        for module in _last(backbone, method.last_layers):
            module.requires_grad_(True)
    elif way == "bottleneck":
        add_bottlenecks(backbone, method.bottleneck_width)
    elif way != "frozen":
        return _with_peft(backbone, method)
    return backbone


def _last(backbone: nn.Module, number: int) -> Iterator[nn.Module]:
    blocks = blocks_of(backbone)
    if number > len(blocks):
        raise ModelError(f"training.last_layers = {number}, but the encoder has {len(blocks)} blocks; expected at most so many")
    yield from blocks[-number:]
    yield from (m for n, m in backbone.named_children() if "Norm" in type(m).__name__ and "embed" not in n.lower())


def _with_peft(backbone: nn.Module, method: Method) -> nn.Module:
    from peft import get_peft_model

    try:
        adapted = cast(nn.Module, get_peft_model(cast(Any, backbone), _config(backbone, method)))
        if method.method == "prefix":
            _check_read(adapted)
    except (ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise ModelError(
            f"training.method = {method.method!r} does not fit {type(backbone).__name__}: {error}; expected a model that "
            "PEFT knows how to extend so; use 'lora' or 'bottleneck'"
        ) from error
    return adapted


def _config(backbone: nn.Module, method: Method) -> Any:
    from peft import AdaLoraConfig, LoraConfig, PrefixTuningConfig, PromptTuningConfig, TaskType

    sizes = cast(Any, backbone.config)
    if method.method in ("prefix", "prompt"):
        kind = PrefixTuningConfig if method.method == "prefix" else PromptTuningConfig
        return kind(
            num_virtual_tokens=method.virtual_tokens,
            task_type=TaskType.FEATURE_EXTRACTION,
            token_dim=sizes.hidden_size,
            num_layers=sizes.num_hidden_layers,
            num_attention_heads=sizes.num_attention_heads,
        )
    common: dict[str, Any] = {
        "lora_alpha": method.lora_alpha,
        "lora_dropout": method.lora_dropout,
        "target_modules": (attention_projections if method.lora_layers == "attention" else block_layers)(backbone),
    }
    if method.method == "lora":
        return LoraConfig(r=method.lora_rank, bias="none", **common)
    steps = max(3, method.total_steps)
    return AdaLoraConfig(
        init_r=round(_INITIAL_RANKS * method.lora_rank),
        target_r=method.lora_rank,
        total_step=steps,
        tinit=steps // 10,
        tfinal=steps // 3,
        deltaT=max(1, steps // 50),
        **common,
    )


def _check_read(adapted: nn.Module) -> None:
    """Some families take keys and values given before the text and do not look at them."""
    prompt = next(p for p in adapted.parameters() if p.requires_grad)
    tokens = torch.zeros(1, 2, dtype=torch.long)
    with torch.enable_grad():
        states = cast(Any, adapted)(input_ids=tokens, attention_mask=torch.ones_like(tokens)).last_hidden_state
        states[..., 0].sum().backward()  # of one entry: the sum of all is constant behind a norm
    read, prompt.grad = prompt.grad is not None and bool(prompt.grad.abs().sum() > 0), None
    if not read:
        raise ValueError("its attention does not read them")


def has_peft(backbone: nn.Module) -> bool:
    """Whether PEFT wraps this module."""
    return hasattr(backbone, "peft_config")


def stays_beside(backbone: nn.Module) -> bool:
    """Whether something was added that `plain` cannot hold."""
    prefixed = has_peft(backbone) and cast(Any, backbone).peft_config["default"].is_prompt_learning
    return bool(prefixed) or any(f".{BOTTLENECK}." in name for name, _ in backbone.named_parameters())


def plain(backbone: nn.Module) -> nn.Module:
    """A plain transformer: low-rank additions merged into its weights, other additions left out; the argument stays as it is."""
    if not has_peft(backbone):
        made = copy.deepcopy(backbone)
        for block in blocks_of(made, missing_ok=True):
            if BOTTLENECK in dict(block.named_children()):
                block._forward_hooks.clear()
                delattr(block, BOTTLENECK)
        return made
    wrapped = cast(Any, copy.deepcopy(backbone))
    return cast(
        nn.Module, wrapped.get_base_model() if wrapped.peft_config["default"].is_prompt_learning else wrapped.merge_and_unload()
    )


def added_state(backbone: nn.Module) -> dict[str, Tensor]:
    """What the method added, by name; empty for full, last_layers and frozen."""
    if has_peft(backbone):
        from peft import get_peft_model_state_dict

        return cast(dict[str, Tensor], get_peft_model_state_dict(backbone))
    return {name: t for name, t in backbone.state_dict().items() if f".{BOTTLENECK}." in name}


def put_added(backbone: nn.Module, state: dict[str, Tensor]) -> None:
    """Puts `added_state` back into a transformer that `prepared` made.

    Raises:
        ModelError: when it is not exactly what the method adds.
    """
    wanted = added_state(backbone)
    wrong = set(wanted) ^ set(state) or {n for n in wanted if wanted[n].shape != state[n].shape}
    if wrong:
        raise ModelError(
            f"additions do not fit the encoder: {sorted(wrong)[:3]}; expected those of its own method; publish again"
        )
    if has_peft(backbone):
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(backbone, state)
        return
    backbone.load_state_dict(state, strict=False)
