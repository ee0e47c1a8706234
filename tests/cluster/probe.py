"""Asks every executor where its code comes from and what protects its traffic; prints JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pandas as pd
from pyspark.sql import SparkSession

spark = SparkSession.builder.appName("probe").getOrCreate()


def where(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    import equipoise

    for _ in batches:
        yield pd.DataFrame({"file": [str(equipoise.__file__)]})


files = {r["file"] for r in spark.range(8).repartition(4).mapInPandas(where, "file string").collect()}
keys = ("spark.authenticate", "spark.network.crypto.enabled", "spark.io.encryption.enabled", "spark.dynamicAllocation.enabled")
conf = {key: spark.conf.get(key, "") for key in keys}
shown = spark.sql("SET").toPandas().to_csv()
sys.stdout.write("\n" + json.dumps({"files": sorted(files), "conf": conf, "shown": "spark.authenticate.secret" in shown}) + "\n")
spark.stop()
