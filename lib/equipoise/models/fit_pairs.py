"""Fits what the category head knows without any text: prior, item-item weights and pair network, before fine-tuning begins."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from equipoise.errors import ModelError
from equipoise.models import follow
from equipoise.models.heads import READS_VECTOR, CategoryHead, Heads
from equipoise.models.losses import share_loss, visit_loss, window_shares
from equipoise.models.pairs import PAIR_INPUTS

Batches = AbstractContextManager[Iterable[dict[str, Tensor]]]

RIDGE_SHARES = (0.08, 0.04)
"""EASE's penalties on decayed and on recent visits, per row: 200 and 100 on the 2,469 households they were chosen for."""

FRESH_PASSES = 2
FRESH_RATE = 0.5
"""Passes over the validation examples, and their learning rate as a share of the peak. Tried one cut earlier on Complete Journey
they took the KL divergence from 1.983 to 1.959 bits; fitting anew on all cuts took it to 1.962."""

FULL_WINDOW = 10.0
"""Events in a label window from which its shares count in full; a thinner one counts in proportion, for shares of two events are
mostly chance. Tried one cut earlier on Complete Journey, five seeds: decision 0007."""

FIRST_PASS = 2
"""Passes 0 and 1 are for the category-category weights and the moments."""

WARMUP_STEPS = 50
CLIP_NORM = 1.0
WEIGHT_DECAY = 1e-3
MOST_ROWS = 200_000
"""Rows that moments and category-category weights are taken from."""


@dataclass(frozen=True)
class PairOptions:
    """How to fit; every field is a setting of the same name."""

    seed: int
    pair_steps: int
    pair_batch: int
    pair_learning_rate: float
    visit_weight: float


class Fitted(NamedTuple):
    """Validation losses before (`prior_…`) and after (`counted_…`); the sums that what follows was solved from, for `freshen`."""

    figures: dict[str, float]
    sums: follow.Sums


def fit_pairs(
    heads: Heads,
    epoch: Callable[[int], Batches],
    validation: Callable[[], Batches],
    options: PairOptions,
    say: Callable[[str], None],
) -> Fitted:
    """Fits `heads.category` but its `out`, in place.

    Batches hold prior and label_counts (b, C), cells (b, C, K), trends (b, C, T), features (b, F), user_id (b, 16). `epoch(i)`
    opens pass i over the training examples in its own order; passes go on until `options.pair_steps`. Of the states after each
    pass the best by validation loss is kept (the untrained one counts): on few examples that is an early one. Same arguments,
    same weights.

    Raises:
        ModelError: no examples, or a loss that is not finite.
    """
    head = heads.category
    with torch.random.fork_rng():
        torch.manual_seed(options.seed)
        head.pairs.reset()
        head.pairs.mass.copy_(head.log_dirichlet.detach().exp())
    rows, sums = _neighbours(heads, epoch)
    head.pairs.follow.copy_(sums.solved())
    crossed = sums.crossed()
    _moments(heads, epoch, crossed)
    first = _validated(heads, validation, options.visit_weight)
    best, kept = first, _state(head)
    say(f"pairs: {rows:,} examples, validation {_told(first)} before")
    for number, after in enumerate(_passes(heads, epoch, options, crossed=crossed)):
        losses = _validated(heads, validation, options.visit_weight)
        say(f"pairs: pass {number + 1}, {after:,} of {options.pair_steps:,} steps, validation {_told(losses)}")
        if losses["loss"] < best["loss"]:
            best, kept = losses, _state(head)
    head.load_state_dict(kept)
    return Fitted({f"prior_{k}": v for k, v in first.items()} | {f"counted_{k}": v for k, v in best.items()}, sums)


