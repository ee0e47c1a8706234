"""Users: the heads know what counting says; does the text of a user's behaviour add to it, given all examples and many passes?"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from equipoise.evaluate.bootstrap import Measure, interval, per_user, resampled
from equipoise.evaluate.metrics import pooled
from equipoise.models import BehaviourModel, build
from equipoise.models.fit_pairs import PairOptions, counted_state, fit_pairs, freshen, start_counted
from equipoise.models.heads import Heads
from equipoise.models.losses import row_losses
from equipoise.models.methods import Method
from equipoise.models.statistics import Prior, Statistics, fit_prior, fit_statistics, start_heads
from equipoise.tables.packing import CELL_VALUES
from equipoise.training.checkpoint import put_weights
from equipoise.training.loop import Training
from equipoise.training.options import Options
from equipoise.training.ranks import Ranks

Batch = dict[str, Tensor]
BATCH, SHOWN = 128, 512
RESAMPLES = 2000
LORA, EVERYWHERE, FULL = "LoRA on attention", "LoRA on all layers", "full"
METHODS = {
    LORA: Method("lora", lora_rank=8, lora_dropout=0.05),
    EVERYWHERE: Method("lora", lora_rank=8, lora_dropout=0.05, lora_layers="all"),
    FULL: Method("full"),
}
TRIED: tuple[tuple[str, float, float, float], ...] = (
    *itertools.product((LORA, EVERYWHERE), (2e-4, 1e-3), (1e-4, 1e-3), (0.01,)),
    *itertools.product((FULL,), (2e-5, 1e-4), (1e-4, 1e-3), (0.01,)),
    (FULL, 1e-4, 1e-4, 0.3),
    (EVERYWHERE, 1e-3, 1e-4, 0.3),
)
"""Way, peak rate of the encoder, of the heads, weight decay."""

EPOCHS, TRIAL_EPOCHS = 4, 2


@dataclass(frozen=True)
class Examples:
    """Rows of learning.npz on a device, dense."""

    rows: Batch
    user: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.rows["length"])

    def taken(self, which: NDArray[np.int64]) -> Examples:
        at = torch.from_numpy(which).to(self.rows["length"].device)
        return Examples({n: t[at] for n, t in self.rows.items()}, self.user[which])

    def batch(self, at: Tensor) -> Batch:
        """tokens cut to the longest text, and its mask, as the stream gives them."""
        found = {n: t[at] for n, t in self.rows.items() if n not in ("tokens", "length")}
        length = self.rows["length"][at]
        longest = max(1, int(length.max()))
        mask = torch.arange(longest, device=length.device) < length[:, None]
        return found | {"tokens": self.rows["tokens"][at][:, :longest].long(), "mask": mask.long()}

    def batches(self, size: int, order: NDArray[np.int64] | None = None, *, whole: bool = False) -> Iterator[Batch]:
        order = np.arange(len(self)) if order is None else order
        last = len(order) // size * size if whole else len(order)
        for start in range(0, last, size):
            yield self.batch(torch.from_numpy(order[start : start + size]).to(self.rows["length"].device))


def load(folder: Path, device: str) -> tuple[dict[str, Any], Examples, Examples, Examples]:
    """The file; examples that train, that choose, and that are looked at once."""
    data = dict(np.load(folder / "learning.npz"))
    n, categories = len(data["cut"]), len(data["population"])

    def dense(name: str, width: int = 0) -> Tensor:
        counts = np.diff(data[f"{name}_ends"], prepend=0)
        out = np.zeros((n, categories, width) if width else (n, categories), dtype=np.float32)
        out[np.repeat(np.arange(n), counts), data[f"{name}_place"]] = data[f"{name}_values"]
        return torch.from_numpy(out)

    rows = {
        "tokens": torch.from_numpy(data["tokens"].astype(np.int32)),
        "length": torch.from_numpy(data["length"].astype(np.int64)),
        "prior": dense("prior"),
        "cells": dense("cells", len(CELL_VALUES)),
        "trends": torch.from_numpy(data["trends"][np.searchsorted(data["trend_cuts"], data["cut"])]),
        "features": torch.from_numpy(data["features"]),
        "label_counts": dense("counts"),
        "label_value": torch.from_numpy(data["label_value"].astype(np.int64)),
        "label_spend": torch.from_numpy(data["label_spend"].astype(np.float64)),
        "user_id": torch.from_numpy(data["user"]),
    }
    whole = Examples({n: t.to(device) for n, t in rows.items()}, data["user"])
    cuts = np.unique(data["cut"])
    parts = (data["cut"] < cuts[-2], data["cut"] == cuts[-2], data["cut"] == cuts[-1])
    train, choose, test = (whole.taken(np.flatnonzero(p)) for p in parts)
    return data, train, choose, test


def prepare(folder: Path) -> None:
    """Writes start.safetensors: what counting says, fitted before any text (on a CPU)."""
    data, train, choose, _ = load(folder, "cpu")
    population = data["population"].tolist()
    statistics = fit_statistics(train.batches(1024))
    prior = fit_prior(train.batches(1024), population, Prior(5.0, 1.0))
    heads = Heads(0, data["features"].shape[1], population, dirichlet=prior.dirichlet, sharpening=prior.sharpening)
    start_heads(heads, statistics)
    options = PairOptions(seed=1, pair_steps=1200, pair_batch=64, pair_learning_rate=6e-3, visit_weight=0.1)

    @contextmanager
    def epoch(number: int, of: Examples = train) -> Iterator[Iterator[Batch]]:
        yield of.batches(64, np.random.default_rng([1, number]).permutation(len(of)))

    @contextmanager
    def validation(number: int = 0) -> Iterator[Iterator[Batch]]:
        yield choose.batches(64, np.random.default_rng([2, number]).permutation(len(choose)))

    figures, sums = fit_pairs(heads, epoch, validation, options, say)
    say(str(figures))
    counted = counted_state(heads)
    freshen(heads, sums, validation, options, batches=-(-len(choose) // 64))
    told = {"feature_mean", "feature_std", "value_weight", "value_bias", "class_mean_spend", "class_rows"}
    numbers = {f"told.{k}": torch.tensor(getattr(statistics, k), dtype=torch.float64) for k in told}
    numbers["told.prior"] = torch.tensor([prior.dirichlet, prior.sharpening], dtype=torch.float64)
    fresh = {f"fresh.{k}": t for k, t in counted_state(heads).items()}
    save_file({**{f"counted.{k}": t for k, t in counted.items()}, **fresh, **numbers}, folder / "start.safetensors")


def part(state: Batch, name: str) -> Batch:
    return {k.removeprefix(f"{name}."): t for k, t in state.items() if k.startswith(f"{name}.")}


def begun(asked: argparse.Namespace, population: list[float], state: Batch, method: Method, seed: int) -> BehaviourModel:
    """The model before its first step: everything that counting says, nothing that the text says."""
    told = part(state, "told")
    prior = told.pop("prior").tolist()
    statistics = Statistics(rows=0, **{k: t.tolist() for k, t in told.items()})
    features = len(statistics.feature_mean)
    net = build(
        asked.encoder,
        features=features,
        population=population,
        dirichlet=prior[0],
        sharpening=prior[1],
        method=method,
        seed=seed,
    )
    start_heads(net.heads, statistics)
    start_counted(net.heads, part(state, "counted"))
    net.encoder.autocast = torch.bfloat16 if asked.device == "cuda" else None
    return net


@torch.no_grad()
def answers(net: BehaviourModel, of: Examples) -> dict[str, NDArray[np.float64]]:
    """Per user: losses in nats (NaN where the window is empty) and KL in bits; probabilities of visits and of the value class."""
    net.eval()
    out: dict[str, list[Tensor]] = {}
    for batch in of.batches(SHOWN):
        said = net(*(batch[n] for n in net.inputs))
        rows = row_losses(said, batch["label_counts"], batch["label_value"])
        shares = batch["label_counts"] / batch["label_counts"].sum(1, keepdim=True).clamp(min=1e-12)
        kl = (rows.category + torch.xlogy(shares, shares).sum(1)) / math.log(2)
        hole = torch.where(rows.known, 0.0, torch.nan)
        told = {"kl_bits": kl + hole, "visit": rows.visit, "value": rows.value, "p_visit": said.visit_logits.sigmoid()}
        for name, values in (told | {"buys": 1.0 - said.value_logits.softmax(1)[:, 0]}).items():
            out.setdefault(name, []).append(values.double().cpu())
    return {name: torch.cat(parts).numpy() for name, parts in out.items()}


def measures(said: dict[str, NDArray[np.float64]], of: Examples) -> dict[str, Measure]:
    """What is told of a model."""
    counts, days = of.rows["label_counts"].cpu().numpy(), of.rows["cells"][..., CELL_VALUES.index("recency_days")].cpu().numpy()
    label, had = counts > 0, of.rows["cells"][..., CELL_VALUES.index("days")].cpu().numpy() > 0
    new = ~(had & (days <= 84))
    everywhere = np.ones(label.shape, dtype=bool)
    return {
        "KL, bits": per_user("kl", said["kl_bits"]),
        "visits, AP": Measure("ap", 0, pooled.average_precision, pooled.binned(label, said["p_visit"], everywhere)),
        "re-entry, AP": Measure("entry", 0, pooled.average_precision, pooled.binned(label, said["p_visit"], new)),
        "visits, nats": per_user("visit", said["visit"]),
        "value, nats": per_user("value", said["value"]),
    }


def trained(
    asked: argparse.Namespace,
    net: BehaviourModel,
    train: Examples,
    choose: Examples,
    setting: tuple[float, float, float],
    seed: int,
    epochs: int,
) -> Training:
    """One training; what it found is in the model then."""
    rate, head_rate, decay = setting

    def opened(epoch: int, skip: int) -> AbstractContextManager[Iterator[Batch]]:
        @contextmanager
        def batches() -> Iterator[Iterator[Batch]]:
            order = np.random.default_rng([seed, epoch]).permutation(len(train))
            yield train.batches(BATCH, order[skip * BATCH :], whole=True)

        return batches()

    @contextmanager
    def shown() -> Iterator[Iterator[Batch]]:
        yield choose.batches(SHOWN)

    steps = len(train) // BATCH
    options = Options(
        seed=seed, epochs=epochs, batch_size=BATCH, learning_rate=rate, head_learning_rate=head_rate, weight_decay=decay,
        warmup_share=0.1, clip_norm=1.0, category_weight=1.0, visit_weight=0.1, value_weight=1.0, next_item_weight=0.0,
        behaviour_weight=0.0, evaluations_per_epoch=3, patience=1000, checkpoint_every=10**9, max_seconds=1e9,
        max_steps=asked.few or 10**9,
    )  # fmt: skip
    ranks = Ranks(0, 1, torch.device(asked.device))
    training = Training(net, train_batches=opened, validation_batches=shown, steps_per_epoch=steps, options=options, ranks=ranks)
    found = training.run()
    put_weights(net, found.weights)
    training.found = found  # type: ignore[attr-defined]
    return training


def users(asked: argparse.Namespace) -> None:
    """Prints what was tried and what came of it."""
    data, train, choose, test = load(asked.data, asked.device)
    population, state = data["population"].tolist(), load_file(asked.data / "start.safetensors")
    say(f"\n{len(train):,} examples train, {len(choose):,} choose, {len(test):,} are looked at; batches of {BATCH}")
    trials = []
    say("| way | encoder | heads | decay | loss before | at its best | at step | of | KL | visits | value | seconds |")
    say("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for way, *setting in TRIED if not asked.few else TRIED[-1:]:
        began = time.monotonic()
        net = begun(asked, population, state, METHODS[way], 1)
        found = trained(asked, net, train, choose, tuple(setting), 1, TRIAL_EPOCHS).found  # type: ignore[attr-defined]
        first, m, p = found.progress.history[0], found.metrics, found.progress
        trials.append((p.best_loss, way, tuple(setting)))
        parts = " | ".join(f"{first[k]:.4f} → {m[f'best_{k}']:.4f}" for k in ("category_kl_bits", "visit_loss", "value_loss"))
        took = time.monotonic() - began
        cells = [way, *(f"{x:g}" for x in setting), f"{first['loss']:.4f}", f"{p.best_loss:.4f}", p.best_step, p.step, parts]
        say(f"| {' | '.join(map(str, cells))} | {took:.0f} |")
    _, way, chosen = min(trials)
    say(f"\nchosen: {way}, {chosen}; {EPOCHS} epochs, {asked.seeds} seeds; the last window, {len(test):,} users\n")
    before: dict[str, Measure] = {}
    after: list[dict[str, Measure]] = []
    for seed in range(1, asked.seeds + 1):
        net = begun(asked, population, state, METHODS[way], seed)
        if not before:
            start_counted(net.heads, part(state, "fresh"))
            before = measures(answers(net.to(asked.device), test), test)
            start_counted(net.heads, {k: t.to(asked.device) for k, t in part(state, "counted").items()})
        trained(asked, net, train, choose, chosen, seed, EPOCHS)
        start_counted(net.heads, {k: t.to(asked.device) for k, t in part(state, "fresh").items()})
        after.append(measures(answers(net, test), test))
    told(before, after)


def told(before: dict[str, Measure], after: list[dict[str, Measure]]) -> None:
    """The table of the last window: counting, counting and text, and their difference."""
    say("| | counting alone | with the text, mean of seeds | spread of seeds | difference |")
    say("|---|---|---|---|---|")
    for name, plain in before.items():
        ours = [m[name] for m in after]
        drawn = resampled([plain, *ours], np.arange(len(plain.arrays[0])), RESAMPLES, 1)
        mean = drawn[:, 1:].mean(1)
        value, base = np.mean([m.value() for m in ours]), plain.value()
        low, high = interval(mean - drawn[:, 0]) or (math.nan, math.nan)
        spread = np.std([m.value() for m in ours], ddof=1) if len(ours) > 1 else math.nan
        say(f"| {name} | {base:.4f} | {value:.4f} | {spread:.4f} | {value - base:+.4f} [{low:+.4f}, {high:+.4f}] |")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
