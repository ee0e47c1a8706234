"""Ways to fine-tune, attacks and smaller encoders on the demo's examples, by the text alone: nothing else is told to the heads.

What a way learns is the fall of the validation loss below that of the heads before the first step, which know everybody's shares
only. Ratios are of two things measured in one
run; 95 % over users.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults --driver-memory 3g tests/benchmarks/finetuning.py \\
    --settings conf/demo.toml --as-of 2017-11-06     (after make demo)
"""

from __future__ import annotations

import copy
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow  # noqa: F401  # before torch
import torch
from numpy.typing import NDArray
from pyspark.sql import SparkSession

from equipoise.inference.hardware import half_of
from equipoise.models import BehaviourModel, build
from equipoise.models.losses import row_losses
from equipoise.models.methods import Method
from equipoise.models.smaller import Smaller, smaller
from equipoise.settings import parse_command_line, resolve
from equipoise.store import Store
from equipoise.stream import ExampleStream, Widths
from equipoise.tables.feature import H_FEATURES
from equipoise.training.checkpoint import put_weights
from equipoise.training.loop import Trained, Training
from equipoise.training.options import Options
from equipoise.training.ranks import alone

Batch = dict[str, torch.Tensor]
STEPS, EVERY, BATCH, SHOWN = 160, 16, 32, 768
COLUMNS = ("user_id", "tokens", "length", "label_counts", "label_value")
FULL, LORA, EVERYWHERE = "full", "lora, attention", "lora, all layers"
METHODS = {
    FULL: Method("full"),
    LORA: Method("lora", lora_rank=8, lora_dropout=0.05),
    EVERYWHERE: Method("lora", lora_rank=4, lora_dropout=0.05, lora_layers="all"),
}
RATES = {FULL: 5e-5, LORA: 1.5e-3, EVERYWHERE: 1.5e-3}
"""Peak rates: by seed 1 the best of (5e-5, 1.5e-4, 5e-4) for full and of (5e-4, 1.5e-3, 5e-3) for LoRA on attention."""

SEEDS = (2, 3)
ATTACKED_STEPS, ATTACKED_SEEDS, ATTACKED_SHOWN = 80, (2,), 320
"""An attack costs up to eight passes, so fewer examples are attacked than shown."""

EPSILON = 0.02
"""By seed 1: at .15 training under attack learns nothing at all."""

RESAMPLES = 1000
ENOUGH = 0.98


@dataclass(frozen=True)
class Data:
    """Batches of the training examples and of the first SHOWN validation examples."""

    train: list[Batch]
    check: list[Batch]
    population: list[float]
    encoder: str

    def of_training(self, seed: int) -> Callable[[int, int], AbstractContextManager[Iterator[Batch]]]:
        @contextmanager
        def opened(epoch: int, skip: int) -> Iterator[Iterator[Batch]]:
            order = np.random.default_rng([seed, epoch]).permutation(len(self.train))
            yield (self.train[i] for i in order[skip:])

        return opened

    @contextmanager
    def of_validation(self) -> Iterator[Iterator[Batch]]:
        yield iter(self.check)


class Run(NamedTuple):
    """One training: (n,) losses of the validation users before and after, seconds a step, and the passes."""

    before: NDArray[np.float64]
    after: NDArray[np.float64]
    step_seconds: float
    trained: Trained
    model: BehaviourModel


