#!/usr/bin/env bash
# An environment beside .venv from a hash-locked list: venv.sh NAME LOCK_FILE NOTE makes .venv-NAME. Run again, it checks and ends.
set -euo pipefail
cd "$(dirname "$0")/.."
home=".venv-$1"
stamp="$home/.equipoise-$(sha256sum < "$2" | cut -c1-16)"
[ -f "$stamp" ] && exit 0
echo "[$1] environment from $2$3" >&2
[ -x "$home/bin/python" ] || .venv/bin/python -m venv --without-pip "$home"
rm -f "$home"/.equipoise-*   # of another list: going back to it has to install anew
.venv/bin/uv pip sync --quiet --require-hashes --python "$home/bin/python" "$2"
touch "$stamp"
