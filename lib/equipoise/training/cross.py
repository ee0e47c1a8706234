"""Training of the pair model: binary log loss on what happened after earlier cuts, the untrained text being the first candidate.

Torch only; one process. Notation: n rows of user × item at a cut, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from equipoise.inference.pairs import pair_logits
from equipoise.models.cross import PairModel, fit_base
from equipoise.models.methods import LEARNING_RATES, Method
from equipoise.models.pair_text import PairTexts
from equipoise.training.optimiser import make_optimiser, set_rate

Ints = NDArray[np.int64]

SORTED_BATCHES = 32
"""Batches whose rows are sorted by length together: rows of one batch are then about equally long, and still drawn anew."""


class PairRows(NamedTuple):
    """Pairs: places of their texts, features (n, F), and whether the item came true for the user."""

    user: Ints
    item: Ints
    features: NDArray[np.float32]
    label: NDArray[np.bool_]

    def take(self, rows: NDArray[Any]) -> PairRows:
        """Some of the rows."""
        return PairRows(*(a[rows] for a in self))


@dataclass(frozen=True)
class PairTraining:
    """How a pair model is trained; bounded by passes, by steps, and by the patience of its validation."""

    method: Method = field(default_factory=lambda: Method(lora_layers="all"))
    learning_rate: float | None = None
    """Peak rate of the encoder's part; None: that of the method."""
    head_learning_rate: float = 1e-3
    weight_decay: float = 0.01
    passes: int = 2
    batch_pairs: int = 64
    max_steps: int | None = None
    evaluations: int = 8
    """Looks at the validation rows over the whole training."""
    patience: int = 3
    """Looks in a row without a better loss after which training ends."""
    warmup_share: float = 0.1
    seed: int = 1

    def steps(self, rows: int) -> int:
        """Steps of a training on so many rows."""
        whole = self.passes * (rows // self.batch_pairs)
        return whole if self.max_steps is None else min(whole, self.max_steps)


class PairResult(NamedTuple):
    """Validation log loss of the features alone and of what was kept, steps made, and the step that was kept (0: no text)."""

    base_loss: float
    loss: float
    steps: int
    kept_step: int


def train_pair(
    model: PairModel,
    texts: PairTexts,
    train: PairRows,
    validation: PairRows,
    how: PairTraining,
    say: Callable[[str], None] = lambda _: None,
) -> PairResult:
    """Fits the feature logit, then trains what reads the text; the model is left at its best look at `validation`.

    A text that does not help leaves the model at the feature logit. Where the model lies, in the precision of its encoder.

    Raises:
        ValueError: when there are fewer rows than a batch, or no validation rows.
    """
    if len(train.label) < how.batch_pairs or not len(validation.label):
        raise ValueError(
            f"{len(train.label)} training pairs and {len(validation.label)} for validation; expected at least {how.batch_pairs} "
            "and 1; take more users or smaller batches"
        )
    fit_base(model.heads, train.features, train.label)
    base = best = _loss(model, texts, validation)
    kept_step, state, behind = 0, _state(model), 0
    total = how.steps(len(train.label))
    looks = {round(total * (k + 1) / how.evaluations) for k in range(how.evaluations)}
    optimiser = _optimiser(model, how)
    step = 0
    for rows in _batches(texts, train, how, total):
        set_rate(optimiser, step, total, how.warmup_share)
        _step(model, texts, train.take(rows), optimiser)
        step += 1
        if step in looks:
            loss = _loss(model, texts, validation)
            say(f"step {step:,} of {total:,}: validation log loss {loss:.5f} (features alone {base:.5f})")
            behind = 0 if loss < best else behind + 1
            if loss < best:
                best, kept_step, state = loss, step, _state(model)
            if behind >= how.patience:
                break
    model.load_state_dict(state, strict=False)
    return PairResult(base, best, step, kept_step)


def log_loss(logits: NDArray[np.float32], label: NDArray[np.bool_]) -> float:
    """Mean binary log loss in nats."""
    signed = np.where(label, -logits, logits).astype(np.float64)
    return float(np.logaddexp(0.0, signed).mean())


def _loss(model: PairModel, texts: PairTexts, rows: PairRows) -> float:
    found = log_loss(pair_logits(model, texts, rows.user, rows.item, rows.features), rows.label)
    return found if np.isfinite(found) else float("inf")


def _step(model: PairModel, texts: PairTexts, rows: PairRows, optimiser: torch.optim.Optimizer) -> None:
    model.train()
    device = next(model.parameters()).device
    label = torch.from_numpy(rows.label.astype(np.float32)).to(device)
    fed = [t.to(device) for t in (*texts.batch(rows.user, rows.item), torch.from_numpy(rows.features))]
    loss = nn.functional.binary_cross_entropy_with_logits(model(*fed), label)
    optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_([p for _, p in model.trainable()], 1.0)
    optimiser.step()


def _optimiser(model: PairModel, how: PairTraining) -> torch.optim.Optimizer:
    rate = LEARNING_RATES[how.method.method] if how.learning_rate is None else how.learning_rate
    return make_optimiser(
        cast(Any, model), learning_rate=rate, head_learning_rate=how.head_learning_rate, weight_decay=how.weight_decay
    )


def _batches(texts: PairTexts, rows: PairRows, how: PairTraining, total: int) -> Iterator[Ints]:
    """`total` arrays of batch_pairs row numbers: a new shuffle per pass, a function of the seed and the rows alone."""
    lengths, size, made = texts.lengths(rows.user, rows.item), how.batch_pairs, 0
    rng = np.random.default_rng(how.seed)
    while made < total:
        order = rng.permutation(len(lengths))
        chunks = [order[a : a + size * SORTED_BATCHES] for a in range(0, len(order), size * SORTED_BATCHES)]
        sorted_chunks = [c[np.argsort(lengths[c], kind="stable")] for c in chunks]
        batches = [c[a : a + size] for c in sorted_chunks for a in range(0, len(c) - size + 1, size)]
        for i in rng.permutation(len(batches))[: total - made]:
            made += 1
            yield batches[i]


def _state(model: PairModel) -> dict[str, Tensor]:
    """Copies of what training changes."""
    return {name: parameter.detach().clone() for name, parameter in model.trainable()}
