#!/usr/bin/env bash
# What is installed against the lock file, the software bill of materials, and, where an index with advisories answers, known vulnerabilities.
# The tools have an environment of their own (.ci/audit.lock).
set -euo pipefail
cd "$(dirname "$0")/.."
bash .ci/venv.sh audit .ci/audit.lock ""
code=0
.venv-audit/bin/python .ci/audit.py || code=1
if [ "${ADVISORIES:-}" = 1 ]; then
  .venv-audit/bin/pip-audit --requirement requirements.lock --require-hashes --disable-pip --strict --progress-spinner off || code=1
else
  echo "known vulnerabilities: not asked for; ADVISORIES=1 make audit asks the package index, which needs the network" >&2
fi
exit "$code"
