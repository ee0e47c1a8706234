"""The learner's pieces put together on arrays of examples, without Spark: counts, then the text on top, for benchmarks."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from equipoise.models import BehaviourModel, build
from equipoise.models.fit_pairs import PairOptions, counted_state, fit_pairs, start_counted
from equipoise.models.heads import Heads, Outputs
from equipoise.models.losses import LossWeights, combined, loss_sums, row_losses
from equipoise.models.methods import LEARNING_RATES, Method
from equipoise.models.statistics import Prior, Statistics, fit_prior, fit_statistics, start_heads
from equipoise.tables.feature import H_FEATURES
from equipoise.training.optimiser import make_optimiser, set_rate
from tests.benchmarks.examples import Batch, Examples, Ints

Floats = NDArray[np.float64]
BATCH, SCORED, CHECKED = 32, 128, 512
"""Rows a step, rows scored at once, and rows of those for choosing that are looked at after each pass."""

WEIGHTS = LossWeights(1.0, 0.1, 1.0, 0.0, 0.0)
HEAD_RATE = 2e-3


@dataclass(frozen=True)
class Labels:
    """Rows whose labels are learnt from, and rows by which the best state is chosen; no user is in both."""

    learn: Ints
    choose: Ints


class Begun(NamedTuple):
    """What is fitted without a text: the features' scaling and value logit, the prior, and the pairs."""

    statistics: Statistics
    prior: Prior
    state: dict[str, torch.Tensor]


class Said(NamedTuple):
    """What a model says of rows: shares and chances of a visit, (n, C); category and visit loss in bits, (n,)."""

    shares: Floats
    visits: Floats
    category_bits: Floats
    visit_bits: Floats


def population(of: Examples) -> list[float]:
    """Shares of the categories in everybody's history, which needs no label."""
    total = of.columns["prior"].astype(np.float64).sum(axis=0) + 0.5
    return list(total / total.sum())


def counted(of: Examples, labels: Labels, seed: int, pair_steps: int) -> Begun:
    """Fitted on the labelled rows, as finetune_encoder fits it."""
    statistics = fit_statistics({**b, "label_spend": b["label_value"].double()} for b in of.batches(labels.learn, 512))
    prior = fit_prior(of.batches(labels.learn, 512), of.population, Prior(5.0, 1.0))
    heads = heads_of(of, 0, statistics, prior)
    order = np.random.default_rng(seed)

    @contextmanager
    def epoch(_: int) -> Iterator[Iterator[Batch]]:
        yield of.batches(order.permutation(labels.learn), options.pair_batch)

    @contextmanager
    def choose() -> Iterator[Iterator[Batch]]:
        yield of.batches(labels.choose[:CHECKED], options.pair_batch)

    options = PairOptions(seed, pair_steps, 64, 6e-3, WEIGHTS.visit_weight)
    fit_pairs(heads, epoch, choose, options, lambda _: None)
    return Begun(statistics, prior, counted_state(heads))


def heads_of(of: Examples, width: int, statistics: Statistics, prior: Prior) -> Heads:
    """Untrained heads."""
    heads = Heads(width, len(H_FEATURES), of.population, dirichlet=prior.dirichlet, sharpening=prior.sharpening)
    start_heads(heads, statistics)
    return heads


def model_of(of: Examples, begun: Begun, encoder: str, method: Method, seed: int) -> BehaviourModel:
    """The text route, as it begins: what counting says."""
    model = build(
        encoder, features=len(H_FEATURES), population=of.population, dirichlet=begun.prior.dirichlet,
        sharpening=begun.prior.sharpening, method=method, seed=seed,
    )  # fmt: skip
    start_heads(model.heads, begun.statistics)
    start_counted(model.heads, begun.state)
    return model


def train(model: BehaviourModel, of: Examples, labels: Labels, *, steps: int, every: int, seed: int, device: str) -> int:
    """Trains in place and leaves the state that was best for the rows to choose by, the untrained one among them; its step."""
    rate = LEARNING_RATES["lora"]
    optimiser = make_optimiser(model, learning_rate=rate, head_learning_rate=HEAD_RATE, weight_decay=0.01)
    order, place = np.random.default_rng(seed), np.zeros(0, dtype=np.int64)
    best, kept, at = chosen_loss(model, of, labels, device), _state(model), 0
    torch.manual_seed(seed)
    for step in range(steps):
        while len(place) < BATCH:
            place = np.concatenate([place, order.permutation(labels.learn)])
        batch, place = of.batch(place[:BATCH], device), place[BATCH:]
        model.train()
        set_rate(optimiser, step, steps, 0.1)
        optimiser.zero_grad()
        combined(loss_sums(said_of(model, batch), batch["label_counts"], batch["label_value"]), WEIGHTS).backward()
        torch.nn.utils.clip_grad_norm_([p for _, p in model.trainable()], 1.0)
        optimiser.step()
        if (step + 1) % every == 0 or step + 1 == steps:
            loss = chosen_loss(model, of, labels, device)
            if loss < best:
                best, kept, at = loss, _state(model), step + 1
    model.load_state_dict(kept, strict=False)
    return at


def said_of(model: BehaviourModel | Heads, batch: Batch) -> Outputs:
    """A batch's answer; heads alone answer with nothing in place of the text."""
    if isinstance(model, BehaviourModel):
        found: Outputs = model(*(batch[name] for name in model.inputs))
        return found
    nothing = batch["prior"].new_zeros(len(batch["prior"]), 0)
    alone: Outputs = model(nothing, batch["prior"], batch["cells"], batch["trends"], batch["features"])
    return alone


def chosen_loss(model: BehaviourModel, of: Examples, labels: Labels, device: str) -> float:
    """The weighted loss on the rows to choose by."""
    total, parts = 0.0, labels.choose[:CHECKED]
    model.eval()
    with torch.no_grad():
        for batch in of.batches(parts, SCORED, device):
            loss = combined(loss_sums(said_of(model, batch), batch["label_counts"], batch["label_value"]), WEIGHTS)
            total += float(loss) * len(batch["label_value"])
    return total / max(1, len(parts))


def asked(model: BehaviourModel | Heads, of: Examples, rows: Ints, device: str = "cpu") -> Said:
    """What a model says of rows; category loss is NaN where nothing happened."""
    model.eval()
    parts: list[list[Any]] = [[], [], [], []]
    with torch.no_grad():
        for batch in of.batches(rows, SCORED, device):
            out = said_of(model, batch)
            lost = row_losses(out, batch["label_counts"], batch["label_value"])
            category = torch.where(lost.known, lost.category, torch.nan)
            values = (out.category_logits.softmax(-1), out.visit_logits.sigmoid(), category, lost.visit)
            for part, value in zip(parts, values, strict=True):
                part.append(value.double().cpu().numpy())
    shares, visits, category_nats, visit_nats = (np.concatenate(p) for p in parts)
    return Said(shares, visits, category_nats / np.log(2), visit_nats / np.log(2))


def mean_of(found: Sequence[Said]) -> Said:
    """Losses averaged over seeds; shares and chances too."""
    return Said(*(np.mean([getattr(one, name) for one in found], axis=0) for name in Said._fields))


def _state(model: BehaviourModel) -> dict[str, torch.Tensor]:
    return {name: copy.deepcopy(p.detach()) for name, p in model.trainable()}
