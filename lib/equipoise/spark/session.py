"""The Spark session of a job: everything comes from the profile; this checks that the profile is one of ours."""

from __future__ import annotations

from pyspark.sql import SparkSession

from equipoise.errors import SettingsError

REQUIRED = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
}
"""Without these, tables cannot be read, or days begin at the wrong hour."""


def session(app_name: str) -> SparkSession:
    """The running session, or a new one with what spark-submit was given.

    Raises:
        SettingsError: when the profile lacks what every job needs.
    """
    spark = SparkSession.builder.appName(app_name).getOrCreate()
    wrong = {k: spark.conf.get(k, None) for k, v in REQUIRED.items() if v not in (spark.conf.get(k, None) or "")}
    if wrong:
        listed = "\n".join(f"  {k} = {got!r}, expected {REQUIRED[k]!r}" for k, got in wrong.items())
        way_out = "add --properties-file conf/spark/local.conf"
        raise SettingsError(f"the Spark profile lacks what every job needs:\n{listed}\n  {way_out}")
    return spark
