#!/usr/bin/env bash
# CDNOW lies inside the package lifetimes as plain files. Only they are read, so the package comes without its dependencies; its log is
# put between commas for the `files` source (conf/cdnow.toml), each line numbered: a customer may buy the same twice on a day.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! .venv/bin/python -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("lifetimes") is None)'; then
  echo "[setup] CDNOW (inside the package lifetimes)" >&2
  .venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --require-hashes -r .ci/cdnow.lock
fi
data=$(.venv/bin/python -c 'import importlib.util as u, pathlib as p; print(p.Path(u.find_spec("lifetimes").origin).parent / "datasets")')
mkdir -p .cache
tr -d '\r' < "$data/CDNOW_master.txt" | awk '{$1=$1; gsub(/ /, ","); print (NR == 1 ? "purchase" : NR - 1) "," $0}' > .cache/cdnow.csv
