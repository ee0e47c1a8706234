"""AdaLoRA's part in a step: its regulariser, and the dealing out of ranks (Zhang et al. 2023, arXiv 2303.10512)."""

from __future__ import annotations

import json
from typing import Any, cast

import torch
from torch import Tensor, nn

REGULARISER = 0.1
"""Weight of the orthogonality of P and Q in the loss; the paper tries 0.1 to 0.5."""

_KEPT = ("ipt", "exp_avg_ipt", "exp_avg_unc")
"""What the allocator remembers between steps: tensors by the name of the weight."""


class Budget:
    """Of a backbone that AdaLoRA extends. Steps count from 1, as PEFT's do."""

    def __init__(self, backbone: nn.Module) -> None:
        self._tuner: Any = cast(Any, backbone).base_model
        self._backbone = backbone

    @staticmethod
    def of(backbone: nn.Module) -> Budget | None:
        """The budget of a backbone, where it has one."""
        given = getattr(backbone, "peft_config", {}).get("default")
        return Budget(backbone) if given is not None and str(given.peft_type).endswith("ADALORA") else None

    def penalty(self) -> Tensor:
        """REGULARISER × mean over the P and Q of ‖PᵀP − I‖ (Frobenius), eq. 4."""
        norms = []
        for name, p in self._backbone.named_parameters():
            if "lora_A" in name or "lora_B" in name:
                product = p @ p.T if "lora_A" in name else p.T @ p
                norms.append(torch.linalg.norm(product - torch.eye(len(product), device=p.device)))
        return REGULARISER * torch.stack(norms).mean()

    def after(self, step: int) -> None:
        """Takes the gradients of a finished step into account, and away the ranks that matter least."""
        self._tuner.update_and_allocate(step)

    def state(self) -> dict[str, Tensor]:
        """What `put` needs to go on as if nothing had happened."""
        allocator = self._tuner.rankallocator
        found = {f"{kind}/{name}": t.detach().cpu().clone() for kind in _KEPT for name, t in getattr(allocator, kind).items()}
        pattern = json.dumps(self._config.rank_pattern).encode()
        return found | {"pattern": torch.tensor(list(pattern), dtype=torch.uint8)}

    def put(self, state: dict[str, Tensor]) -> None:
        """Puts a `state` back."""
        self._config.rank_pattern = json.loads(bytes(state["pattern"].tolist()).decode())
        device = next(self._backbone.parameters()).device
        for kind in _KEPT:
            mine = {n.partition("/")[2]: t.to(device) for n, t in state.items() if n.startswith(f"{kind}/")}
            setattr(self._tuner.rankallocator, kind, mine)

    @property
    def _config(self) -> Any:
        return self._tuner.peft_config[self._tuner.trainable_adapter_name]
