"""What the pair model's benchmark reads, out of a warehouse with vectors of the date: one .npz file.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults --driver-memory 3g tests/benchmarks/pair_export.py \\
    --settings conf/demo.toml --as-of 2017-11-06     (after make demo; writes .gpu/pairs/pairs.npz)

Rows are user × item on a shortlist: the SHORTLIST candidates of the value model with the highest chance to be in the next trip,
at as_of and at the earlier cuts that it learns from; candidates of history and popularity, the sources that it has at every
cut. What the trees say is said at as_of by those that value_items learns at the cuts before, and at these by trees that have
not seen the user (two folds of users). Arrays, n rows, u users:

user, item, cut   (n,) places; cut counts the dates of `cuts`, the last is as_of
label             (n,) the item is in the first trip from the cut on, within the horizon
told              (n,) the user had such a trip
logit             (n,) log odds of the trees
features          (n, F) float16, NaN for null; names in feature_names
counted           (n, 3) float32, neighbours, ease, svd: what users with the same items say, from visits before the cut
published_cosine  (n,) at as_of, of the published user and item vectors; NaN elsewhere
user_text         (n,) place in user_texts, of the user at the cut;  item_text: (n,) place in item_texts
new               (n,) the user never had the item
size, fold        (u,) items in the first trip after as_of, 0: none; (u,) fold of the user
user_texts, item_texts, cuts, feature_names: UTF-8 bytes, one text a line
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from scipy.sparse import csr_matrix
from sklearn.decomposition import TruncatedSVD

from equipoise.evaluate.baselines.pairs import ease
from equipoise.features import build
from equipoise.features.sequences import latest
from equipoise.job.recipe import recipe
from equipoise.recommend.learn import NEXT, fit
from equipoise.recommend.neighbours import ITEMS_PER_USER, MIN_USERS, NEIGHBOURS, SHRINK
from equipoise.recommend.pairs import FEATURES
from equipoise.recommend.rules import shown_only
from equipoise.recommend.values import Inputs, Limits, Valuation, matrix, outcomes
from equipoise.settings import chosen, parse_command_line
from equipoise.store import Store

SHORTLIST = 50
EXAMPLES = 600_000
"""Candidates at most, over all cuts; households are sampled (seeded) to stay below: about half of Complete Journey's."""

FOLDS = 2
USER_TOKENS = 96
"""Word pieces that a user's text is made for: 9 heaviest names, 4 of late, 3 items."""

EASE_ITEMS, EASE_RIDGE, FACTORS = 4000, 300.0, 32

FOLDER = Path(".gpu/pairs")


def fold_of(users: pd.Series) -> NDArray[np.int64]:
    """Fold of each user, by a checksum of its pseudonym."""
    return np.array([zlib.crc32(u.encode()) % FOLDS for u in users], np.int64)


def best(rows: pd.DataFrame) -> pd.DataFrame:
    """The SHORTLIST rows of each user × cut with the highest p, ties by item."""
    ordered = rows.sort_values(["cut", "user_id", "p", "item_id"], ascending=[True, True, False, True])
    return ordered[ordered.groupby(["cut", "user_id"]).cumcount() < SHORTLIST]


def shortlists(valuation: Valuation, tested: date, seed: int) -> pd.DataFrame:
    """Shortlists at every cut. p: before `tested`, by trees that were fitted on the other folds of users; there, by trees that
    were fitted on all users at the cuts before, as value_items fits them."""
    plain = [F.col(n).cast("float").alias(n) for n in FEATURES]
    rows = valuation.examples().select("user_id", "item_id", "cut", *plain, "happened", "told").toPandas()
    rows = rows.sort_values(["cut", "item_id", "user_id"], ignore_index=True)
    label, told, x = rows["happened"].to_numpy() & 4 > 0, rows["told"].to_numpy(bool), matrix(rows)
    before, fold = rows["cut"].to_numpy() < tested, fold_of(rows["user_id"])
    say(f"{len(rows):,} candidates at {', '.join(map(str, sorted(valuation.cuts)))}")
    p = np.zeros(len(rows))
    for asked in [*((before & (fold == f)) for f in range(FOLDS)), ~before]:
        seen = before & ~asked
        p[asked] = fit(x[seen], {NEXT: label[seen]}, {NEXT: told[seen]}, seed).probabilities(x[asked])[NEXT]
    return best(rows.assign(p=p, label=label).drop(columns="happened"))


