"""The tables over JDBC and ODBC: Spark's Thrift server on the views of the published night, the next as soon as it is there."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from pyspark.sql import SparkSession

from equipoise.errors import StoreError
from equipoise.report.publish import VIEWS_FILE
from equipoise.spark.remote import changed_at, read_text

SERVER = "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2"


class Views:
    """The views of a warehouse's last published night, as every new connection sees them."""

    def __init__(self, spark: SparkSession, warehouse: str) -> None:
        self._spark, self.file = spark, f"{warehouse.rstrip('/')}/{VIEWS_FILE}"
        self._seen: int | None = None

    def refresh(self) -> int:
        """Registers what publish_report wrote, where it is new; number of statements, 0 where it is not.

        Raises:
            StoreError: when no night was published.
        """
        changed = changed_at(self._spark, self.file)
        if changed is None:
            raise StoreError(f"no {self.file!r}; expected the views of a published night; run publish_report first")
        if changed == self._seen:
            return 0
        statements = [s for s in read_text(self._spark, self.file).split(";\n") if s.strip()]
        for statement in statements:
            self._spark.sql(statement)
        self._seen = changed
        return len(statements)


def start(spark: SparkSession, host: str, port: int) -> Any:
    """A running server; connections share the session's catalogue."""
    jvm: Any = spark._jvm
    hadoop: Any = spark._jsc.hadoopConfiguration()
    for name, value in (("bind.host", host), ("port", str(port))):
        hadoop.set(f"hive.server2.thrift.{name}", value)
    made: Any = getattr(jvm, SERVER)
    return made.startWithContext(spark._jsparkSession.sqlContext())


def serve(spark: SparkSession, warehouse: str, host: str, port: int, *, every: float, ended: Callable[[], bool]) -> None:
    """Serves until `ended`, looking for another night `every` so many seconds.

    Raises:
        StoreError: when no night was published.
    """
    views = Views(spark, warehouse)
    views.refresh()
    server = start(spark, host, port)
    say(f"jdbc:hive2://{host}:{port} reads {views.file}; Ctrl-C ends it")
    try:
        while not ended():
            time.sleep(every)
            if views.refresh():
                say("another night was published: new queries read its views")
    finally:
        server.stop()


def say(text: str) -> None:
    """A line on standard error."""
    sys.stderr.write(f"[serve_tables] {text}\n")
    sys.stderr.flush()
