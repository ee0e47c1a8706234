"""Balance in the loss against balance afterwards: what each gives up of accuracy for predictions near a user's own shares.

python -m tests.benchmarks.balance_term --warehouse warehouse [--examples 6144] [--steps 300] [--seeds 3]      (after make demo)

Heads on vectors of the published text model's encoder, made once, begin as counting left them and are trained at several
balance_weight, as training.method = 'frozen' trains them. Beside that the predictions of weight 0 are mixed afterwards with the
user's own shares at several λ. All on the validation examples; the calibration is KL(own decayed shares ‖ prediction).
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import numpy as np
import pyarrow  # noqa: F401  # before torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from equipoise.evaluate.metrics.distribution import graded_ndcg, kl_bits
from equipoise.inference.hardware import half_of
from equipoise.models import BehaviourModel
from equipoise.models.heads import Heads
from equipoise.models.losses import LossWeights, balance_loss, combined, loss_sums, window_shares
from equipoise.models.package import load_held_back
from equipoise.stream import ExampleStream, Widths
from equipoise.training.optimiser import rate_factor
from equipoise.training.registry import Registry

Batch = dict[str, Tensor]
Floats = NDArray[np.float64]
WEIGHTS = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0)
LAMBDAS = (0.1, 0.2, 0.3, 0.5, 0.7)
BATCH, RATE, K = 64, 2e-3, 10
RESAMPLES = 1000
COLUMNS = ("tokens", "length", "prior", "cells", "trends", "features", "label_counts", "label_value")


class Figures(NamedTuple):
    """Per user with events in the label window and a history: KL of the window's shares from the prediction, bits; NDCG@K;
    KL(own ‖ prediction), nats."""

    kl: Floats
    ndcg: Floats
    balance: Floats


def say(text: str) -> None:
    """A line of the report."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def files_of(table: Path) -> list[str]:
    """Files of a table's newest version, by the entries of its log; of a table so young that the log has no summary yet."""
    if not (table / "_delta_log").is_dir() or any((table / "_delta_log").glob("*.checkpoint.parquet")):
        raise SystemExit(f"{table}: no table, or one with a summarised log; run make demo into a new folder first")
    live: set[str] = set()
    for entry in sorted((table / "_delta_log").glob("*.json")):
        for line in entry.read_text(encoding="utf-8").splitlines():
            action = json.loads(line)
            live |= {unquote(action["add"]["path"])} if "add" in action else set()
            live -= {unquote(action["remove"]["path"])} if "remove" in action else set()
    return sorted(str(table / name) for name in live)


def read(table: Path, model: BehaviourModel, widths: Widths, most: int) -> list[Batch]:
    """Batches of the first `most` examples, with the vector of each one's text in place of the text."""
    stream = ExampleStream(
        files_of(table), rank=0, world_size=1, batch_size=BATCH, seed=1, epoch=0, widths=widths, columns=COLUMNS, drop_last=False
    )
    found: list[Batch] = []
    with stream as batches, torch.no_grad():
        for batch in batches:
            if sum(len(b["vector"]) for b in found) < most:  # to the end, where the stream checks that no row was lost
                found.append({"vector": model.encode(batch.pop("tokens"), batch.pop("mask")), **batch})
    return found


def answers(heads: Heads, batch: Batch) -> Tensor:
    """(b, C) logits of the categories."""
    logits: Tensor = heads(*(batch[n] for n in ("vector", "prior", "cells", "trends", "features"))).category_logits
    return logits


def trained(start: Heads, data: list[Batch], weight: float, seed: int, steps: int, *, free: bool) -> Heads:
    """The heads after so many steps; `free`: what counting found is trained too, which fine-tuning holds."""
    heads = copy.deepcopy(start).train()
    heads.requires_grad_(True)
    if not free:
        heads.category.hold()
    weights = LossWeights(1.0, 0.1, 1.0, 0.0, 0.0, balance_weight=weight)
    optimiser = torch.optim.AdamW([p for p in heads.parameters() if p.requires_grad], lr=RATE, weight_decay=0.01)
    order = np.random.default_rng(seed)
    torch.manual_seed(seed)
    for step in range(steps):
        batch = data[int(order.integers(len(data)))]
        for group in optimiser.param_groups:
            group["lr"] = RATE * rate_factor(step, steps, 0.1)
        optimiser.zero_grad()
        outputs = heads(*(batch[n] for n in ("vector", "prior", "cells", "trends", "features")))
        sums = loss_sums(outputs, batch["label_counts"], batch["label_value"], prior=batch["prior"])
        combined(sums, weights).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([p for g in optimiser.param_groups for p in g["params"]], 1.0)
        optimiser.step()
    return heads.eval()


