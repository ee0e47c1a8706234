"""Trains on a cluster of two workers in this machine and prints the metrics; run as a module with a folder."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from pyspark.sql import SparkSession

from equipoise.training.launch import fine_tune
from tests.unit.training.recipes import recipe


def main() -> None:
    builder = SparkSession.builder.master("local-cluster[2,1,1024]").appName("cluster training")
    for key, value in {
        "spark.ui.enabled": "false",
        "spark.driver.memory": "1g",
        "spark.executor.memory": "512m",
        "spark.executorEnv.PYTHONPATH": os.environ["PYTHONPATH"],
        "spark.driver.host": "127.0.0.1",
    }.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    metrics = fine_tune(spark, recipe(Path(sys.argv[1]), epochs=1), processes=2, cluster_mode=True)
    spark.stop()
    sys.stdout.write("\n" + json.dumps(metrics) + "\n")


if __name__ == "__main__":
    main()
