"""Balance on MovieLens-100k, and what it costs: the frontier of every way to balance, and speeds as ratios in one run.

python -m tests.benchmarks.balance [--splits 5] [--resamples 2000] [--only frontier|rerank|nearest]
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from equipoise.recommend.choose import Reranking, Way, choose
from equipoise.recommend.cosine import nearest
from equipoise.recommend.divergence import divergence_bits
from equipoise.recommend.weight import personal
from tests.unit.recommend.reference import greedy, interchange
from tests.unit.recommend.rivals import Item

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

K, CANDIDATES, PENALTY, ALPHA = 10, 200, 300.0, 0.01
DISCOUNT = 1 / np.log2(np.arange(2, K + 2))
WEIGHTS = np.round(np.arange(0.0, 0.95, 0.025), 3)
FEW_WEIGHTS = np.array([0.0, 0.3, 0.5, 0.65])
"""λ of the way by flow, which takes as long for one of them as the others for all."""
LOSSES = (0.01, 0.03, 0.05)


@dataclass(frozen=True)
class Problem:
    """Users with held-out items: candidates by falling score, their genres as rerank_user_block wants them, target,
    tilt of λ as `weight.tilts` makes it from ratings, truth."""

    items: Ints
    relevance: Floats
    categories: Ints
    weights: Floats
    dense: Floats
    target: Floats
    tilt: Floats
    hits: Bools
    held_out: Ints

    def take(self, users: slice) -> tuple[Floats, Ints, Floats, Floats]:
        """What the re-ranking is given of some users."""
        return self.relevance[users], self.categories[users], self.weights[users], self.target[users]


def say(text: str) -> None:
    """A line of the report."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def movielens() -> tuple[Ints, Ints, Floats]:
    """User and item of each rating, and the genres of the items (i, c), equal parts that sum to 1."""
    found = importlib.util.find_spec("recbole")
    if found is None or found.origin is None:
        raise SystemExit("MovieLens-100k is not here; run bash .ci/movielens.sh first (make bench does)")
    folder = Path(found.origin).parent / "dataset_example" / "ml-100k"
    ratings = pd.read_csv(folder / "ml-100k.inter", sep="\t")
    films = pd.read_csv(folder / "ml-100k.item", sep="\t").set_index("item_id:token")["class:token_seq"]
    user, _ = pd.factorize(ratings["user_id:token"], sort=True)
    item, names = pd.factorize(ratings["item_id:token"], sort=True)
    genres = films.reindex(names).fillna("unknown").str.get_dummies(" ").to_numpy(np.float64)
    return user, item, genres / genres.sum(axis=1, keepdims=True)


