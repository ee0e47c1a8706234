"""Bottleneck adapters: behind every block of a transformer, h + U·gelu(D·h).

Houlsby et al. 2019 (arXiv 1902.00751), one per block behind its feed-forward part, as Pfeiffer et al. 2020 (arXiv 2005.00247).
Letters: d width of the transformer, r of the bottleneck.
"""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from equipoise.errors import ModelError

BOTTLENECK = "bottleneck"
"""Name of the adapter inside its block."""


class Bottleneck(nn.Module):
    """(…, d) → (…, d); starts as no change (U = 0)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, inner)
        self.up = nn.Linear(inner, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, states: Tensor) -> Tensor:
        added: Tensor = self.up(nn.functional.gelu(self.down(states)))
        return states + added


def blocks_of(backbone: nn.Module, *, missing_ok: bool = False) -> list[nn.Module]:
    """The blocks of a transformer, first to last: the entries of its list of modules that hold attention.

    Raises:
        ModelError: when there is no such list and it must be there.
    """
    for module in backbone.modules():
        if isinstance(module, nn.ModuleList) and len(module) and all(_attends(entry) for entry in module):
            return list(module)
    if missing_ok:
        return []
    raise ModelError(
        f"no blocks in {type(backbone).__name__}: expected a list of modules with attention inside; use training.method = 'lora'"
    )


def add_bottlenecks(backbone: nn.Module, inner: int) -> None:
    """Puts a bottleneck of `inner` units behind every block; the rest keeps its gradients off.

    Raises:
        ModelError: when the transformer has no blocks.
    """
    for block in blocks_of(backbone):
        block.add_module(BOTTLENECK, Bottleneck(int(cast(Any, backbone.config).hidden_size), inner))
        block.register_forward_hook(_behind)


def _behind(block: nn.Module, _: Any, output: Any) -> Any:
    adapter = cast(Bottleneck, block.bottleneck)
    if isinstance(output, tuple):
        return (adapter(output[0]), *output[1:])
    return adapter(output)


def _attends(module: nn.Module) -> bool:
    return any("Attention" in type(m).__name__ for m in module.modules())
