#!/usr/bin/env bash
# What Spark asks a machine for: {"name": "gpu", "addresses": ["0", "1"]}, the GPUs that nvidia-smi sees; none where there is none.
set -euo pipefail
found=$(command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=index --format=csv,noheader || true)
printf '{"name": "gpu", "addresses": [%s]}\n' "$(printf '%s' "$found" | sed 's/ //g; s/.*/"&"/' | paste -sd, -)"
