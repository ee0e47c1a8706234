#!/usr/bin/env bash
# The environment of Airflow, from its own hash-locked list; the jobs keep theirs. Run again, it checks and ends.
set -euo pipefail
cd "$(dirname "$0")/.."
stamp=".venv-airflow/.equipoise-$(sha256sum < airflow_dags/requirements.lock | cut -c1-16)"
[ -f "$stamp" ] && exit 0
printf '[airflow] environment from airflow_dags/requirements.lock (about 500 MB)\n' >&2
[ -x .venv-airflow/bin/python ] || .venv/bin/python -m venv .venv-airflow
.venv/bin/uv pip sync --quiet --require-hashes --python .venv-airflow/bin/python airflow_dags/requirements.lock
touch "$stamp"
