#!/usr/bin/env bash
# What is installed against the lock file, the software bill of materials, and, where an index with advisories answers, known vulnerabilities.
# The tools have an environment of their own (.ci/audit.lock).
set -euo pipefail
cd "$(dirname "$0")/.."
stamp=".venv-audit/.equipoise-$(sha256sum < .ci/audit.lock | cut -c1-16)"
if [ ! -f "$stamp" ]; then
  echo "[audit] environment from .ci/audit.lock" >&2
  [ -x .venv-audit/bin/python ] || .venv/bin/python -m venv --without-pip .venv-audit
  .venv/bin/uv pip sync --quiet --require-hashes --python .venv-audit/bin/python .ci/audit.lock
  touch "$stamp"
fi
code=0
.venv-audit/bin/python .ci/audit.py || code=1
if [ "${ADVISORIES:-}" = 1 ]; then
  .venv-audit/bin/pip-audit --requirement requirements.lock --require-hashes --disable-pip --strict --progress-spinner off || code=1
else
  echo "known vulnerabilities: not asked for; ADVISORIES=1 make audit asks the package index, which needs the network" >&2
fi
exit "$code"
