"""Incremental training against full training: what is forgotten of old windows, and what is gained on the newest and the next.

python -m tests.benchmarks.forgetting --data examples.npz [--steps 200] [--seeds 1] [--device cuda] [--old-users 512]
    (tests.benchmarks.examples writes the data)

A model is trained on all cuts but the last two. Then the cut after them becomes known, and it is brought up to date in four
ways: anew on all cuts; going on from its weights on all cuts; going on on the newest cut alone; anew on the newest cut alone.
Counts are fitted anew on what each way reads, as finetune_encoder does it with training.warm_start. All are judged on households
that no training saw: on the old windows, on the newest one, and on the next, which nothing has seen. Forgetting is the loss on
old windows less that of the model before; paired, 95 % over households.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from equipoise.evaluate.bootstrap import interval, per_user, resampled
from equipoise.models import BehaviourModel
from equipoise.models.methods import Method
from equipoise.settings.model import resolve
from equipoise.training.held_out_users import HeldOut
from tests.benchmarks.examples import Examples, Ints, load
from tests.benchmarks.learn import Labels, Said, asked, counted, mean_of, model_of, population, train
from tests.small_models import MINILM

BEFORE = "before, without the newest cut"
WAYS = {
    "anew on all cuts": (False, False),
    "going on, on all cuts": (True, False),
    "going on, on the newest cut": (True, True),
    "anew on the newest cut": (False, True),
}
"""Way → (whether it begins with the earlier weights, whether it reads the newest cut alone)."""

LORA = Method("lora", lora_rank=8, lora_dropout=0.05)
RESAMPLES = 1000


class Judged(NamedTuple):
    """Rows of households that no training saw, by what their windows are."""

    old: Ints
    newest: Ints
    following: Ints


def parts(of: Examples, old_users: int) -> tuple[NDArray[np.bool_], Judged]:
    """Which rows may be learnt from, and what is judged."""
    held = HeldOut(0.2, 1).holds(bytes(u).hex() for u in of.columns["user_id"])
    last = len(of.days) - 1
    old = np.random.default_rng(1).permutation(np.flatnonzero(held & (of.cut < last - 1)))[:old_users]
    return ~held, Judged(np.sort(old), np.flatnonzero(held & (of.cut == last - 1)), np.flatnonzero(held & (of.cut == last)))


def labels_of(of: Examples, rows: Ints, seed: int) -> Labels:
    """A tenth of the users is for choosing."""
    users = np.random.default_rng(seed).permutation(np.unique(of.user[rows]))
    chooses = np.isin(of.user[rows], users[: max(1, len(users) // 10)])
    return Labels(rows[~chooses], rows[chooses])


def carried(into: BehaviourModel, earlier: BehaviourModel) -> None:
    """What training changes of the earlier model; counts stay those of `into`."""
    into.load_state_dict({name: p.detach() for name, p in earlier.trainable()}, strict=False)


def run(of: Examples, judged: Judged, free: NDArray[np.bool_], ask: argparse.Namespace, seed: int) -> dict[str, list[Said]]:
    """What each way says of the three kinds of windows."""
    last, encoder, found = len(of.days) - 1, resolve(ask.encoder, Path()), {}
    earlier: BehaviourModel | None = None
    for name, (warm, alone) in {BEFORE: (False, False), **WAYS}.items():
        began = time.monotonic()
        until = last - 1 if name == BEFORE else last
        rows = np.flatnonzero(free & (of.cut < until) & ((of.cut == last - 1) | (not alone)))
        labels = labels_of(of, rows, seed)
        model = model_of(of, counted(of, labels, seed, ask.pair_steps), encoder, LORA, seed).to(ask.device)
        if ask.device == "cuda":
            model.encoder.autocast = torch.bfloat16
        if warm and earlier is not None:
            carried(model, earlier)
        step = train(model, of, labels, steps=ask.steps, every=ask.every, seed=seed, device=ask.device)
        found[name] = [asked(model, of, part, ask.device) for part in judged]
        earlier = model if name == BEFORE else earlier
        _say(f"  {name}: {len(labels.learn):,} examples, best after step {step}, {time.monotonic() - began:.0f} s")
    return found


def told(of: Examples, judged: Judged, found: dict[str, list[Said]]) -> None:
    """A table per loss: the loss on each kind of window, and its difference from the model before and from training anew."""
    anew = next(iter(WAYS))
    for loss, words in (("category_bits", "category loss, bits"), ("visit_bits", "visits, bits")):
        _say(f"\n| {words} | windows | rows | loss | − before | − anew on all cuts |\n|---|---|---|---|---|---|")
        for name in found:
            for place, kind in enumerate(Judged._fields):
                mine, rows = getattr(found[name][place], loss), judged[place]
                cells = [f"{np.nanmean(mine):.4f}"]
                for other in (BEFORE, anew):
                    cells.append("" if other == name else _gap(of, rows, mine - getattr(found[other][place], loss)))
                _say(f"| {name} | {kind} | {len(rows):,} | {' | '.join(cells)} |")


def _gap(of: Examples, rows: Ints, values: NDArray[np.float64]) -> str:
    unit = np.unique(of.user[rows], return_inverse=True)[1].astype(np.int64)
    ends = interval(resampled([per_user("gap", values)], unit, RESAMPLES, 1)[:, 0])
    return f"{np.nanmean(values):+.4f}" + (f" [{ends[0]:+.4f}, {ends[1]:+.4f}]" if ends else "")


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True, help="arrays that tests.benchmarks.examples wrote")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--every", type=int, default=40)
    parser.add_argument("--pair-steps", type=int, default=1200)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--old-users", type=int, default=512, help="rows of old windows that are judged, at most")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--encoder", default=MINILM)
    ask = parser.parse_args()
    of = load(ask.data)
    of = replace(of, population=population(of))
    free, judged = parts(of, ask.old_users)
    _say(f"{len(of.days)} cuts; judged on {', '.join(f'{len(r):,} rows ({k})' for k, r in judged._asdict().items())}")
    runs = [run(of, judged, free, ask, seed) for seed in range(1, ask.seeds + 1)]
    told(of, judged, {name: [mean_of([r[name][i] for r in runs]) for i in range(len(judged))] for name in runs[0]})


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
