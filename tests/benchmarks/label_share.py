"""Quality with 1, 10 and 100 % of the labels: what counts alone say, boosted trees, and the text, frozen and fine-tuned.

python -m tests.benchmarks.label_share --data examples.npz [--users 1024] [--steps 200] [--seeds 1] [--device cuda]
    [--encoder trained-further=DIR …] [--shares 1,10,100] [--rows FILE]          (tests.benchmarks.examples writes the data)

Labels are of users: a share of the households, by a hash, is labelled at every cut before the newest, and a fifth of those
chooses how long to train. Everybody's history is known at every share. All methods are judged on the windows after the newest
cut, on the same users, labelled or not. Each encoder named (one that was trained further on the shop's texts, one after a
contrastive objective) is used both ways beside the untouched one. Differences from counts alone are paired, 95 % over
households; with several seeds losses are means over them.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.special import xlogy
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import log_loss, mean_poisson_deviance

from equipoise.evaluate import measured
from equipoise.evaluate.bootstrap import per_user
from equipoise.evaluate.metrics import pooled
from equipoise.evaluate.metrics.distribution import smoothed
from equipoise.evaluate.table import Base, Comparison, Method, Row, rows
from equipoise.models.fit_pairs import start_counted
from equipoise.models.heads import signed_log1p
from equipoise.models.methods import Method as Way
from equipoise.settings.model import resolve
from equipoise.training.held_out_users import HeldOut
from tests.benchmarks.examples import Examples, Ints, load, sampled
from tests.benchmarks.learn import Begun, Floats, Labels, Said, asked, counted, heads_of, mean_of, model_of, population, train
from tests.small_models import MINILM

COUNTS, TREES, UNTOUCHED = "counts alone", "boosted trees", "untouched"
MOST_PAIRS = 300_000
"""User × category pairs that boosted trees learn from."""

STAGES = (10, 20, 40, 80, 150)
"""Trees that the rows to choose by choose among."""

WAYS = {"frozen": Way("frozen"), "fine-tuned": Way("lora", lora_rank=8, lora_dropout=0.05)}
RESAMPLES = 1000


def labelled(of: Examples, share: float, seed: int) -> Labels:
    """Rows of `share` per cent of the users before the newest cut; a fifth of these users, one at least, is for choosing."""
    earlier = of.cut < len(of.days) - 1
    held = HeldOut(share / 100, 1).holds(bytes(u).hex() for u in of.columns["user_id"])
    own = np.flatnonzero(earlier & held)
    users = np.random.default_rng(seed).permutation(np.unique(of.user[own]))
    chooses = np.isin(of.user[own], users[: max(1, len(users) // 5)])
    return Labels(own[~chooses], own[chooses])


def boosted(of: Examples, begun: Begun, labels: Labels, judged: Ints, seed: int) -> Said:
    """Trees on the pair network's own inputs and the explicit features: a chance of a visit, and expected events as shares."""
    heads = heads_of(of, 0, begun.statistics, begun.prior)
    start_counted(heads, begun.state)  # for the item-item weights behind two of the inputs
    rng, width = np.random.default_rng(seed), len(of.population)
    most = max(1, MOST_PAIRS // width)
    learn = labels.learn if len(labels.learn) <= most else rng.choice(labels.learn, most, replace=False)

    def inputs(part: Ints) -> Floats:
        found = []
        for batch in of.batches(part, 128):
            with torch.no_grad():
                pair = heads.category.pairs.inputs(batch["cells"], batch["trends"])
            own = signed_log1p(batch["features"]).unsqueeze(1).expand(-1, width, -1)
            prior = batch["prior"].log1p().unsqueeze(-1)
            found.append(torch.cat([pair, prior, own], dim=-1).flatten(0, 1).numpy())
        return np.concatenate(found).astype(np.float32)

    counts = of.columns["label_counts"]
    x, y = inputs(learn), counts[learn].ravel()
    how = {"max_iter": max(STAGES), "learning_rate": 0.06, "max_leaf_nodes": 31, "l2_regularization": 1.0, "random_state": seed}
    weights = np.repeat(1.0 / np.maximum(counts[learn].sum(1), 1.0), width)  # each window counts once, as in shares
    visits = HistGradientBoostingClassifier(**how).fit(x, y > 0)
    events = HistGradientBoostingRegressor(loss="poisson", **how).fit(x, y, sample_weight=weights)
    check = labels.choose[:128]
    asked_of, truth = inputs(check), counts[check].ravel()
    lost = [log_loss(truth > 0, p[:, 1]) for p in visits.staged_predict_proba(asked_of)]
    missed = [mean_poisson_deviance(truth, np.maximum(p, 1e-9)) for p in events.staged_predict(asked_of)]
    if min(map(len, (lost, missed))) == max(STAGES):
        best = [min(STAGES, key=lambda n, of=of: of[n - 1]) for of in (lost, missed)]
        visits = HistGradientBoostingClassifier(**how | {"max_iter": best[0]}).fit(x, y > 0)
        events = HistGradientBoostingRegressor(loss="poisson", **how | {"max_iter": best[1]}).fit(x, y, sample_weight=weights)
    parts = [inputs(judged[i : i + 256]) for i in range(0, len(judged), 256)]
    chance = np.concatenate([visits.predict_proba(p)[:, 1] for p in parts]).reshape(-1, width)
    expected = np.concatenate([events.predict(p) for p in parts]).reshape(-1, width)
    return _said(of, judged, smoothed(expected / expected.sum(1, keepdims=True)), np.clip(chance, 1e-7, 1 - 1e-7))


def _said(of: Examples, judged: Ints, share: Floats, chance: Floats) -> Said:
    counts = of.columns["label_counts"][judged].astype(np.float64)
    total = counts.sum(1)
    truth = counts / np.where(total > 0, total, np.nan)[:, None]
    bits = -(truth * np.log2(share)).sum(1)
    lost = -np.where(counts > 0, np.log2(chance), np.log2(1 - chance)).sum(1)
    return Said(share, chance, bits, lost)


def methods(of: Examples, labels: Labels, judged: Ints, ask: argparse.Namespace, seed: int) -> dict[str, Said]:
    """Every method once."""
    began = time.monotonic()
    begun = counted(of, labels, seed, ask.pair_steps)
    heads = heads_of(of, 0, begun.statistics, begun.prior)
    start_counted(heads, begun.state)
    found = {COUNTS: asked(heads, of, judged)}
    _say(f"  {COUNTS}: {time.monotonic() - began:.0f} s")
    found[TREES] = boosted(of, begun, labels, judged, seed)
    _say(f"  {TREES}: {time.monotonic() - began:.0f} s")
    for name, path in ask.encoders.items():
        for way, method in WAYS.items():
            model = model_of(of, begun, path, method, seed).to(ask.device)
            if ask.device == "cuda":
                model.encoder.autocast = torch.bfloat16
            step = train(model, of, labels, steps=ask.steps, every=ask.every, seed=seed, device=ask.device)
            found[f"{name}, {way}"] = asked(model, of, judged, ask.device)
            _say(f"  {name}, {way}: best after step {step} of {ask.steps}, {time.monotonic() - began:.0f} s")
    return found


def compared(of: Examples, judged: Ints, found: dict[str, list[Said]], share: int) -> list[Row]:
    """Losses and average precision at one share, with differences from counts alone; `cutoff` is the share in per cent."""
    counts = of.columns["label_counts"][judged]
    truth = counts / np.maximum(counts.sum(1, keepdims=True), 1e-12)
    entropy = -(xlogy(truth, truth) / np.log(2)).sum(1)
    out = []
    for name, runs in found.items():
        one = mean_of(runs)
        pair = pooled.binned(counts > 0, one.visits, np.ones(counts.shape, dtype=bool))
        values = (
            per_user("kl_bits", one.category_bits - entropy, share),
            per_user("visit_bits", one.visit_bits, share),
            replace(per_user("ap", one.visit_bits, share), statistic=pooled.average_precision, arrays=pair),
        )
        out.append(Method(name, (values,), len(runs)))
    users = np.unique(of.user[judged], return_inverse=True)[1].astype(np.int64)
    whole = Comparison("label_share", "validation", users, tuple(out), COUNTS, split="validation")
    base = Base.of(np.unique(of.user[judged]), RESAMPLES, 1)
    return rows(whole, resamples=RESAMPLES, seed=1, base=base)


def main() -> None:
    """Prints a table per share."""
    ask = _asked()
    of = load(ask.data)
    of = replace(of, population=population(of))
    newest = np.flatnonzero(of.cut == len(of.days) - 1)
    judged = np.sort(np.random.default_rng(1).permutation(newest)[: ask.users])
    of = sampled(of, ask.most_users, 1) if ask.most_users else of
    if ask.most_users:
        newest = np.flatnonzero(of.cut == len(of.days) - 1)
        judged = np.sort(np.random.default_rng(1).permutation(newest)[: ask.users])
    told: list[Row] = []
    for share in ask.shares:
        labels = [labelled(of, share, seed) for seed in range(1, ask.seeds + 1)]
        sizes = f"{len(labels[0].learn):,} examples learnt from, {len(labels[0].choose):,} to choose by"
        _say(f"{share} % of the users labelled: {sizes}")
        each = [methods(of, mine, judged, ask, seed) for seed, mine in enumerate(labels, start=1)]
        told += compared(of, judged, {name: [one[name] for one in each] for name in each[0]}, share)
    _table(told, ask.shares, len(judged), ask.seeds)
    if ask.rows:
        measured.write(ask.rows, told)


def _table(told: list[Row], shares: list[int], users: int, seeds: int) -> None:
    at = {(r.method, r.metric, r.cutoff): r for r in told}
    _say(f"\n{users:,} users judged on the windows after the newest cut, {seeds} seed(s)\n")
    _say("| labels | method | KL bits | − counts | visits, bits | − counts | AP | − counts |\n|---|---|---|---|---|---|---|---|")
    for share in shares:
        for name in dict.fromkeys(r.method for r in told if r.cutoff == share):
            cells = []
            for metric in ("kl_bits", "visit_bits", "ap"):
                gap = at.get((name, f"{metric}_minus_{COUNTS}", share))
                cells.append(f"{at[name, metric, share].value:.4f}")
                cells.append("" if gap is None else f"{gap.value:+.4f} [{gap.ci_low:+.4f}, {gap.ci_high:+.4f}]")
            _say(f"| {share} % | {name} | {' | '.join(cells)} |")


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True, help="arrays that tests.benchmarks.examples wrote")
    parser.add_argument("--users", type=int, default=1024, help="households judged, at most")
    parser.add_argument("--most-users", type=int, default=0, help="households there are at all; 0: every one")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--every", type=int, default=40, help="steps between looks at the rows to choose by")
    parser.add_argument("--pair-steps", type=int, default=1200)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--encoder", action="append", default=[], help="NAME=DIR of another encoder, one trained further say")
    parser.add_argument("--untouched", default=MINILM, help="directory of the untouched encoder")
    parser.add_argument("--shares", default="1,10,100", help="per cent of the users")
    parser.add_argument("--rows", default="", help="also writes rows of gold.evaluation, a JSON a line")
    ask = parser.parse_args()
    named = dict(one.split("=", 1) for one in ask.encoder)
    ask.encoders = {name: resolve(path, Path()) for name, path in {UNTOUCHED: ask.untouched, **named}.items()}
    ask.shares = [int(s) for s in ask.shares.split(",")]
    return ask


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
