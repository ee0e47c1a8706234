#!/usr/bin/env bash
# What an analyst has who reads the tables without Spark: delta-rs, DuckDB, polars and pandas, in an environment of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
stamp=".venv-readers/.equipoise-$(sha256sum < .ci/readers.lock | cut -c1-16)"
[ -f "$stamp" ] && exit 0
echo "[readers] environment from .ci/readers.lock (about 550 MB)" >&2
[ -x .venv-readers/bin/python ] || .venv/bin/python -m venv --without-pip .venv-readers
.venv/bin/uv pip sync --quiet --require-hashes --python .venv-readers/bin/python .ci/readers.lock
touch "$stamp"
