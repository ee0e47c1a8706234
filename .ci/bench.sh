#!/usr/bin/env bash
# What only the benchmarks need: MovieLens-100k, and faiss to be measured against.
set -euo pipefail
cd "$(dirname "$0")/.."
bash .ci/movielens.sh
.venv/bin/python -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("faiss") is None)' && exit 0
echo "[setup] faiss" >&2
.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --require-hashes -r .ci/bench.lock
