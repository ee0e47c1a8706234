"""The Thrift server as an analyst's tool meets it: beeline, the JDBC driver, over the socket."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
from pyspark.sql import functions as F

from tests.integration.report_tables import AS_OF
from tests.integration.test_report_publish import Night
from tests.pipeline import ROOT, environment

JARS = next(x.split()[1] for x in (ROOT / "conf/spark/local.conf").read_text().splitlines() if x.startswith("spark.jars "))
SUBMIT = [
    "spark-submit",
    "--properties-file",
    "conf/spark/local.conf",
    "--driver-class-path",
    JARS.replace(",", ":"),
    "--conf",
    "spark.sql.catalogImplementation=in-memory",
]
WAIT_SECONDS = 600.0
"""On a busy machine every statement of the views takes seconds."""

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def port(night: Night) -> Iterator[int]:
    port, log = free_port(), night.folder / "serve.log"
    command = [
        *SUBMIT,
        "jobs/serve_tables.py",
        "--warehouse",
        str(night.folder / "warehouse"),
        "--port",
        str(port),
        "--every",
        "1",
    ]
    with log.open("w") as out:
        server = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=out, stderr=out, start_new_session=True)
    try:
        end = time.monotonic() + WAIT_SECONDS
        while "jdbc:hive2" not in log.read_text():
            assert server.poll() is None and time.monotonic() < end, log.read_text()[-3000:]
            time.sleep(1)
        yield port
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=60)


def asked(port: int, sql: str) -> list[str]:
    """Rows of a query over JDBC, as text with tabs."""
    told = ["-u", f"jdbc:hive2://127.0.0.1:{port}", "--outputformat=tsv2", "--showHeader=false", "--silent=true", "-e", sql]
    done = subprocess.run(
        ["beeline", *told], env=environment(), capture_output=True, text=True, check=False, timeout=WAIT_SECONDS
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [line.rpartition(f":{port}> ")[2] for line in done.stdout.splitlines() if line.strip()]


def test_a_driver_reads_views_tables_and_comments(night: Night, port: int) -> None:
    ours = night.store.read("gold.user_segments")
    published = ours.filter(F.col("as_of") == F.lit(AS_OF)).count()
    assert asked(port, "SELECT count(*), max(as_of) FROM v_current_segments") == [f"{published}\t{AS_OF}"]
    assert asked(port, "SELECT count(*) FROM gold.user_segments") == [str(ours.count())]
    assert any("Delta version that holds" in line for line in asked(port, "DESCRIBE ops.published"))


def test_another_night_is_seen_without_a_restart(night: Night, port: int) -> None:
    file = night.folder / "warehouse" / "views.sql"
    file.write_text(file.read_text() + "CREATE OR REPLACE VIEW v_of_the_next_night AS SELECT 42 AS answer;\n")
    end = time.monotonic() + WAIT_SECONDS
    while "another night was published" not in (night.folder / "serve.log").read_text():  # all views are registered anew
        assert time.monotonic() < end
        time.sleep(1)
    assert asked(port, "SELECT answer FROM v_of_the_next_night") == ["42"]
