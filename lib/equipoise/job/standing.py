"""Prints where the learner stands, from gold.evaluation of one or several warehouses of one source."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from pyspark.sql import functions as F

from equipoise.errors import EquipoiseError, StoreError
from equipoise.evaluate import standing
from equipoise.job.context import say
from equipoise.report.publish import write_text
from equipoise.settings import help_text, parse_command_line
from equipoise.spark.session import session
from equipoise.store import Store

NAME, FILE = "print_standing", "standing.md"


def run_standing(argv: Sequence[str], summary: str) -> int:
    """Exit code: 0 done, 1 failed, 2 bad settings. The table goes to standard output and into <warehouse>/standing.md."""
    if "--help" in argv or "-h" in argv:
        sys.stdout.write(help_text(NAME, summary, needs_as_of=False) + "\n")
        return 0
    try:
        settings = parse_command_line(argv, needs_as_of=False).settings
        spark = session(f"equipoise {NAME}")
        roots = [_absolute(w) for w in dict.fromkeys((settings.warehouse, *settings.evaluate.also))]
        stores = [Store(spark, root, synthetic=settings.source.adapter == "simulated") for root in roots]
        found = pd.concat([_rows(store, settings.source.name) for store in stores], ignore_index=True)
        text = standing.text(standing.lines(found))
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


def _absolute(warehouse: str) -> str:
    return warehouse if "://" in warehouse else str(Path(warehouse).resolve())
