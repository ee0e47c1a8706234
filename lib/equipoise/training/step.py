"""One optimiser step: passes over parts of the batch, their gradients added up, checked, clipped and applied."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn, optim
from torch.amp.grad_scaler import GradScaler
from torch.distributed.tensor import DTensor

from equipoise.errors import ModelError, OutOfMemory
from equipoise.inference.hardware import is_out_of_memory
from equipoise.models import BehaviourModel, Model, TowerModel
from equipoise.models.losses import LossWeights, Rows, combined, has_history, mean_losses
from equipoise.models.tower import sequence_kinds
from equipoise.training.adversarial import Perturbation, worst
from equipoise.training.budget import Budget
from equipoise.training.optimiser import set_rate
from equipoise.training.options import Options
from equipoise.training.ranks import Ranks
from equipoise.training.validation import forward_sums
from equipoise.training.weighting import Uncertainty

Batch = dict[str, Tensor]
Augment = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]

SMALLEST_SCALE = 1.0
"""Of float16's gradients: where they overflow even so, it is the training that diverges and not the format."""


class Stepper:
    """Steps of one rank's model; all ranks step together and end with the same weights.

    A step's loss is that of all its rows on all ranks, whatever they are cut into: rows of each kind are counted before the first
    pass. Losses of the events of a sequence are means over a pass, averaged. With `learnt` the weights of the losses are learnt
    with the model; they are no part of it.
    """

    def __init__(
        self,
        model: Model,
        net: nn.Module,
        optimiser: optim.Optimizer,
        options: Options,
        ranks: Ranks,
        total_steps: int,
        augment: Augment | None = None,
        *,
        spread: bool = False,
        learnt: Uncertainty | None = None,
    ) -> None:
        """`net` is the model or wraps it; `augment(tokens, mask, seed)` changes the texts of a batch; `spread`: of the model, the
        transformer's weights are dealt out over the ranks."""
        self._model, self._net, self._optimiser = model, net, optimiser
        self._options, self._ranks, self._total = options, ranks, total_steps
        self._weights = LossWeights(*(getattr(options, name) for name in LossWeights._fields))
        self._augment, self._spread = augment, spread
        self._learnt = learnt
        self._trainable = [p for _, p in model.trainable()] + ([learnt.log_variance] if learnt else [])
        self._scaler = GradScaler(ranks.device.type, enabled=model.encoder.autocast is torch.float16)
        self.budget = Budget.of(model.encoder.backbone)
        self._perturbed = Perturbation(model) if options.adversarial != "none" and isinstance(model, BehaviourModel) else None

    def __call__(self, batch: Batch, step: int, place: str) -> float:
        """Makes 0-based `step` on this rank's batch; returns its loss on them. `place` names the batch in errors.

        Raises:
            ModelError: when the loss or a gradient is no longer finite.
            OutOfMemory: with the size of the passes that may fit.
        """
        options = self._options
        seed = step_seed(options.seed, self._ranks.rank, step)
        torch.manual_seed(seed)  # dropout then needs no state to resume
        set_rate(self._optimiser, step, self._total, options.warmup_share, options.schedule)
        self._model.train()
        if self._augment and "tokens" in batch:
            tokens, mask = self._augment(batch["tokens"], batch["mask"], seed)
            batch = {**batch, "tokens": tokens, "mask": mask}
        self._optimiser.zero_grad()
        try:
            loss = self._gradients(batch)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise self._too_large(len(batch["label_value"]), step) from error
        self._scaler.unscale_(self._optimiser)
        norm = clip(self._trainable, options.clip_norm)
        if not math.isfinite(norm) and self._scaler.get_scale() <= SMALLEST_SCALE:
            raise self._not_finite(batch, loss, step, place)  # gradients are averaged, so every rank sees it at the same step
        self._scaler.step(self._optimiser)  # leaves a step out whose gradients overflow float16
        self._scaler.update()
        if self.budget:
            if not math.isfinite(norm):
                self._optimiser.zero_grad(set_to_none=False)  # they say nothing; averaged in, they would stay for good
            self.budget.after(step + 1)
        return loss

    def scale(self) -> dict[str, Tensor]:
        """State of float16's loss scale, where there is one."""
        if not self._scaler.is_enabled():
            return {}
        return {f"scale/{name}": torch.tensor(float(v), dtype=torch.float64) for name, v in self._scaler.state_dict().items()}

    def put_scale(self, state: dict[str, Tensor]) -> None:
        """Puts a `scale` back, without its prefix."""
        if self._scaler.is_enabled():
            whole = {"growth_interval", "_growth_tracker"}
            self._scaler.load_state_dict({n: int(t) if n in whole else float(t) for n, t in state.items()})

    def _gradients(self, batch: Batch) -> float:
        size = len(batch["label_value"])
        step = self._options.micro_batch or size
        whole = self._rows(batch)
        loss = 0.0
        for start in range(0, size, step):
            part = {name: t[start : start + step] for name, t in batch.items()}
            rows = whole._replace(part=len(part["label_value"]) / size)
            loss += self._pass(part, rows, last=start + step >= size)
        if self._spread:
            self._ranks.average(self._trainable)
        elif self._learnt:
            self._ranks.average([self._learnt.log_variance])
        return loss

    def _rows(self, batch: Batch) -> Rows:
        """Rows of the step, per rank on average: gradients are averaged over the ranks, not added."""
        known = [(batch["label_counts"].sum(dim=1) > 0).sum(), torch.tensor(len(batch["label_value"]))]
        known += [has_history(batch["prior"]).sum(), torch.tensor(self._with_a_kind(batch))]
        found = self._ranks.sum(torch.stack(known).double()) / self._ranks.world_size
        category, every, balance, sequence = found.tolist()
        return Rows(category, every, balance=balance, sequence=sequence)

    def _with_a_kind(self, batch: Batch) -> int:
        if not (isinstance(self._model, TowerModel) and self._model.tower.kind is not None):
            return 0
        return int((sequence_kinds(batch["types"], self._model.tower.behaviour_of.cpu())[1] >= 0).sum())

    def _pass(self, part: Batch, rows: Rows, *, last: bool) -> float:
        if self._perturbed is None:
            return self._backward(part, rows, last=last)
        with self._perturbed.watched():
            loss = self._backward(part, rows, last=False)
            self._perturbed.delta = worst(
                lambda: self._loss(self._model, part, rows),
                self._perturbed,
                part["mask"].to(self._ranks.device),
                self._options.attack,
            )
            self._backward(part, rows, last=last, factor=self._options.adversarial_weight)
        return loss

    def _backward(self, part: Batch, rows: Rows, *, last: bool, factor: float = 1.0) -> float:
        with nullcontext() if last else self._ranks.quiet(self._net):
            loss = self._loss(self._net, part, rows)
            whole = factor * loss
            if last and self.budget:
                whole = whole + self.budget.penalty()
            self._scaler.scale(whole).backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    def _loss(self, net: nn.Module, part: Batch, rows: Rows) -> Tensor:
        sums = forward_sums(net, self._model, part, self._ranks, self._options.label_smoothing)
        if self._learnt is None:
            return combined(sums, self._weights, rows, self._options.value_loss)
        loss: Tensor = self._learnt(mean_losses(sums, rows, self._options.value_loss), self._weights, rows.part)
        return loss

    def _not_finite(self, batch: Batch, loss: float, step: int, place: str) -> ModelError:
        bad = {name: _rows_not_finite(t) for name, t in batch.items() if t.is_floating_point()}
        found = [f"{name} in rows {rows[:5]} of {len(batch[name])}" for name, rows in bad.items() if rows]
        cause = f"not finite are {'; '.join(found)}: build the examples again" if found else "the batch itself is finite"
        return ModelError(
            f"gradients are not finite at step {step + 1}, {place} (loss {loss:.4g}; {cause}); nothing is published; lower "
            f"training.learning_rate ({self._options.learning_rate}) or training.head_learning_rate "
            f"({self._options.head_learning_rate})"
        )

    def _too_large(self, size: int, step: int) -> OutOfMemory:
        now = min(self._options.micro_batch or size, size)
        return OutOfMemory(
            f"out of memory at step {step + 1} with {now} examples per pass; expected them to fit; lower training.micro_batch "
            "(gradients of a step's passes are added up, so the training stays the same), or encoder.max_tokens",
            tried=now,
        )


def step_seed(seed: int, rank: int, step: int) -> int:
    """Seed of one rank's random numbers in one step."""
    return int(np.random.SeedSequence([seed, rank, step]).generate_state(1, np.uint64)[0]) >> 1


def _rows_not_finite(values: Tensor) -> list[int]:
    return cast(
        list[int],
        torch.nonzero(~values.flatten(1).isfinite().all(dim=1) if values.ndim > 1 else ~values.isfinite()).flatten().tolist(),
    )


def clip(parameters: Sequence[nn.Parameter], most: float) -> float:
    """Scales the gradients so that their norm is at most `most`; returns what it was. Those that are spread over ranks count
    whole."""
    spread = [p for p in parameters if isinstance(p, DTensor)]
    parts = [part for part in (spread, [p for p in parameters if not isinstance(p, DTensor)]) if part]
    norms = [nn.utils.get_total_norm([p.grad for p in part if p.grad is not None]) for part in parts]
    found = torch.stack([n.full_tensor() if isinstance(n, DTensor) else n for n in norms]).norm()
    for part in parts:
        nn.utils.clip_grads_with_norm_(part, most, found)
    return float(found)