def judged(heads: Heads, check: list[Batch], mixed: Callable[[Tensor, Batch], Tensor] = lambda logits, _: logits) -> Figures:
    """Of the heads' predictions, or of what `mixed` makes of their logits."""
    rows: list[tuple[Floats, Floats, Floats]] = []
    with torch.no_grad():
        for batch in check:
            logits = mixed(answers(heads, batch), batch)
            there = ((batch["label_counts"].sum(dim=1) > 0) & (batch["prior"].sum(dim=1) > 0)).numpy()
            p, q = window_shares(batch["label_counts"]).double().numpy()[there], logits.double().softmax(dim=1).numpy()[there]
            rows.append((kl_bits(p, q), graded_ndcg(p, q, K), balance_loss(logits, batch["prior"]).double().numpy()[there]))
    return Figures(*(np.concatenate(column) for column in zip(*rows, strict=True)))


def linear(share: float) -> Callable[[Tensor, Batch], Tensor]:
    """(1 − λ)·q + λ·own, as logits."""

    def mixed(logits: Tensor, batch: Batch) -> Tensor:
        return ((1.0 - share) * logits.softmax(dim=1) + share * window_shares(batch["prior"])).clamp(min=1e-12).log()

    return mixed


def geometric(share: float, heads: Heads) -> Callable[[Tensor, Batch], Tensor]:
    """∝ q^(1−λ)·own^λ, own being smoothed as the head smooths it: a category without history would rule itself out."""

    def mixed(logits: Tensor, batch: Batch) -> Tensor:
        return (1.0 - share) * logits.log_softmax(dim=1) + share * heads.category.log_shares(batch["prior"])

    return mixed


def told(name: str, found: list[Figures], against: list[Figures]) -> str:
    """A row: means over seeds; in brackets the range over seeds, and of the loss in KL 95 % over users of the first seed."""
    columns = []
    for field in ("kl", "ndcg", "balance"):
        means = [float(getattr(f, field).mean()) for f in found]
        spread = f" ({min(means):.4f} to {max(means):.4f})" if len(means) > 1 else ""
        columns.append(f"{statistics.mean(means):.4f}{spread}")
    lost = found[0].kl - against[0].kl
    random = np.random.default_rng(1)
    drawn = [lost[random.integers(0, len(lost), len(lost))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"| {name} | {' | '.join(columns)} | {lost.mean():+.4f} [{low:+.4f}, {high:+.4f}] |"


def table(title: str, start: Heads, data: list[Batch], check: list[Batch], seeds: range, steps: int, *, free: bool) -> None:
    """One frontier: weights in the loss, and λ afterwards on the predictions of weight 0."""
    say(f"\n{title}")
    say(f"| | category KL, bits | NDCG@{K} | KL(own ‖ prediction), nats | KL lost to weight 0, 95 % over users |")
    say("|---|---|---|---|---|")
    runs = {w: [trained(start, data, w, s, steps, free=free) for s in seeds] for w in WEIGHTS}
    plain = [judged(h, check) for h in runs[0.0]]
    for weight, heads in runs.items():
        say(told(f"in the loss, weight {weight:g}", [judged(h, check) for h in heads], plain))
    for share in LAMBDAS:
        say(told(f"afterwards, (1 − λ)q + λ·own, λ = {share:g}", [judged(h, check, linear(share)) for h in runs[0.0]], plain))
    for share in LAMBDAS:
        mixed = [judged(h, check, geometric(share, h)) for h in runs[0.0]]
        say(told(f"afterwards, q^(1−λ)·own^λ, λ = {share:g}", mixed, plain))


def main() -> None:
    """Prints both frontiers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warehouse", type=Path, required=True)
    parser.add_argument("--examples", type=int, default=6144)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    registry = Registry(asked.warehouse / "models" / "encoder")
    loaded = load_held_back(registry.path(registry.current() or ""))
    model = loaded.model
    if not isinstance(model, BehaviourModel):
        raise SystemExit("the published model is a tower; expected the text route, whose vectors are made here")
    model.encoder.autocast = half_of("auto", "cpu")
    widths = Widths(loaded.meta.max_tokens, len(loaded.meta.categories), len(loaded.meta.feature_names))
    data = read(asked.warehouse / "feature" / "examples", model, widths, asked.examples)
    check = read(asked.warehouse / "feature" / "examples_validation", model, widths, 10**9)
    with torch.no_grad():
        model.heads.category.out.weight.zero_()
        model.heads.category.out.bias.zero_()
    users = len(judged(model.heads, check).kl)
    say(f"{sum(len(b['vector']) for b in data):,} training examples, {users:,} validation users, {asked.steps} steps of {BATCH}")
    say(told("as counted, untrained", [judged(model.heads, check)], [judged(model.heads, check)]))
    seeds = range(1, asked.seeds + 1)
    table("What counting found is held, as fine-tuning does:", model.heads, data, check, seeds, asked.steps, free=False)
    table("All of the category head is trained:", model.heads, data, check, seeds, asked.steps, free=True)


if __name__ == "__main__":
    main()