def problem(user: Ints, item: Ints, genres: Floats, seed: int) -> Problem:
    """A tenth of each user's ratings, drawn by seed, is held out; EASE (Steck 2019) on the rest scores what the user has not."""
    random, users, items = np.random.default_rng(seed), int(user.max()) + 1, int(item.max()) + 1
    test = np.zeros(len(user), dtype=bool)
    for u in range(users):
        rows = random.permutation(np.flatnonzero(user == u))
        test[rows[: len(rows) // 10]] = True
    seen, truth = np.zeros((users, items)), np.zeros((users, items), dtype=bool)
    seen[user[~test], item[~test]], truth[user[test], item[test]] = 1.0, True
    gram = seen.T @ seen + PENALTY * np.eye(items)
    inverse = np.linalg.inv(gram)
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    scores = np.where(seen > 0, -np.inf, seen @ weights)
    top = np.argsort(-scores, axis=1, kind="stable")[:, :CANDIDATES]
    target = seen @ genres
    share = target / target.sum(axis=1, keepdims=True)
    rated, bits = target.sum(axis=1), -np.where(share > 0, share * np.log2(np.where(share > 0, share, 1.0)), 0.0).sum(axis=1)
    wide = rated / (rated + np.median(rated)) * bits / np.log2((target > 0).any(axis=0).sum())
    depth = int((genres > 0).sum(axis=1).max())
    places = np.argsort(-genres, axis=1, kind="stable")[:, :depth]
    return Problem(
        items=top,
        relevance=np.take_along_axis(scores, top, axis=1),
        categories=places[top],
        weights=np.take_along_axis(genres, places, axis=1)[top],
        dense=genres[top],
        target=share,
        tilt=wide - wide.mean(),
        hits=np.take_along_axis(truth, top, axis=1),
        held_out=truth.sum(axis=1),
    )


def accuracy(p: Problem, chosen: Ints) -> Floats:
    """(u,) NDCG@10, ideal of min(held out, 10) items."""
    ideal = np.cumsum(DISCOUNT)[np.minimum(p.held_out, K) - 1]
    value: Floats = (np.take_along_axis(p.hits, chosen, axis=1) * DISCOUNT).sum(axis=1) / ideal
    return np.where(p.held_out > 0, value, np.nan)


def divergence(p: Problem, chosen: Ints) -> Floats:
    """(u,) KL of target and list in nats, as the re-ranking smooths it."""
    shares = np.take_along_axis(p.dense, chosen[:, :, None], axis=1).mean(axis=1)
    return np.log(2.0) * divergence_bits(p.target, shares, ALPHA)


Choice = Callable[[Problem, float], Ints]


def chosen(told: tuple[Floats, Ints, Floats, Floats], way: Way, weight: Floats) -> Ints:
    """(u, K) places."""
    return choose(told, way, weight, np.full(len(weight), K), None)[0]


def in_order(p: Problem, weight: float) -> Ints:
    """Steck 2018, in the order of the choice."""
    return chosen(p.take(slice(None)), Way("greedy", "kl", ALPHA), np.full(len(p.tilt), weight))


def published(rerank: Reranking, divergence: Literal["kl", "js"] = "kl", own: bool = False) -> Choice:
    """What recommend.rerank = "…" publishes: the most relevant of the list first."""

    def run(p: Problem, weight: float) -> Ints:
        each = personal(weight, p.tilt) if own else np.full(len(p.tilt), weight)
        return np.sort(chosen(p.take(slice(None)), Way(rerank, divergence, ALPHA), each), axis=1)

    return run


STECK = "greedy (Steck 2018), order of the choice"
WAYS: dict[str, tuple[Choice, Floats]] = {
    STECK: (in_order, WEIGHTS),
    "greedy": (published("greedy"), WEIGHTS),
    "interchange (published)": (published("interchange"), WEIGHTS),
    "interchange, JS": (published("interchange", "js"), WEIGHTS),
    "interchange, personal λ": (published("interchange", own=True), WEIGHTS),
    "quota": (published("quota"), WEIGHTS),
    "xQuAD by genre": (published("xquad"), WEIGHTS),
    "MMR by genre": (published("mmr"), WEIGHTS),
    "flow": (published("flow"), FEW_WEIGHTS),
}


def of_split(seed: int) -> dict[str, Floats]:
    """Per way (λ, 2, u): accuracy and divergence of every user's list. One thread."""
    with threadpool_limits(1):
        p = problem(*movielens(), seed)
        return {
            way: np.stack([[accuracy(p, x), divergence(p, x)] for x in (choice(p, float(w)) for w in weights)])
            for way, (choice, weights) in WAYS.items()
        }


def frontier(splits: int, resamples: int) -> None:
    """Prints, per way, the divergence at the strongest λ whose loss of NDCG stays inside 1, 3 and 5 %, and the area."""
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as pool:
        work = {pool.submit(of_split, seed): seed for seed in range(1, splits + 1)}
        for n, one in enumerate(as_completed(work), start=1):
            one.result()
            sys.stderr.write(f"  {n} of {splits} splits done\n")
    found = [one.result() for one in work]
    per_user = {way: np.nanmean(np.stack([one[way] for one in found]), axis=0) for way in WAYS}
    base = per_user[STECK][0]
    known = ~np.isnan(base[0])
    say(
        f"\nMovieLens-100k, {known.sum()} users, {splits} random splits 8:1:1 (train and validation fitted), EASE {PENALTY:g}, "
        f"top {CANDIDATES}, K = {K}. λ = 0: NDCG@10 {base[0][known].mean():.4f}, KL {base[1][known].mean():.3f} nats"
    )
    draws = np.random.default_rng(1).integers(0, known.sum(), size=(resamples, int(known.sum())))
    say(f"| way | {' | '.join(f'at -{loss:.0%}: λ, loss [95 %], KL [95 %]' for loss in LOSSES)} | area |")
    say(f"|---|{'---|' * (len(LOSSES) + 1)}")
    for way, values in per_user.items():
        cells = [_at(values[:, :, known], WAYS[way][1], base[:, known], loss, draws) for loss in LOSSES]
        say(f"| {way} | {' | '.join(cells)} | {_area(values[:, :, known].mean(axis=2), base[:, known].mean(axis=1)):.3f} |")


def _at(values: Floats, weights: Floats, base: Floats, loss: float, draws: Ints) -> str:
    lost = 1 - values[:, 0].mean(axis=1) / base[0].mean()
    inside = int(np.flatnonzero(lost <= loss).max(initial=0))
    relative = [1 - values[inside, 0][d].mean() / base[0][d].mean() for d in draws]
    nats = [values[inside, 1][d].mean() for d in draws]
    low, high = np.percentile(relative, [2.5, 97.5])
    first, last = np.percentile(nats, [2.5, 97.5])
    return (
        f"{weights[inside]:g}, {lost[inside]:.2%} [{low:.2%}, {high:.2%}], "
        f"{values[inside, 1].mean():.3f} [{first:.3f}, {last:.3f}]"
    )


def _area(means: Floats, base: Floats) -> float:
    """Part of the rectangle between 90 and 100 % of the accuracy and no divergence and that of λ = 0 that some λ dominates."""
    grid = np.linspace(0.9, 1.0, 201)
    share = [1 - min((k for n, k in means if n >= g * base[0]), default=base[1]) / base[1] for g in grid]
    return float(np.clip(share, 0.0, 1.0).mean())


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _plain(p: Problem, users: int, choice: Callable[..., list[Item]]) -> list[list[int]]:
    out = []
    for u in range(users):
        items = [
            Item(str(n), {str(c): w for c, w in zip(p.categories[u, n], p.weights[u, n], strict=True) if w}, relevance=r)
            for n, r in enumerate(p.relevance[u])
        ]
        best = choice(items, {str(c): t for c, t in enumerate(p.target[u])}, K, 0.3, ALPHA)
        out.append(sorted(int(i.item_id) for i in best))
    return out


def reranking(repeats: int) -> None:
    """Prints block against plain loop, users a second, and time and memory at 1, 4 and 16 times the users. One thread."""
    user, item, genres = movielens()
    p = problem(user, item, genres, 1)

    def ours(users: int, way: Reranking) -> list[list[int]]:
        lists = chosen(p.take(slice(0, users)), Way(way, "kl", ALPHA), np.full(min(users, len(p.tilt)), 0.3))
        return [sorted(x) for x in lists.tolist()]

    ways: tuple[tuple[Reranking, Callable[..., list[Item]], int], ...] = (("greedy", greedy, 24), ("interchange", interchange, 4))
    for name, choice, few in ways:
        if _plain(p, few, choice) != ours(few, name):
            raise SystemExit(f"{name}: the plain loop and the block choose different lists")
        ratios, speeds = [], []
        for _ in range(repeats):
            slow, fast = seconds(partial(_plain, p, few, choice)) / few, seconds(partial(ours, 512, name)) / 512
            ratios.append(slow / fast)
            speeds.append(1 / fast)
        say(
            f"{name}, {CANDIDATES} candidates, K = {K}, λ = .3, one thread: {_spread(ratios, 0)} times a plain loop "
            f"per user (same lists); {statistics.median(speeds):,.0f} users a second and core"
        )
    others: tuple[tuple[Reranking, int], ...] = (("quota", 512), ("xquad", 512), ("mmr", 512), ("flow", 64))
    speeds = [f"{way} {users / seconds(partial(ours, users, way)):,.0f}" for way, users in others]
    say(f"the same of other ways, users a second and core, one run: {', '.join(speeds)}")
    sizes = []
    for factor in (1, 4, 16):
        tracemalloc.start()
        took = seconds(partial(lambda n: [ours(512, "interchange") for _ in range(n)], factor))
        sizes.append((factor, took, tracemalloc.get_traced_memory()[1] / 2**20))
        tracemalloc.stop()
    say(", ".join(f"{n} blocks of 512: {t / sizes[0][1]:.1f} × the time, peak {m:.0f} MiB" for n, t, m in sizes))


def neighbours(repeats: int) -> None:
    """Prints exact top-K against faiss's flat inner product: one thread, the same vectors."""
    try:
        import faiss
    except ImportError:
        say("faiss is not here: bash .ci/bench.sh installs it")
        return
    random = np.random.default_rng(1)
    users, texts = (random.normal(size=(n, 384)).astype(np.float32) for n in (2048, 16_384))
    for part in (users, texts):
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    index = faiss.IndexFlatIP(384)
    index.add(texts)
    faiss.omp_set_num_threads(1)
    doubles = users.astype(np.float64), texts.astype(np.float64)
    one_each = np.arange(len(texts))
    mine, theirs = nearest(*doubles, one_each, 50)[0], index.search(users, 50)[1]
    same = np.mean([len(set(a) & set(b)) / 50 for a, b in zip(mine, theirs, strict=True)])
    ratios = [seconds(lambda: index.search(users, 50)) / seconds(lambda: nearest(*doubles, one_each, 50)) for _ in range(repeats)]
    say(
        f"exact top 50 of 16,384 vectors of 384 numbers, 2,048 users, one thread: {_spread(ratios, 2)} of faiss's flat index in "
        f"users a second; {same:.2%} of the items the same"
    )


def _spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def main() -> None:
    """Runs what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=("frontier", "rerank", "nearest"))
    asked = parser.parse_args()
    if asked.only in (None, "frontier"):
        frontier(asked.splits, asked.resamples)
    with threadpool_limits(1):
        if asked.only in (None, "rerank"):
            reranking(asked.repeats)
        if asked.only in (None, "nearest"):
            neighbours(asked.repeats)


if __name__ == "__main__":
    main()
