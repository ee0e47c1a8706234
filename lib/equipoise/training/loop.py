"""The training loop: an iterable of batches in, the best weights and their figures out. Knows no reader and no Spark."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, cast

from torch import Tensor, nn

from equipoise.errors import ModelError
from equipoise.models import BehaviourModel, Model, Outputs
from equipoise.models.bottleneck import blocks_of
from equipoise.models.losses import LossWeights, ValueLoss, row_losses
from equipoise.training.adversarial import Attack, under_attack
from equipoise.training.average import Average
from equipoise.training.checkpoint import Checkpoints, Progress, Weights, put_weights, weights_of
from equipoise.training.optimiser import make_optimiser
from equipoise.training.options import Options
from equipoise.training.ranks import Ranks
from equipoise.training.step import Augment, Stepper
from equipoise.training.tracking import Tracker
from equipoise.training.validation import validate
from equipoise.training.weighting import Uncertainty

DONE = "all steps done"

HEAD_FIGURES = {
    "category": ("category_loss", "category_kl_bits", "visit_loss", "balance_kl"),
    "value": ("value_loss", "value_squared"),
}
"""What validation says of each head."""

Batches = AbstractContextManager[Iterable[dict[str, Tensor]]]


@dataclass(frozen=True)
class Trained:
    """The best weights, the figures before the first step and at the best one, and why training ended.

    reverted: heads that training had made worse on the validation examples than they began; in `weights` they are as they began.
    """

    weights: Weights
    progress: Progress
    ended: str
    examples_per_second: float
    reverted: tuple[str, ...]
    loss_weights: LossWeights
    value_loss: ValueLoss = "cross_entropy"
    attacked: dict[str, float] = field(default_factory=dict)
    learnt: dict[str, float] = field(default_factory=dict)
    """Weights of the losses, where they were learnt, as they stood at the end."""

    @property
    def best(self) -> dict[str, float]:
        """The figures of `weights`: of the best pass, with those of the start for heads that are as they began."""
        first, best = self.progress.history[0], best_of(self.progress)
        kept = {k: first[k] for head in self.reverted for k in HEAD_FIGURES[head] if k in first}
        gone = sum(lost(head, first, best, self.loss_weights, self.value_loss) for head in self.reverted)
        return best | kept | {"loss": best["loss"] - gone}

    @property
    def metrics(self) -> dict[str, float]:
        """Flat figures: `start_…` of the untrained model, `best_…` of the weights."""
        best = self.best
        figures = {f"start_{k}": v for k, v in self.progress.history[0].items() if k != "step"}
        figures |= {f"best_{k}": v for k, v in best.items() if k != "step"}
        return figures | {
            "best_step": float(self.progress.best_step),
            "steps": float(self.progress.step),
            "seconds": round(self.progress.seconds, 1),
            "examples_per_second": round(self.examples_per_second, 1),
            **self.attacked,
            **self.learnt,
        }


class Training:
    """One rank's part of a training. All ranks make the same number of steps and the same decisions."""

    def __init__(
        self,
        model: Model,
        *,
        train_batches: Callable[[int, int], Batches],
        validation_batches: Callable[[], Batches],
        steps_per_epoch: int,
        options: Options,
        ranks: Ranks,
        tracker: Tracker | None = None,
        checkpoints: Checkpoints | None = None,
        augment: Augment | None = None,
        spread: bool = False,
    ) -> None:
        """`train_batches(epoch, skip)` opens one epoch from its batch `skip` on; `validation_batches()` this rank's shard;
        `augment` changes the texts of a training batch; `spread` deals the encoder's weights out over the ranks, which then
        pass over the same validation examples, all of them, since none can compute without the others."""
        self._model = model.to(ranks.device)
        self._open_epoch = train_batches
        self._open_validation = validation_batches
        self._per_epoch = steps_per_epoch
        self._total = min(steps_per_epoch * options.epochs, options.max_steps)
        self._every = math.ceil(min(steps_per_epoch, options.max_steps) / options.evaluations_per_epoch)
        self._weights = LossWeights(*(getattr(options, name) for name in LossWeights._fields))
        self._options = options
        self._ranks = ranks
        self._judges = Ranks(0, 1, ranks.device) if spread else ranks
        self._tracker = tracker
        self._checkpoints = checkpoints
        if options.activation_checkpointing:
            cast(Any, model.encoder.backbone).activation_checkpointing_enable()
        self._first = weights_of(model)
        if spread:
            ranks.spread(model.encoder.backbone, blocks_of(model.encoder.backbone, missing_ok=True))
        self._net: nn.Module = model if spread else ranks.wrap(model)
        if options.compile:
            self._net.compile(dynamic=True)
        uncertain = options.weighting == "uncertainty"
        self._learnt = Uncertainty.of(model, self._weights, options.value_loss).to(ranks.device) if uncertain else None
        self._optimiser = make_optimiser(
            self._model,
            learning_rate=options.learning_rate,
            head_learning_rate=options.head_learning_rate,
            weight_decay=options.weight_decay,
            algorithm=options.optimiser,
            momentum=options.momentum,
            beside=list(self._learnt.parameters()) if self._learnt else (),
        )
        self._step = Stepper(
            model, self._net, self._optimiser, options, ranks, self._total, augment, spread=spread, learnt=self._learnt
        )
        self._average = Average(model, options.ema_decay) if options.ema_decay else None
        self._progress = Progress()
        self._best: Weights = {}
        self._earlier_seconds = 0.0
        self._pass_seconds = 0.0
        self._step_seconds = 0.0
        self._steps_here = 0

    def run(self) -> Trained:
        """Trains to the end, to `patience` passes without gain, or to `max_seconds`; starts from the newest checkpoint.

        The untrained model is the first candidate, so the best is never worse on validation than the baselines it starts as.
        With the same arguments the weights are the same to the bit on a CPU, resumed or not, unless time ran out.

        Raises:
            ModelError: when the loss or a gradient is no longer finite, or a checkpoint does not fit.
        """
        self._began = time.monotonic()
        if not self._resume():
            self._validate()
        ended = self._ended() or (DONE if self._progress.step == self._total else "")
        for epoch in range(self._progress.step // self._per_epoch, math.ceil(self._total / self._per_epoch)):
            if ended:
                break
            ended = self._epoch(epoch)
        self._progress.seconds = self._seconds()
        done = self._steps_here * self._options.batch_size * self._ranks.world_size
        speed = done / self._step_seconds if self._step_seconds else 0.0
        worse = self._worse()
        weights = self._best | {n: t for n, t in self._first.items() if any(n.startswith(f"heads.{head}.") for head in worse)}
        attacked = self._attacked(weights)
        learnt = self._learnt.figures() if self._learnt else {}
        reason, kind = ended or DONE, self._options.value_loss
        return Trained(weights, self._progress, reason, speed, worse, self._weights, kind, attacked, learnt)

    def _attacked(self, weights: Weights) -> dict[str, float]:
        """Accuracies of the final weights under both attacks, by name, where they are asked for."""
        if not (self._options.attack_report and isinstance(self._model, BehaviourModel)):
            return {}
        put_weights(self._model, weights)
        found: dict[str, float] = {}
        for kind in ("fgm", "pgd"):
            attack = Attack(kind, self._options.adversarial_epsilon, self._options.adversarial_steps)
            with self._open_validation() as batches:
                said = under_attack(self._model, batches, self._judges, self._row_losses, attack)
            found |= {name.replace("attacked", kind) if "attacked" in name else f"clean_{name}": v for name, v in said.items()}
        return found

    def _row_losses(self, outputs: Outputs, batch: dict[str, Tensor]) -> Tensor:
        """(b,) weighted, in nats."""
        rows, w = row_losses(outputs, batch["label_counts"], batch["label_value"]), self._weights
        return w.category_weight * rows.category + w.visit_weight * rows.visit + w.value_weight * rows.value

    def _worse(self) -> tuple[str, ...]:
        """Heads that lose on the validation examples by what training did to them; each only adds to what it began as."""
        first, best = self._progress.history[0], best_of(self._progress)
        return tuple(head for head in HEAD_FIGURES if lost(head, first, best, self._weights, self._options.value_loss) > 0)

    def _epoch(self, epoch: int) -> str:
        """Trains the rest of an epoch; returns why training ends here, or ''."""
        with self._open_epoch(epoch, self._progress.step - epoch * self._per_epoch) as batches:
            for batch in batches:  # to the end of the stream, which then checks that no row was lost
                self._one_step(batch, epoch)
                late = self._ranks.agree(self._late())
                done = self._progress.step == self._total and self._total % self._per_epoch != 0  # ends within an epoch
                if late or done or self._progress.step % self._every == 0 or self._progress.step % self._per_epoch == 0:
                    self._validate()
                ended = self._ended() or ("out of time" if late else "") or (DONE if done else "")
                if self._progress.step % self._options.checkpoint_every == 0 or ended:
                    self._save()
                if ended:
                    return ended
        if self._progress.step != (epoch + 1) * self._per_epoch:
            raise ModelError(
                f"epoch {epoch} gave {self._progress.step - epoch * self._per_epoch} batches, expected {self._per_epoch}; "
                "the ranks would wait for one another for ever; this is a bug of the stream"
            )
        return ""

    def _one_step(self, batch: dict[str, Tensor], epoch: int) -> None:
        began = time.monotonic()
        step = self._progress.step
        place = f"batch {step - epoch * self._per_epoch} of epoch {epoch} on rank {self._ranks.rank}"
        loss = self._step(batch, step, place)
        self._progress.step = step + 1
        if self._average:
            self._average.after(step + 1)
        self._step_seconds += time.monotonic() - began
        self._steps_here += 1
        if self._tracker:
            rate = float(self._optimiser.param_groups[0]["lr"])
            rows = self._options.batch_size * self._ranks.world_size
            self._tracker.step(step + 1, self._total, loss=loss, rate=rate, examples=rows)

    def _validate(self) -> None:
        began, progress = time.monotonic(), self._progress
        judged = self._average.in_place() if self._average else nullcontext()
        with judged, self._open_validation() as batches:
            metrics = validate(self._model, batches, self._judges, self._weights, self._options.value_loss)
        self._pass_seconds = time.monotonic() - began
        better = metrics["loss"] < progress.best_loss
        progress.history.append({"step": float(progress.step), **metrics})
        progress.passes_without_gain = 0 if better else progress.passes_without_gain + 1
        if better or not self._best:
            progress.best_loss, progress.best_step = metrics["loss"], progress.step
            self._best = {n: t.clone() for n, t in self._average.mean.items()} if self._average else weights_of(self._model)
        if self._tracker:
            self._tracker.validation(progress.step, metrics, best=better)

    def _ended(self) -> str:
        if self._progress.passes_without_gain >= self._options.patience:
            return f"no gain in {self._options.patience} validation passes"
        return ""

    def _late(self) -> bool:
        """Whether another step would leave too little time for a validation pass after it."""
        per_step = self._step_seconds / max(1, self._steps_here)
        return self._seconds() + per_step + self._pass_seconds >= self._options.max_seconds

    def _seconds(self) -> float:
        return self._earlier_seconds + time.monotonic() - self._began

    def _resume(self) -> bool:
        path = self._checkpoints.newest() if self._checkpoints else None
        if self._checkpoints is None or path is None:
            return False
        self._best, self._progress, more = self._checkpoints.load(path, self._model, self._optimiser)
        self._put_more(more)
        self._earlier_seconds = self._progress.seconds
        if self._tracker:
            self._tracker.say(f"resumed at step {self._progress.step:,} of {self._total:,}")
        return True

    def _save(self) -> None:
        if self._checkpoints is None:
            return
        self._progress.seconds = self._seconds()
        self._checkpoints.save(self._model, self._optimiser, self._best, self._progress, self._more(), writes=self._ranks.leads)

    def _more(self) -> Weights:
        """What beside weights and moments the next step hangs on."""
        found = {f"average/{n}": t for n, t in self._average.mean.items()} if self._average else {}
        budget = self._step.budget.state() if self._step.budget else {}
        learnt = {"learnt/log_variance": self._learnt.log_variance.detach().cpu().clone()} if self._learnt else {}
        return found | {f"budget/{n}": t for n, t in budget.items()} | self._step.scale() | learnt

    def _put_more(self, more: Weights) -> None:
        parts: dict[str, Weights] = {}
        for name, tensor in more.items():
            kind, _, rest = name.partition("/")
            parts.setdefault(kind, {})[rest] = tensor
        if self._average:
            self._average.mean = parts["average"]
        if self._step.budget:
            self._step.budget.put(parts["budget"])
        self._step.put_scale(parts.get("scale", {}))
        if self._learnt:
            self._learnt.load_state_dict(parts["learnt"])


def lost(
    head: str,
    first: dict[str, float],
    later: dict[str, float],
    weights: LossWeights,
    value_loss: ValueLoss = "cross_entropy",
) -> float:
    """How much of the weighted loss, in nats, a head added from one validation pass to a later one."""
    value = "value_squared" if value_loss == "squared" else "value_loss"
    parts = {
        "category": {"category_loss": weights.category_weight, "visit_loss": weights.visit_weight},
        "value": {value: weights.value_weight},
    }
    if weights.balance_weight:
        parts["category"]["balance_kl"] = weights.balance_weight
    return float(sum(weight * (later[name] - first[name]) for name, weight in parts[head].items()))


def best_of(progress: Progress) -> dict[str, float]:
    """The validation pass of the best weights."""
    return next(h for h in progress.history if h["step"] == progress.best_step)
