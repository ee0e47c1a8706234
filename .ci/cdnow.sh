#!/usr/bin/env bash
# CDNOW lies inside the package lifetimes as plain files. Only they are read, so the package comes without its dependencies.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/python -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("lifetimes") is None)' && exit 0
echo "[setup] CDNOW (inside the package lifetimes)" >&2
.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --require-hashes -r .ci/cdnow.lock