def texts_at(store: Store, how: build.Recipe, cuts: Sequence[date]) -> pd.DataFrame:
    """user_id, cut, behaviour_text of everybody at the cuts."""
    if missing := set(cuts) - set(how.all_cuts):
        raise SystemExit(f"no window ends at {sorted(missing)}; take an as-of date that is a boundary")
    events, short = store.read("silver.events"), replace(how, max_tokens=USER_TOKENS)
    made = build.base(events, store.read("silver.item_categories"), short)
    newest = latest(events, made.at, short.max_items)
    known = build.known(made, newest, store.read("silver.items"), short)
    found = build.texts(made, known, known.pairs.filter(F.col("cut").isin(*cuts)), short)
    return found.select("user_id", "cut", "behaviour_text").toPandas()


def neighbours(own: csr_matrix, often: NDArray[np.bool_]) -> csr_matrix:
    """(users, items) Σ over a user's favourites of part · similarity, as `neighbours.neighbour_candidates` scores."""
    kept = own.multiply(often[None, :]).tocsr()
    for u in range(kept.shape[0]):
        data = kept.data[kept.indptr[u] : kept.indptr[u + 1]]
        if len(data) > ITEMS_PER_USER:
            data[data < np.partition(data, -ITEMS_PER_USER)[-ITEMS_PER_USER]] = 0.0
    kept.eliminate_zeros()
    part, had = kept.copy(), kept.copy()
    part.data, had.data = kept.data / (1.0 + kept.data), np.ones_like(kept.data)
    users = np.asarray(had.sum(0)).ravel()
    shared = (had.T @ had).tocoo()
    fine = (shared.row != shared.col) & (shared.data >= MIN_USERS)
    row, col = shared.row[fine], shared.col[fine]
    near = shared.data[fine] / np.sqrt((users[row] + SHRINK) * (users[col] + SHRINK))
    order = np.lexsort((col, -near, row))
    row, col, near = row[order], col[order], near[order]
    starts = np.r_[0, np.flatnonzero(np.diff(row)) + 1]
    nth = np.arange(len(row)) - np.repeat(starts, np.diff(np.r_[starts, len(row)]))
    few = nth < NEIGHBOURS
    return (part @ csr_matrix((near[few], (row[few], col[few])), shape=shared.shape)).tocsr()


def counted(own: csr_matrix, often: NDArray[np.bool_], user: NDArray[np.int64], item: NDArray[np.int64]) -> NDArray[np.float32]:
    """(n, 3) neighbours, ease, svd of pairs at one cut; 0 where the item is none of those that are counted."""
    part = own.copy()
    part.data = own.data / (1.0 + own.data)
    buyers = np.asarray((own > 0).sum(0)).ravel()
    common = np.sort(np.argsort(-buyers, kind="stable")[:EASE_ITEMS])
    place = np.full(own.shape[1], -1)
    place[common] = np.arange(len(common))
    dense = part[:, common].toarray()
    by_ease = ease(dense, EASE_RIDGE)[user, place[item]]
    svd = TruncatedSVD(FACTORS, random_state=1)
    left = svd.fit_transform(part)
    by_svd = (left[user] * svd.components_.T[item]).sum(1)
    near = np.asarray(neighbours(own, often)[user, item]).ravel()
    return np.stack([near, np.where(place[item] >= 0, by_ease, 0.0), by_svd], axis=1).astype(np.float32)


def lines(texts: Sequence[str]) -> NDArray[np.uint8]:
    """Texts as bytes, one a line."""
    return np.frombuffer("\n".join(t.replace("\n", " ") for t in texts).encode(), np.uint8)


