"""Attacks on the word embeddings of a batch, to train against and to be measured by.

Let e (s, d) be what the word-embedding layer says of a text. An attack adds r to it that raises the loss, with ‖r‖ ≤ ε·‖e‖ per
text (Frobenius, padding apart), so that ε means the same for every encoder.

fgm   r = ε·‖e‖·g/‖g‖, g the gradient of the loss at r = 0 (Miyato et al. 2017, arXiv 1605.07725)
pgd   steps of that kind, each brought back to the ball (Madry et al. 2018, arXiv 1706.06083)

Letters: b texts, s tokens, d entries of an embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from equipoise.models import BehaviourModel, Outputs
from equipoise.training.ranks import Ranks

Kind = Literal["none", "fgm", "pgd"]
REACH = 1.5
"""Steps of pgd are so much of the ball's radius, all together: enough to come from its middle to its edge and along it."""


@dataclass(frozen=True)
class Attack:
    """Which, how far in parts of the embeddings' norm, and for pgd in how many steps."""

    kind: Kind
    epsilon: float
    steps: int = 3


class Perturbation:
    """What is added to the output of a model's word-embedding layer while it is in force; None: nothing."""

    def __init__(self, model: BehaviourModel) -> None:
        self.delta: Tensor | None = None
        self.embedded: Tensor | None = None
        """(b, s, d) of the last forward pass, without what was added."""

        self._layer: nn.Module = cast(Any, model.encoder.backbone).get_input_embeddings()

    @contextmanager
    def watched(self) -> Iterator[Perturbation]:
        """In force inside."""
        handle = self._layer.register_forward_hook(self._add)
        try:
            yield self
        finally:
            handle.remove()
            self.delta = self.embedded = None

    def _add(self, _: nn.Module, __: Any, output: Tensor) -> Tensor:
        self.embedded = output.detach()
        return output if self.delta is None else output + self.delta.to(output.dtype)


def worst(loss_at: Callable[[], Tensor], perturbed: Perturbation, mask: Tensor, attack: Attack) -> Tensor:
    """r (b, s, d), float32, 0 on padding. `loss_at` is the loss of the batch under `perturbed.delta`; mask (b, s).

    Gradients of weights are not touched.
    """
    perturbed.delta = None
    with torch.no_grad():
        loss_at()
    embedded = cast(Tensor, perturbed.embedded)
    seen = mask.to(torch.float32).unsqueeze(-1)
    radius = attack.epsilon * _norm(embedded.float() * seen)
    rounds = attack.steps if attack.kind == "pgd" else 1
    stride = radius if rounds == 1 else REACH * radius / rounds
    delta = torch.zeros_like(embedded, dtype=torch.float32)
    for _ in range(rounds):
        perturbed.delta = delta.requires_grad_(True)
        (gradient,) = torch.autograd.grad(loss_at(), delta)
        gradient = gradient * seen
        with torch.no_grad():
            delta = delta + stride * gradient / _norm(gradient).clamp(min=1e-30)
            delta = delta * (radius / _norm(delta).clamp(min=1e-30)).clamp(max=1.0)
    perturbed.delta = None
    return delta.detach()


def under_attack(
    model: BehaviourModel,
    batches: Iterable[dict[str, Tensor]],
    ranks: Ranks,
    losses: Callable[[Outputs, dict[str, Tensor]], Tensor],
    attack: Attack,
) -> dict[str, float]:
    """How often the model is right with and without an attack, the same numbers on every rank.

    value_accuracy: the likeliest value class is the user's. category_accuracy: the likeliest category is among those visited, of
    the users who came. The same with attacked_ before it; loss and attacked_loss, per example in nats. `losses` (b,) of a batch.
    """
    model.eval()
    perturbed = Perturbation(model)
    totals = torch.zeros(2, len(_COUNTED), dtype=torch.float64)
    with perturbed.watched():
        for batch in batches:
            moved = {name: t.to(ranks.device) for name, t in batch.items()}
            given = [moved[name] for name in model.inputs]

            def loss_at(moved: dict[str, Tensor] = moved, given: list[Tensor] = given) -> Tensor:
                return losses(model(*given), moved).sum()

            for place, added in enumerate((None, worst(loss_at, perturbed, moved["mask"], attack))):
                perturbed.delta = added
                with torch.no_grad():
                    outputs = model(*given)
                totals[place] += _counts(outputs, moved, losses(outputs, moved))
    clean, attacked = (dict(zip(_COUNTED, row, strict=True)) for row in ranks.sum(totals).tolist())
    rows, came = max(1.0, clean["rows"]), max(1.0, clean["came"])
    return {
        f"{before}{name}": found[kind] / number
        for before, found in (("", clean), ("attacked_", attacked))
        for name, kind, number in (
            ("value_accuracy", "value", rows),
            ("category_accuracy", "category", came),
            ("loss", "loss", rows),
        )
    }


_COUNTED = ("value", "category", "loss", "came", "rows")


def _counts(outputs: Outputs, batch: dict[str, Tensor], loss: Tensor) -> Tensor:
    counts, best = batch["label_counts"], outputs.category_logits.argmax(dim=1)
    visited = counts[torch.arange(len(best), device=best.device), best] > 0
    right = (outputs.value_logits.argmax(dim=1) == batch["label_value"]).sum()
    came = (counts.sum(dim=1) > 0).sum()
    found = [right, visited.sum(), loss.sum(), came, torch.tensor(len(best))]
    return torch.stack([x.detach().double().cpu() for x in found])


def _norm(values: Tensor) -> Tensor:
    """(b, 1, 1) Frobenius norm of each (s, d)."""
    found: Tensor = torch.linalg.vector_norm(values, dim=(1, 2), keepdim=True)
    return found
