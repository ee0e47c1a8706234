"""Serves the tables and views of a warehouse over JDBC and ODBC, until it is stopped; a new night is seen without a restart.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults --conf spark.sql.catalogImplementation=in-memory \\
    --driver-class-path "$(sed -n 's/^spark.jars *//p' conf/spark/local.conf | tr , :)" jobs/serve_tables.py --warehouse warehouse

The jars of Delta Lake are on the driver's class path too: the server looks for classes where the machine started, and there
alone, not among what spark.jars brought later.
"""

from __future__ import annotations

import argparse
import sys

from equipoise.errors import EquipoiseError
from equipoise.report.serve import say, serve
from equipoise.spark.session import session


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip(), formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warehouse", required=True, help="folder of the warehouse; its views.sql is what is served")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; nobody is asked who they are, so others only behind a gateway"
    )
    parser.add_argument("--port", type=int, default=10000)
    parser.add_argument("--every", type=float, default=30.0, help="seconds between two looks for a new night")
    given = parser.parse_args()
    try:
        serve(session("equipoise tables"), given.warehouse, given.host, given.port, every=given.every, ended=lambda: False)
    except KeyboardInterrupt:
        return 0
    except EquipoiseError as error:
        say(f"failed: {error}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
