"""Another shop: the encoder as fine-tuned on one source, read on MovieLens-100k as it is, beside the untouched encoder.

python -m tests.benchmarks.zero_shot --warehouse warehouse [--model MODEL_ID] [--resamples 2000] [--rows FILE]

Of each user's ratings of 4 and more, in order of time, the last fifth is the truth: how often each genre is there. Genres are
ranked by the cosine of their name with the mean vector of the films before. NDCG@10 with these counts as gains.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from equipoise.evaluate import measured
from equipoise.evaluate.arrays import shares
from equipoise.evaluate.bootstrap import per_user
from equipoise.evaluate.metrics.distribution import graded_ndcg
from equipoise.evaluate.table import Base, Comparison, Method, Row, rows
from equipoise.inference.texts import TextVectors

LIKED, HELD_OUT, K = 4.0, 0.2, 10
MAX_TOKENS = 32
UNTOUCHED, TUNED = "untouched encoder", "fine-tuned encoder"
TASK, WITH_GENRES = "other_shop", "title and genres"

Floats = NDArray[np.float64]


def movielens() -> Path:
    """The folder of MovieLens-100k."""
    found = importlib.util.find_spec("recbole")
    if found is None or found.origin is None:
        raise SystemExit("MovieLens-100k is not here; run bash .ci/movielens.sh first (make bench does)")
    return Path(found.origin).parent / "dataset_example" / "ml-100k"


def films(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ratings that liked (user, item, in order of time per user) and films (item; title, genres)."""
    ratings = pd.read_csv(folder / "ml-100k.inter", sep="\t")
    ratings.columns = pd.Index(["user", "item", "rating", "time"])
    named = pd.read_csv(folder / "ml-100k.item", sep="\t")
    named.columns = pd.Index(["item", "title", "year", "genres"])
    liked = ratings[ratings["rating"] >= LIKED].sort_values(["user", "time", "item"], ignore_index=True)
    return liked, named.assign(genres=named["genres"].fillna("unknown")).set_index("item")


def split(liked: pd.DataFrame) -> NDArray[np.bool_]:
    """Which ratings are the last fifth of their user's; the first of a user never is."""
    nth = liked.groupby("user").cumcount().to_numpy()
    size = liked.groupby("user")["item"].transform("size").to_numpy()
    held: NDArray[np.bool_] = (nth >= np.ceil(size * (1 - HELD_OUT))) & (nth > 0)
    return held


def compared(encoders: dict[str, TextVectors], resamples: int, folder: Path) -> list[Row]:
    """Every encoder and what counting genres would say, by two texts: the title with its genres, and the title alone."""
    liked, named = films(folder)
    genres = named["genres"].str.get_dummies(" ").sort_index(axis=1)
    later = split(liked)
    users, user = np.unique(liked["user"].to_numpy(), return_inverse=True)
    place = named.index.get_indexer(liked["item"])

    def summed(rows_of: Floats, kept: NDArray[np.bool_]) -> Floats:
        out = np.zeros((len(users), rows_of.shape[1]))
        np.add.at(out, user[kept], rows_of[place[kept]])
        return out

    each = genres.to_numpy(np.float64)
    truth = summed(each, later)
    tested = np.flatnonzero(truth.sum(axis=1) > 0)
    wanted = shares(truth)[tested]
    out: list[Row] = []
    texts = {
        WITH_GENRES: (named["title"] + ", " + named["genres"].str.replace(" ", ", ")).tolist(),
        "title alone": named["title"].tolist(),
    }
    for text, written in texts.items():
        scores = {"genres counted": summed(each, ~later), "popular genres": np.tile(each[place[~later]].sum(0), (len(users), 1))}
        for name, encoder in encoders.items():
            mean = summed(encoder.encode(written, MAX_TOKENS).astype(np.float64), ~later)
            mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
            scores[name] = mean @ encoder.encode(list(genres.columns), MAX_TOKENS).astype(np.float64).T
        told = {n: (per_user("ndcg", graded_ndcg(wanted, s[tested], K), K),) for n, s in scores.items()}
        methods = [Method(n, (m,), 1 if n in encoders and n != UNTOUCHED else None) for n, m in told.items()]
        base = Base.of(users, resamples, 1)
        whole = Comparison(TASK, text, tested, tuple(methods), UNTOUCHED)
        out += rows(whole, resamples=resamples, seed=1, base=base)
    return out


def table(found: list[Row], of: str) -> None:
    """Prints a line per text and method."""
    told = {(r.origin, r.method, r.metric): r for r in found}
    minus = f"ndcg_minus_{UNTOUCHED}"
    sys.stdout.write(f"\nMovieLens-100k, {found[0].n:,} users, NDCG@{K} of genres; {of}\n\n")
    sys.stdout.write(f"| item text | method | NDCG@{K} | − {UNTOUCHED} |\n|---|---|---|---|\n")
    for task, method in dict.fromkeys((r.origin, r.method) for r in found):
        cells = [told.get((task, method, metric)) for metric in ("ndcg", minus)]
        shown = [f"{r.value:.4f} [{r.ci_low:.4f}, {r.ci_high:.4f}]" if r and r.ci_low is not None else "" for r in cells]
        sys.stdout.write(f"| {task} | {method} | {' | '.join(shown)} |\n")


def main() -> None:
    """Prints the table."""
    from equipoise.settings.model import resolve
    from equipoise.training.registry import Registry
    from tests.small_models import MINILM

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--warehouse", default="warehouse")
    parser.add_argument("--model", help="a model id of the warehouse; else CURRENT")
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--rows", help="also writes rows of gold.evaluation, for evaluate.measured")
    asked = parser.parse_args()
    registry = Registry.of(asked.warehouse)
    model = asked.model or registry.current()
    if model is None:
        raise SystemExit(f"no model in {asked.warehouse!r}; run make demo first, or name another --warehouse")
    how = {"device": torch.device("cpu"), "bfloat16": False, "tokens_per_batch": 8192}
    paths = {UNTOUCHED: resolve(MINILM, Path()), TUNED: registry.path(model) / "encoder"}
    found = compared({name: TextVectors.pretrained(path, **how) for name, path in paths.items()}, asked.resamples, movielens())  # type: ignore[arg-type]
    if asked.rows:
        measured.write(asked.rows, [r for r in found if r.origin == WITH_GENRES])
    table(found, f"model {model}")


if __name__ == "__main__":
    main()
