#!/usr/bin/env bash
# Fetches the jars of one coordinate with Spark's own resolver into .jars/ and checks them against conf/spark/jars.sha256.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" PYSPARK_PYTHON="$PWD/.venv/bin/python"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo 'pass' > "$work/nothing.py"
spark-submit --master 'local[1]' --packages "$1" --conf spark.jars.ivy="$work/ivy" --conf spark.ui.enabled=false "$work/nothing.py" >"$work/log" 2>&1 \
  || { tail -20 "$work/log" >&2; echo "[setup] could not fetch $1; check the network, then run again" >&2; exit 1; }
mkdir -p .jars
for jar in "$work"/ivy/jars/*.jar; do
  name=$(basename "$jar")
  cp "$jar" ".jars/${name#*_}"   # Ivy puts the organisation before the first underscore
done
(cd .jars && sha256sum --check --quiet ../conf/spark/jars.sha256) \
  || { echo "[setup] a jar in .jars/ is not the one in conf/spark/jars.sha256: do not use it; remove .jars and run again" >&2; exit 1; }
