"""Whose rows a warehouse holds."""

from __future__ import annotations

from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from equipoise.errors import StoreError
from equipoise.job.context import Context
from equipoise.store import deletion


def require_one_source(ctx: Context) -> None:
    """Lets a source in where silver.* holds rows of no other: users and items are told apart by their ids alone.

    Raises:
        StoreError: naming the other sources, and how to be rid of them.
    """
    name, store = ctx.settings.source.name, ctx.store
    kept = [t for t in ctx.job.writes if t.startswith("silver.") and store.version(t) is not None]
    if not kept:
        return
    found = reduce(DataFrame.unionByName, [store.read(t).select("source", F.lit(t).alias("table")) for t in kept])
    # one row per source × table; the source is a folder's name, so that files of ours are not opened
    others = found.filter(F.col("source") != F.lit(name)).distinct().orderBy("source", "table").collect()
    if others:
        told = "\n".join(f"  {deletion(store.path(r['table']), 'source', r['source'])};" for r in others)
        raise StoreError(
            f"source.name is {name!r}, but {store.root} holds rows of {', '.join(sorted({repr(r['source']) for r in others}))}; "
            "expected one source in a warehouse: users, items and what is counted of them are told apart by their ids alone. "
            f"Give this one a warehouse of its own; where its name was changed, delete the old rows first, in make sql\n{told}"
        )
