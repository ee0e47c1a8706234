"""Prints where the learner stands, from gold.evaluation of one or several warehouses of one source."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyspark.sql import functions as F

from equipoise.errors import EquipoiseError, StoreError
from equipoise.evaluate import standing
from equipoise.evaluate.cost import Cost, in_turns
from equipoise.evaluate.measured import read
from equipoise.evaluate.seeds import beside
from equipoise.inference.interface import EVENTS_IN, FEATURES_IN
from equipoise.inference.predictor import Predictor
from equipoise.inference.udf import trends_at
from equipoise.job.context import absolute, say
from equipoise.models.package import load_meta
from equipoise.models.signature import signing_key
from equipoise.settings import Settings, help_text, parse_command_line, resolve
from equipoise.spark.remote import write_text
from equipoise.spark.session import session
from equipoise.store import Store
from equipoise.training.registry import Registry

NAME, FILE = "print_standing", "standing.md"
ROWS, MOST_MODELS = 256, 5
"""Users scored in turns, and models at most."""


def run_standing(argv: Sequence[str], summary: str) -> int:
    """Exit code: 0 done, 1 failed, 2 bad settings. The table goes to standard output and into <warehouse>/standing.md."""
    if "--help" in argv or "-h" in argv:
        sys.stdout.write(help_text(NAME, summary, needs_as_of=False) + "\n")
        return 0
    try:
        asked = parse_command_line(argv, needs_as_of=False)
        settings = asked.settings
        spark = session(f"equipoise {NAME}")
        roots = [absolute(w) for w in dict.fromkeys((settings.warehouse, *settings.evaluate.also))]
        stores = [Store(spark, root, synthetic=settings.source.adapter == "simulated") for root in roots]
        frames = [_rows(store, settings.source.name) for store in stores]
        first = frames[0]["as_of"].max()
        more = [vars(row) | {"source": settings.source.name, "as_of": first} for row in read(settings.evaluate.measured, first)]
        found = pd.concat([*frames, pd.DataFrame(more)], ignore_index=True)
        lines = standing.lines(found)
        cost = _cost(stores[0], settings, resolve_key(settings, asked.settings_path), first)
        text = standing.text(lines) + standing.means(lines, cost.told() if cost else "")
        write_text(spark, f"{roots[0]}/{FILE}", text)
        sys.stdout.write(f"{text}\nAlso in {roots[0]}/{FILE}\n")
        return 0
    except EquipoiseError as error:
        say(NAME, f"failed: {error}")
        return error.exit_code


def _rows(store: Store, source: str) -> pd.DataFrame:
    """gold.evaluation of a warehouse.

    Raises:
        StoreError: when it has no row of the source.
    """
    if store.version("gold.evaluation") is None:
        raise StoreError(f"no table gold.evaluation under {store.root}; run evaluate_models first, or name another warehouse")
    found = store.read("gold.evaluation").filter(F.col("source") == source).toPandas()
    if found.empty:
        raise StoreError(
            f"gold.evaluation under {store.root} has no row of source {source!r}; run evaluate_models with these settings"
        )
    return found


def _cost(store: Store, settings: Settings, key: bytes, as_of: date) -> Cost | None:
    """Of the mean over CURRENT and its sisters, on some users; None where there is one model, or none that can be read here."""
    registry = Registry.of(absolute(settings.home), key)
    current = registry.named()
    if current is None or not registry.published(current):
        return None
    meta = load_meta(registry.trusted(current))
    names = (current, *beside(registry, meta, MOST_MODELS).sisters)
    if len(names) < 2:
        return None
    at = F.col("as_of") == F.lit(as_of)
    features = F.array(*meta.feature_names).alias("features")
    profile, sequences = (store.read(f"feature.{t}").filter(at) for t in ("user_profile", "sequences"))
    users = profile.select("user_id", features).join(sequences.drop("as_of"), "user_id").orderBy("user_id").limit(ROWS)
    wanted = pa.schema([*FEATURES_IN, *(EVENTS_IN if meta.route == "tower" else ())])
    found = [row.asDict(recursive=True) for row in users.select(*wanted.names).collect()]
    trends = trends_at(store.read("feature.category_trends"), as_of, meta.categories)
    say(NAME, f"scoring {ROWS} users with one model and with {len(names)}, in turns")
    models = [Predictor.load(registry.trusted(n), threads=os.cpu_count() or 1, trends=trends) for n in names]
    return in_turns(models, pa.RecordBatch.from_pylist(found, schema=wanted)) if found else None


def resolve_key(settings: Settings, path: Path) -> bytes:
    """The key that models are signed with; b"" without one."""
    file = settings.models.signing_key_file
    return signing_key(resolve(file, path.resolve().parent) if file else "")