def read(store: Store, encoder: str, max_tokens: int) -> Data:
    """The examples, with everything but the text and the labels left out."""
    names = [r["category"] for r in store.read("feature.example_spec").orderBy("position").collect()]
    shares = [r["population_share"] for r in store.read("feature.example_spec").orderBy("position").collect()]
    widths = Widths(max_tokens, len(names), len(H_FEATURES))

    def batches(table: str, size: int) -> list[Batch]:
        files = store.files(table, store.version(table) or 0)
        stream = ExampleStream(
            files, rank=0, world_size=1, batch_size=size, seed=1, epoch=0, widths=widths, columns=COLUMNS, drop_last=True
        )
        with stream as found:
            return [_text_alone(b, len(names)) for b in found]

    check = batches("feature.examples_validation", 64)[: SHOWN // 64]
    return Data(batches("feature.examples", BATCH), check, shares, encoder)


def _text_alone(batch: Batch, categories: int) -> Batch:
    rows = len(batch["tokens"])
    nothing = {
        "prior": (rows, categories),
        "cells": (rows, categories, 11),
        "trends": (rows, categories, 3),
        "features": (rows, 12),
    }
    return batch | {name: torch.zeros(shape) for name, shape in nothing.items()}


def train(data: Data, way: str, rate: float, seed: int, steps: int = STEPS, **more: Any) -> Run:
    """One training, and how it did."""
    method = METHODS[way]
    model = build(
        data.encoder,
        features=len(H_FEATURES),
        population=data.population,
        dirichlet=5.0,
        sharpening=1.0,
        method=method,
        seed=seed,
    )
    model.heads.category.pairs.requires_grad_(False)
    model.encoder.autocast = half_of("auto", "cpu")
    options = Options(
        seed=seed,
        epochs=100,
        batch_size=BATCH,
        learning_rate=rate,
        head_learning_rate=5e-3,
        weight_decay=0.01,
        warmup_share=0.1,
        clip_norm=1.0,
        category_weight=1.0,
        visit_weight=0.0,
        value_weight=1.0,
        next_item_weight=0.0,
        behaviour_weight=0.0,
        evaluations_per_epoch=-(-min(len(data.train), steps) // EVERY),
        patience=1000,
        checkpoint_every=10**9,
        max_seconds=1e9,
        max_steps=steps,
        **more,
    )
    before = losses(model, data)
    training = Training(
        model,
        train_batches=data.of_training(seed),
        validation_batches=data.of_validation,
        steps_per_epoch=len(data.train),
        options=options,
        ranks=alone(),
    )
    found = training.run()
    put_weights(model, found.weights)
    return Run(before, losses(model, data), training._step_seconds / training._steps_here, found, model)


def losses(model: BehaviourModel, data: Data) -> NDArray[np.float64]:
    """(n,) category and value loss of each validation user, nats."""
    model.eval()
    found = []
    with torch.no_grad():
        for batch in data.check:
            rows = row_losses(model(*(batch[n] for n in model.inputs)), batch["label_counts"], batch["label_value"])
            found.append((rows.category + rows.value).double().numpy())
    return np.concatenate(found)


def interval(draw: Callable[[NDArray[np.int64]], float], rows: int) -> tuple[float, float, float]:
    """Value on all rows, and 95 % over resamples of them."""
    random = np.random.default_rng(1)
    drawn = [draw(random.integers(0, rows, rows)) for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return draw(np.arange(rows)), float(low), float(high)


def steps_to(run: Run, gain: float) -> int | None:
    """First pass whose loss lies at least `gain` below the start."""
    first = run.trained.progress.history[0]["loss"]
    return next((int(h["step"]) for h in run.trained.progress.history if first - h["loss"] >= gain), None)


def ways(data: Data) -> dict[str, Run]:
    """LoRA against full fine-tuning; returns the runs of the last seed."""
    runs = {way: [train(data, way, rate, seed) for seed in SEEDS] for way, rate in RATES.items()}
    gains = {way: np.mean([r.before - r.after for r in found], axis=0) for way, found in runs.items()}
    say("\n| way | of what full learns | trainable | a step ÷ full's | steps to 98 % of full's: full, LoRA | time to it ÷ full |")
    say("|---|---|---|---|---|---|")
    for way in (LORA, EVERYWHERE):
        share = interval(lambda i, w=way: float(gains[w][i].mean() / gains[FULL][i].mean()), len(gains[FULL]))
        model = runs[way][0].model
        trainable = sum(p.numel() for n, p in model.trainable() if not n.startswith("heads."))
        whole = sum(p.numel() for p in model.encoder.backbone.parameters()) - trainable
        cells = [f"{share[0]:.3f} [{share[1]:.3f}, {share[2]:.3f}]", f"{trainable / whole:.2%}", *compared(runs[FULL], runs[way])]
        say(f"| {way} | {' | '.join(cells)} |")
    return {way: found[-1] for way, found in runs.items()}


def compared(full: list[Run], lora: list[Run]) -> list[str]:
    """Per seed: seconds a step, steps to ENOUGH of full's fall, and the time to it."""
    steps, reached, took = [], [], []
    for mine, theirs in zip(lora, full, strict=True):
        gain = ENOUGH * (theirs.trained.progress.history[0]["loss"] - theirs.trained.progress.best_loss)
        a, b = steps_to(theirs, gain), steps_to(mine, gain)
        steps.append(f"{mine.step_seconds / theirs.step_seconds:.2f}")
        reached.append(f"{a}, {b or f'not in {STEPS}'}")
        took.append(f"{b * mine.step_seconds / (a * theirs.step_seconds):.2f}" if a and b else "–")
    return [" and ".join(x) for x in (steps, reached, took)]


def attacks(data: Data) -> None:
    """Training under attack against plain training, full fine-tuning."""
    data = replace(data, check=data.check[: ATTACKED_SHOWN // 64])
    say(
        "\n| trained | value right, clean | under fgm | under pgd | loss clean | under fgm | under pgd | seconds a step ÷ plain |"
    )
    say("|---|---|---|---|---|---|---|---|")
    base, plain = 0.0, np.zeros(0)
    for kind in ("none", "fgm", "pgd"):
        asked = {"adversarial": kind, "adversarial_epsilon": EPSILON, "attack_report": True}
        found = [train(data, FULL, RATES[FULL], s, ATTACKED_STEPS, **asked) for s in ATTACKED_SEEDS]
        m = {k: statistics.mean(r.trained.metrics[k] for r in found) for k in found[0].trained.attacked}
        seconds = statistics.mean(r.step_seconds for r in found)
        base = base or seconds
        after = np.mean([r.after for r in found], axis=0)
        plain = after if kind == "none" else plain
        worse = interval(lambda i, d=after - plain: float(d[i].mean()), len(after))
        cells = [m[f"{a}_value_accuracy"] for a in ("clean", "fgm", "pgd")] + [m[f"{a}_loss"] for a in ("clean", "fgm", "pgd")]
        note = "" if kind == "none" else f" ({worse[0]:+.4f} [{worse[1]:.4f}, {worse[2]:.4f}])"
        texts = [f"{c:.3f}" for c in cells]
        texts[3] += note
        say(f"| {kind}, ε {EPSILON} | {' | '.join(texts)} | {seconds / base:.2f} |")


def cheaper(data: Data, run: Run) -> None:
    """Smaller encoders of a trained model: quality kept and users a second, in turns."""
    model = copy.deepcopy(run.model)
    options = {
        "bfloat16": Smaller(),
        "int8": Smaller(int8="on"),
        "5 of 6 layers": Smaller(drop_layers=1),
        "4 of 6 layers": Smaller(drop_layers=2),
        "10 of 12 heads": Smaller(prune_heads=0.2),
        "30 % of the weights 0": Smaller(prune_weights=0.3),
    }
    whole = model.encoder
    rows = torch.cat([b["tokens"][:, :40] for b in data.check[:4]]), torch.cat([b["mask"][:, :40] for b in data.check[:4]])
    made = {"float32": copy.deepcopy(whole)} | {name: smaller(whole, o) for name, o in options.items()}
    made["float32"].autocast = None
    times: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(6):
        for name, encoder in made.items():
            began = time.perf_counter()
            with torch.inference_mode():
                encoder.eval()(*rows)
            times[name].append(time.perf_counter() - began)
    say("\n| encoder | users a second ÷ float32 | ÷ bfloat16 | of what was learnt, kept |")
    say("|---|---|---|---|")
    gain = run.before - run.after
    for name, encoder in made.items():
        model.encoder = encoder
        kept = losses(model, data)
        share = interval(lambda i, k=kept: float((run.before - k)[i].mean() / gain[i].mean()), len(gain))
        speed = [[a / b for a, b in zip(times[o][1:], times[name][1:], strict=True)] for o in ("float32", "bfloat16")]
        told = [f"{statistics.median(s):.2f} ({min(s):.2f} to {max(s):.2f})" for s in speed]
        say(f"| {name} | {told[0]} | {told[1]} | {share[0]:.3f} [{share[1]:.3f}, {share[2]:.3f}] |")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    """Prints the tables."""
    asked = parse_command_line(sys.argv[1:], needs_as_of=True)
    s = asked.settings
    spark = SparkSession.builder.getOrCreate()
    store = Store(spark, str(Path(s.warehouse).resolve()))
    data = read(store, resolve(s.encoder.path, asked.settings_path.resolve().parent), s.encoder.max_tokens)
    spark.stop()
    threads = torch.get_num_threads()
    say(f"{len(data.train) * BATCH:,} training examples, {SHOWN} of validation; {STEPS} steps of {BATCH}, {threads} threads")
    train(data, FULL, 1e-5, 1, steps=2)  # whatever only the first steps of a process cost
    runs = ways(data)
    cheaper(data, runs[FULL])
    attacks(data)


if __name__ == "__main__":
    main()