def main() -> None:
    """Writes the file and says how large it is."""
    asked = parse_command_line(sys.argv[1:], needs_as_of=True)
    s, as_of = asked.settings, asked.as_of
    assert as_of is not None
    spark = SparkSession.builder.appName("pair export").getOrCreate()
    store = Store(spark, str(Path(s.warehouse).resolve()))
    every = store.read("silver.events")
    shown = shown_only(store.read("silver.item_categories"), store.read("silver.items"), s.recommend.exclude_categories)
    vectors = [store.read(f"feature.{n}_vectors") for n in ("user", "item")]
    users = vectors[0].filter(F.col("as_of") == F.lit(as_of))
    limits = Limits(**chosen(s.recommend, Limits), **chosen(s.interests, Limits), horizon_days=s.segments.horizon_days)
    limits = replace(limits, value_cuts=limits.value_cuts + 1, value_examples=EXAMPLES)
    after = as_of + timedelta(days=limits.horizon_days)  # a horizon later, as_of itself is the latest cut that tells
    inputs = Inputs(every.filter(F.col("event_date") < F.lit(after)), shown, users, users, vectors[1])
    valuation = Valuation(inputs, limits, after, users.count(), 0)
    rows = shortlists(valuation, as_of, s.recommend.seed)
    happened = outcomes(valuation.visited, [as_of], limits.horizon_days)[1].join(valuation.mains, "item_id", "left_semi")
    first = happened.filter(F.col("happened").bitwiseAND(4) > 0).groupBy("user_id")
    sizes = first.agg(F.count(F.lit(1)).alias("size")).toPandas()
    say(f"{len(rows):,} pairs on shortlists")
    how = replace(recipe(s, Path(asked.settings_path).parent, as_of), training_cuts=max(1, limits.value_cuts - 2))
    dates = sorted(valuation.cuts)
    told = texts_at(store, how, dates)
    items = store.read("silver.items").select("item_id", "text").toPandas().set_index("item_id")["text"]
    user_names, user = np.unique(rows["user_id"].to_numpy(str), return_inverse=True)
    item_names_, item = np.unique(rows["item_id"].to_numpy(str), return_inverse=True)
    cut = np.searchsorted(np.array(dates), rows["cut"].to_numpy())
    by_cut = told.set_index(["user_id", "cut"])["behaviour_text"].reindex(pd.MultiIndex.from_frame(rows[["user_id", "cut"]]))
    user_texts, user_text = np.unique(by_cut.fillna("").to_numpy(str), return_inverse=True)
    item_texts, item_text = np.unique(items.reindex(rows["item_id"]).fillna("").to_numpy(str), return_inverse=True)
    own = valuation.histories.select("user_id", "item_id", "cut", F.col("own_10").cast("float").alias("own"), "own_56d", "visits")
    own = own.filter((F.col("own") > 0) & (F.col("cut") < F.lit(after))).toPandas()
    whole = np.union1d(item_names_, own["item_id"].to_numpy(str))
    scores = np.zeros((len(rows), 3), np.float32)
    new = np.ones(len(rows), bool)
    for c, day in enumerate(dates):
        mine, here = own[own["cut"] == day], cut == c
        mine = mine[mine["user_id"].isin(user_names)]
        u, i = np.searchsorted(user_names, mine["user_id"].to_numpy(str)), np.searchsorted(whole, mine["item_id"].to_numpy(str))
        shape = (len(user_names), len(whole))
        kept = csr_matrix((mine["own"].to_numpy(np.float64), (u, i)), shape=shape)
        often = np.bincount(i, weights=mine["visits"].to_numpy(), minlength=len(whole)) >= limits.min_item_events
        asked_item = np.searchsorted(whole, item_names_)[item[here]]
        scores[here] = counted(kept, often, user[here], asked_item)
        new[here] = np.asarray(kept[user[here], asked_item]).ravel() == 0
        say(f"{day}: {kept.nnz:,} user × item counted")
    mine = users.select("user_id", "vector").toPandas().set_index("user_id")["vector"].reindex(user_names)
    needed = spark.createDataFrame([(str(n),) for n in item_names_], "item_id STRING")
    theirs = vectors[1].join(needed, "item_id").select("item_id", "vector").toPandas().set_index("item_id")["vector"]
    u_vec, i_vec = np.stack(mine.to_numpy()), np.stack(theirs.reindex(item_names_).to_numpy())
    cosine = np.full(len(rows), np.nan, np.float32)
    last = cut == len(dates) - 1
    cosine[last] = (u_vec[user[last]] * i_vec[item[last]]).sum(1)
    size = sizes.set_index("user_id")["size"].reindex(user_names).fillna(0).to_numpy(np.int32)
    p = rows["p"].to_numpy().clip(1e-7, 1 - 1e-7)
    FOLDER.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        FOLDER / "pairs.npz",
        user=user.astype(np.int32), item=item.astype(np.int32), cut=cut.astype(np.int8),
        label=rows["label"].to_numpy(bool), told=rows["told"].to_numpy(bool), logit=np.log(p / (1 - p)).astype(np.float32),
        features=matrix(rows).clip(-6e4, 6e4).astype(np.float16), counted=scores, published_cosine=cosine,
        user_text=user_text.astype(np.int32), item_text=item_text.astype(np.int32), new=new,
        size=size, fold=fold_of(pd.Series(user_names)).astype(np.int8),
        user_texts=lines(user_texts.tolist()), item_texts=lines(item_texts.tolist()),
        cuts=lines([str(d) for d in dates]), feature_names=lines(FEATURES),
    )  # fmt: skip
    say(f"{FOLDER / 'pairs.npz'}: {(FOLDER / 'pairs.npz').stat().st_size / 2**20:.1f} MiB")


def say(text: str) -> None:
    """A line of progress."""
    sys.stderr.write(f"[pair export] {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
