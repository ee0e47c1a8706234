"""One small Spark session for all tests, and a store on an empty warehouse for each."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from equipoise.store import Store

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# The same examples at every run: what passed once passes again. HYPOTHESIS_PROFILE=explore draws new ones.
if importlib.util.find_spec("hypothesis"):  # Airflow's environment has none
    from hypothesis import settings

    settings.register_profile("repeatable", derandomize=True)
    settings.register_profile("explore")
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

SMALL = {
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "2",  # a shuffle of ten rows over 200 partitions takes seconds
    "spark.databricks.delta.snapshotPartitions": "2",  # same, for the log's own state
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.hadoop.parquet.page.verify-checksum.enabled": "true",
    "spark.driver.memory": "3g",
    "spark.buffer.pageSize": "2m",  # else every broadcast of ten rows holds 64 MB
    "spark.sql.adaptive.enabled": "false",  # as in conf/spark/local.conf
    "spark.sql.ui.retainedExecutions": "50",  # nobody looks at them, and 1,000 plans of one long session fill its heap
    "spark.driver.extraJavaOptions": "-Duser.timezone=UTC -Dfile.encoding=UTF-8 "
    f"-Dlog4j2.configurationFile=file:{ROOT}/conf/spark/log4j2.properties -XX:+UseParallelGC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.databricks.delta.optimizeMetadataQuery.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}


def small_session(master: str, warehouse: Path, **more: str) -> SparkSession:
    """A session with Delta Lake and SMALL, in which `more` may be set otherwise."""
    from pyspark.sql import SparkSession

    jars = sorted(str(p) for p in (ROOT / ".jars").glob("*.jar") if "rapids" not in p.name)
    builder = SparkSession.builder.master(master).appName("tests").config("spark.jars", ",".join(jars))
    builder = builder.config("spark.sql.warehouse.dir", str(warehouse))
    for key, value in (SMALL | more).items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    session = small_session("local[2]", tmp_path_factory.mktemp("spark-warehouse"))
    yield session
    session.stop()


@pytest.fixture
def store(spark: SparkSession, tmp_path: Path) -> Store:
    from equipoise.store import Store

    return Store(spark, str(tmp_path / "warehouse"))


FAULTS, KILLS, PLANS = "faults", "kills", "plans on a GPU"
SAID = {
    FAULTS: (
        "| fault | times | rows lost | rows doubled | readers saw half a night | what is said |",
        "|---|---|---|---|---|---|",
    ),
    KILLS: ("| job | killed after | of its run | rerun |", "|---|---|---|---|"),
    PLANS: (),
}
"""What tests record under these names is printed at the end, below these lines."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Also what was recorded in another process, whose output is shown of failures alone."""
    reports = [r for of in terminalreporter.stats.values() for r in of if isinstance(r, pytest.TestReport) and r.when == "call"]
    for title, head in SAID.items():
        if lines := [str(value) for r in reports for name, value in r.user_properties if name == title]:
            terminalreporter.section(title)
            terminalreporter.write_line("\n".join([*head, *lines]))
