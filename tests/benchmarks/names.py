"""Another shop by the names of categories: the encoder learns what this shop's texts are called, and is asked on MovieLens.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults --driver-memory 3g tests/benchmarks/names.py \\
    --settings conf/demo.toml --as-of 2017-11-06 --warehouse WAREHOUSE     (after ingest_events and bash .ci/movielens.sh)

`training.pretraining = "categories"` with STEPS steps of BATCH pairs, whatever the settings say; held-out names choose the step.
Leaves the encoder in <warehouse>/other_shop/encoder and rows for evaluate.measured in <warehouse>/other_shop.jsonl; what was made
from the same texts is not made again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from equipoise.evaluate import measured
from equipoise.inference.batching import distinct
from equipoise.inference.texts import TextVectors
from equipoise.job.context import say
from equipoise.job.pretraining import CATEGORIES
from equipoise.settings import parse_command_line, resolve
from equipoise.store import Store
from equipoise.tables.vocabulary import UNKNOWN
from equipoise.training.naming import named
from equipoise.training.pretrain import PretrainOptions
from equipoise.training.pretrained import pretrained_directory

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.benchmarks import zero_shot

STEPS, BATCH = 60, 64
RESAMPLES = 2000


def main() -> None:
    """Prints the table of `zero_shot` and writes the rows."""
    s = parse_command_line(sys.argv[1:], needs_as_of=True).settings
    store = Store(SparkSession.builder.getOrCreate(), str(Path(s.warehouse).resolve()))
    known = store.read(CATEGORIES).filter(F.col("category") != UNKNOWN).select("item_id", "category")
    texts_of = store.read("silver.items").filter("text != ''").select("item_id", "text")
    rows = known.join(texts_of, "item_id").orderBy("item_id", "category").collect()
    texts, text = distinct([r["text"] for r in rows])
    places = {r["item_id"]: int(p) for r, p in zip(rows, text, strict=True)}
    names, found = named(places, ((r["item_id"], r["category"]) for r in rows), len(texts))
    place = Path(s.warehouse) / "other_shop"
    place.mkdir(parents=True, exist_ok=True)
    untouched = resolve(s.encoder.path, Path("conf"))
    told = pretrained_directory(
        str(untouched),
        [*texts, *names],
        found,
        PretrainOptions(s.training.seed, "categories", pretraining_steps=STEPS, pretraining_batch=BATCH),
        max_tokens=s.encoder.max_item_tokens,
        device=torch.device("cpu"),
        half=None,
        into=place / "encoder",
        say=lambda line: say("names", line),
    )
    paths = {zero_shot.UNTOUCHED: untouched, zero_shot.TUNED: place / "encoder"}
    how = {"device": torch.device("cpu"), "bfloat16": False, "tokens_per_batch": 8192}
    vectors = {which: TextVectors.pretrained(path, **how) for which, path in paths.items()}  # type: ignore[arg-type]
    rows_found = zero_shot.compared(vectors, RESAMPLES, zero_shot.movielens())
    zero_shot.table(rows_found, f"{told['texts']:,} texts and names, step {told['step']} of {STEPS} kept")
    measured.write(f"{s.warehouse}/other_shop.jsonl", [r for r in rows_found if r.origin == zero_shot.WITH_GENRES])


if __name__ == "__main__":
    main()
