"""Examples and new items of Complete Journey as one file of arrays, for a machine that has torch and neither Spark nor Java.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults --driver-memory 3g tests/benchmarks/learning_data.py \\
    --settings conf/demo.toml --as-of 2017-12-04 --warehouse WAREHOUSE     (after build_features as of that date, whole samples)

Letters: n examples (user × cut), C categories, F explicit features; L lines (user × day × item) before the last cut.
learning.npz: tokens (n, 64) uint16, length (n,), cut (n,) days since 1970, user (n,) uint8 × 16, features (n, F),
label_value (n,), label_spend (n,); prior_*, cells_*, counts_*: sparse (n, C) as row ends, places and values (cells with
CELL_VALUES each, in half precision);
trend_cuts, trends (cuts, C, T); population (C,). items: texts of everything named. line_user, line_day, line_item: the log.
per origin o: o_items, o_users, o_truth, o_own_user, o_own_item, o_own_weight as `new_items.Newcomers`, items as places in texts,
o_ranker: scores of the learnt ranker without language, in half precision.
"""

from __future__ import annotations

import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyspark.sql import SparkSession

from equipoise.evaluate import published
from equipoise.evaluate.baselines import newcomers
from equipoise.evaluate.behaviour import (
    Behaviour,
    Catalogue,
    collect_behaviour,
    collect_catalogue,
    countable_trips,
    day_number,
    sample_users,
)
from equipoise.evaluate.tasks import new_items
from equipoise.settings import Settings, parse_command_line
from equipoise.store import Store
from equipoise.stream.columns import Ragged, Widths, unpack
from equipoise.tables.feature import H_FEATURES
from equipoise.tables.packing import TREND_VALUES

OUT = Path(".gpu/learning.npz")
SEED = 1


def examples(store: Store, s: Settings) -> dict[str, NDArray[Any]]:
    """Training and validation examples together; `cut` tells them apart."""
    spec = store.read("feature.example_spec").orderBy("position").collect()
    widths = Widths(s.encoder.max_tokens, len(spec), len(H_FEATURES))
    names = ("feature.examples", "feature.examples_validation")
    files = [f.removeprefix("file:") for n in names for f in store.files(n, store.version(n) or 0)]
    wanted = ["user_id", "cut_day", "tokens", "length", "prior", "cells", "trends", "features"]
    table = pa.concat_tables([pq.read_table(f, columns=[*wanted, "label_counts", "label_value", "label_spend"]) for f in files])
    found: dict[str, Any] = unpack({n: table.column(n).combine_chunks() for n in table.column_names}, widths)
    cells: Ragged = found["cells"]
    cuts, first = np.unique(found["cut_day"], return_index=True)
    out = {
        "tokens": found["tokens"].astype(np.uint16),
        "length": found["length"].astype(np.uint8),
        "cut": found["cut_day"].astype(np.int32),
        "user": found["user_id"],
        "features": found["features"],
        "label_value": found["label_value"].astype(np.uint8),
        "label_spend": found["label_spend"].astype(np.float32),
        "cells_ends": np.cumsum(cells.counts),
        "cells_place": cells.flat()["position"].astype(np.uint16),
        "cells_values": cells.flat()["values"].astype(np.float16),
        "trend_cuts": cuts.astype(np.int32),
        "trends": found["trends"][first].reshape(len(cuts), len(spec), len(TREND_VALUES)),
        "population": np.array([r["population_share"] for r in spec]),
    }
    for name, column in (("prior", "prior"), ("counts", "label_counts")):
        row, place = np.nonzero(found[column])
        out[f"{name}_ends"] = np.cumsum(np.bincount(row, minlength=len(found[column])))
        out[f"{name}_place"], out[f"{name}_values"] = place.astype(np.uint16), found[column][row, place]
    return out


def of_origin(
    log: Behaviour, catalogue: Catalogue, attributes: Any, origin: date, until: date, excluded: tuple[str, ...]
) -> tuple[new_items.Newcomers, NDArray[np.float16]]:
    """Who took what was new from an origin on, and what the learnt ranker says of it."""
    start = day_number(origin)
    found = new_items.newcomers(log, catalogue, excluded, start, day_number(until), SEED)
    past = countable_trips(log, catalogue, excluded, start, start)
    known = np.union1d(np.unique(past.item), found.items)
    values = newcomers.attributes(attributes(known))
    sales = newcomers.Sales(past.user, np.searchsorted(known, past.item), past.day, len(log.users))
    weight = newcomers.fitted(sales, values, start, SEED)
    assert weight is not None, f"no cut before {origin} teaches the ranker"
    scores = newcomers.features(sales, values, start, found.users, np.searchsorted(known, found.items)).score(weight)
    return found, scores.astype(np.float16)


def main() -> None:
    """Writes OUT."""
    asked = parse_command_line(sys.argv[1:], needs_as_of=True)
    s, as_of = asked.settings, asked.as_of
    assert as_of is not None
    spark = SparkSession.builder.getOrCreate()
    store = Store(spark, str(Path(s.warehouse).resolve()))
    out = examples(store, s)
    items, links = store.read("silver.items"), store.read("silver.item_categories")
    catalogue = collect_catalogue(items, links, [])
    users, _ = sample_users(store.read("silver.users"), SEED)
    until = s.evaluate.labels_until or as_of
    log = collect_behaviour(spark, store.read("silver.events"), users, catalogue.items, until)
    days = timedelta(days=s.windows.days)
    origins = {"chosen": (as_of - 2 * days, as_of - days), "test": (as_of - days, until)}
    excluded, found = s.evaluate.exclude_categories, {}
    for name, (origin, end) in origins.items():
        found[name] = of_origin(log, catalogue, lambda k: published.item_attributes(items, catalogue, k), origin, end, excluded)
    lines = countable_trips(log, catalogue, excluded, day_number(as_of - days), day_number(as_of - days))
    wanted = np.unique(np.concatenate([lines.item, *(f.needed for f, _ in found.values())]))
    texts = published.item_attributes(items, catalogue, wanted)["text"].fillna("").to_numpy(dtype=str)
    out |= {"items": np.array("\n".join(t.replace("\n", " ") for t in texts).encode())}
    out |= {"line_user": lines.user.astype(np.uint16), "line_day": lines.day.astype(np.uint16)}
    out |= {"line_item": np.searchsorted(wanted, lines.item).astype(np.int32)}
    for name, (new, ranker) in found.items():
        out |= {f"{name}_{k}": np.searchsorted(wanted, getattr(new, k)).astype(np.int32) for k in ("items", "own_item")}
        out |= {f"{name}_{k}": getattr(new, k).astype(np.int32) for k in ("users", "truth", "own_user")}
        out |= {f"{name}_own_weight": new.own_weight.astype(np.float32), f"{name}_ranker": ranker}
        sys.stdout.write(f"{name} from {origins[name][0]}: {len(new.items):,} new items, {len(new.users):,} buyers\n")
    spark.stop()
    OUT.parent.mkdir(exist_ok=True)
    np.savez_compressed(OUT, **out)
    sys.stdout.write(f"{len(out['cut']):,} examples, {len(texts):,} item texts: {OUT}, {OUT.stat().st_size / 2**20:.1f} MiB\n")


if __name__ == "__main__":
    main()
