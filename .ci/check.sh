#!/usr/bin/env bash
# Lint, format, types, import contract, size limits, lock file. Prints what is wrong; exit code 0 when nothing is.
set -euo pipefail
cd "$(dirname "$0")/.."
ruff check lib jobs tests airflow_dags
ruff format --check lib jobs tests airflow_dags
mypy
# Airflow has an environment of its own: what comes from it has no type here. make airflow-test checks against its types.
MYPYPATH=airflow_dags mypy --allow-subclassing-any airflow_dags/*.py
lint-imports
python .ci/limits.py
# The lock answers to pyproject.toml: compiling with it as the starting point must leave it as it is.
fresh=$(mktemp)
trap 'rm -f "$fresh"' EXIT
cp requirements.lock "$fresh"
uv pip compile pyproject.toml --extra demo --extra search --extra dev --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 --quiet -o "$fresh"
cmp --silent requirements.lock "$fresh" || { echo "requirements.lock does not answer to pyproject.toml; run make lock" >&2; exit 1; }
