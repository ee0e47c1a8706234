#!/usr/bin/env bash
# What an analyst has who reads the tables without Spark: delta-rs, DuckDB, polars and pandas, in an environment of its own.
exec bash "$(dirname "$0")/venv.sh" readers .ci/readers.lock " (about 550 MB)"
