#!/usr/bin/env bash
# MovieLens-100k lies inside the package recbole as plain files. Only they are read, so the package comes without its dependencies.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/python -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("recbole") is None)' && exit 0
echo "[setup] MovieLens-100k (inside the package recbole)" >&2
.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --require-hashes -r .ci/movielens.lock