def freshen(heads: Heads, sums: follow.Sums, epoch: Callable[[int], Batches], options: PairOptions, *, batches: int) -> int:
    """FRESH_PASSES more over the `batches` of the latest cut, which validation held back; returns the steps. Then what follows
    what is solved from all cuts: the latest is added to `sums`, those of `fit_pairs`.

    For the model that is published, once everything is chosen: the latest window knows most of the next one, and figures on these
    examples mean nothing afterwards.
    """
    steps = FRESH_PASSES * batches
    short = replace(options, pair_steps=steps, pair_learning_rate=FRESH_RATE * options.pair_learning_rate)
    done = max(_passes(heads, epoch, short, warmup=steps // 10), default=0)
    for batch in _first_rows(epoch, 0):
        _add(sums, heads, batch)
    heads.category.pairs.follow.copy_(sums.solved())
    return done


def counted_state(heads: Heads) -> dict[str, Tensor]:
    """What `fit_pairs` fitted, for `start_counted`."""
    return {name: t for name, t in _state(heads.category).items() if not name.startswith(READS_VECTOR)}


def start_counted(heads: Heads, state: dict[str, Tensor]) -> None:
    """Puts what `fit_pairs` found into untrained heads and holds it: fine-tuning then can only add what the vector says.

    Raises:
        ModelError: when the state is of other sizes.
    """
    missing = set(counted_state(heads)) ^ set(state)
    if missing:
        raise ModelError(f"the fitted pairs lack or have too many of {sorted(missing)}; delete the run's folder and run again")
    heads.category.load_state_dict(state, strict=False)
    heads.category.hold()


def _passes(
    heads: Heads,
    epoch: Callable[[int], Batches],
    options: PairOptions,
    warmup: int = WARMUP_STEPS,
    crossed: Tensor | None = None,
) -> Iterator[int]:
    """Trains; yields the number of steps made after each pass, and after the last step."""
    head, step, number = heads.category, 0, 0
    fitted = [p for name, p in head.named_parameters() if not name.startswith(READS_VECTOR)]
    groups = [
        {"params": [p for p in fitted if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in fitted if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=options.pair_learning_rate)
    while step < options.pair_steps:
        with epoch(FIRST_PASS + number) as batches:
            for batch in batches:
                share, visit, _ = _losses(heads, batch, crossed)
                loss = share + options.visit_weight * visit
                rate = min(1.0, (step + 1) / (warmup + 1)) * 0.5 * (1.0 + math.cos(math.pi * step / options.pair_steps))
                for group in optimiser.param_groups:
                    group["lr"] = options.pair_learning_rate * rate
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                norm = nn.utils.clip_grad_norm_(fitted, CLIP_NORM)
                if not bool(norm.isfinite()):
                    raise ModelError(
                        f"pairs: gradients are not finite at step {step + 1}; lower training.pair_learning_rate "
                        f"({options.pair_learning_rate}), or build the examples again"
                    )
                optimiser.step()
                step += 1
                if step == options.pair_steps:
                    break
        number += 1
        yield step


def _losses(heads: Heads, batch: dict[str, Tensor], crossed: Tensor | None = None) -> tuple[Tensor, Tensor, float]:
    """Mean losses of shares, over the windows by their weight, and of visits; and the sum of the weights. crossed (2, C, C): what
    follows, for rows whose labels have a part in the net's own."""
    weights, follows = _weights(batch), None if crossed is None else _follows(heads, batch, crossed)
    standardised = heads.standardised(batch["features"])
    share, visit = heads.category.counted(batch["prior"], batch["cells"], batch["trends"], standardised, follows)
    counts, known, total = batch["label_counts"], weights > 0, float(weights.sum())
    lost = (share_loss(share, window_shares(counts))[known] * weights[known]).sum()
    return lost / (total or 1.0), visit_loss(visit, counts).mean(), total


def _validated(heads: Heads, validation: Callable[[], Batches], visit_weight: float) -> dict[str, float]:
    shares, windows, visits, rows = 0.0, 0.0, 0.0, 0
    with torch.no_grad(), validation() as batches:
        for batch in batches:
            share, visit, weight = _losses(heads, batch)
            shares, windows = shares + float(share) * weight, windows + weight
            visits, rows = visits + float(visit) * len(batch["prior"]), rows + len(batch["prior"])
    share_mean, visit_mean = shares / (windows or 1.0), visits / max(1, rows)
    return {"loss": share_mean + visit_weight * visit_mean, "category_loss": share_mean, "visit_loss": visit_mean}


def _weights(batch: dict[str, Tensor]) -> Tensor:
    """(b,) what a window counts: 1 from FULL_WINDOW events on, 0 without any."""
    return (batch["label_counts"].sum(dim=-1) / FULL_WINDOW).clamp(max=1.0)


def _follows(heads: Heads, batch: dict[str, Tensor], crossed: Tensor) -> Tensor:
    """(b, C) what follows, of each user by the other half of the users."""
    shares = heads.category.pairs.today(batch["cells"], batch["trends"])
    first, second = (follow.followed(shares, weights) for weights in crossed)
    return torch.where(follow.half(batch["user_id"]).unsqueeze(-1) == 0, first, second)


def _add(sums: follow.Sums, heads: Heads, batch: dict[str, Tensor]) -> None:
    shares = heads.category.pairs.today(batch["cells"], batch["trends"])
    sums.add(shares, window_shares(batch["label_counts"]), _weights(batch), follow.half(batch["user_id"]))


def _neighbours(heads: Heads, epoch: Callable[[int], Batches]) -> tuple[int, follow.Sums]:
    """Solves EASE's weights and sets the visit rates; returns the rows there were, and what follows is solved from."""
    pairs = heads.category.pairs
    width = len(pairs.bias)
    grams = [torch.zeros(width, width, dtype=torch.float64) for _ in RIDGE_SHARES]
    visited, rows, sums = torch.zeros(width, dtype=torch.float64), 0, follow.Sums(width)
    for batch in _first_rows(epoch, 0):
        _add(sums, heads, batch)
        for gram, x in zip(grams, pairs.neighbours(batch["cells"]), strict=True):
            gram += (x.T @ x).double()
        visited += (batch["label_counts"] > 0).sum(dim=0).double()
        rows += len(batch["cells"])
    if not rows:
        raise ModelError("no training examples to fit the pairs on; build the examples first")
    rate = (visited + 0.5) / (rows + 1.0)
    with torch.no_grad():
        pairs.bias[:, 1] = torch.logit(rate).float()
        for into, gram, ridge in zip((pairs.near_decayed, pairs.near_recent), grams, RIDGE_SHARES, strict=True):
            into.copy_(ease(gram, ridge * rows))
    return rows, sums


def ease(gram: Tensor, ridge: float) -> Tensor:
    """Item-item weights (C, C), zero on the diagonal, of the Gram matrix (C, C) of users' behaviour (Steck 2019, eq. 8)."""
    inverse = torch.linalg.inv(gram + ridge * torch.eye(len(gram), dtype=gram.dtype))
    weights: Tensor = (-inverse / inverse.diagonal()).fill_diagonal_(0.0).float()
    return weights


def _moments(heads: Heads, epoch: Callable[[int], Batches], crossed: Tensor) -> None:
    pairs, rows = heads.category.pairs, 0
    total, square = (torch.zeros(len(PAIR_INPUTS), dtype=torch.float64) for _ in range(2))
    with torch.no_grad():
        for batch in _first_rows(epoch, 1):
            x = pairs.inputs(batch["cells"], batch["trends"], _follows(heads, batch, crossed)).flatten(0, 1).double()
            total, square, rows = total + x.sum(dim=0), square + x.square().sum(dim=0), rows + len(x)
        mean = total / rows
        std = (square / rows - mean.square()).clamp(min=0.0).sqrt()
        if not bool(mean.isfinite().all() and std.isfinite().all()):
            bad = [n for n, m in zip(PAIR_INPUTS, mean + std, strict=True) if not bool(m.isfinite())]
            raise ModelError(f"pair features {bad} of the training examples are not finite; build the examples again")
        pairs.mean.copy_(mean)
        pairs.std.copy_(torch.where(std > 1e-6, std, 1.0))  # a constant input says nothing and must not be divided by 0


def _first_rows(epoch: Callable[[int], Batches], number: int) -> Iterator[dict[str, Tensor]]:
    rows = 0
    with epoch(number) as batches:
        for batch in batches:
            yield batch
            rows += len(batch["cells"])
            if rows >= MOST_ROWS:
                return


def _state(head: CategoryHead) -> dict[str, Tensor]:
    return {name: t.detach().clone() for name, t in head.state_dict().items()}


def _told(losses: dict[str, float]) -> str:
    return f"shares {losses['category_loss']:.4f}, visits {losses['visit_loss']:.3f} nats"
