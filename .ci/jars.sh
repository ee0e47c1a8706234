#!/usr/bin/env bash
# Fetches the jars of one coordinate with Spark's own resolver and checks them: jars.sh COORDINATE [LIST [FOLDER]]; the list is conf/spark/LIST.sha256, jars
# unless told, the folder .jars unless told.
set -euo pipefail
cd "$(dirname "$0")/.."
list="$PWD/conf/spark/${2:-jars}.sha256" folder=${3:-.jars}
export PATH="$PWD/.venv/bin:$PATH" PYSPARK_PYTHON="$PWD/.venv/bin/python"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo 'pass' > "$work/nothing.py"
spark-submit --master 'local[1]' --packages "$1" --conf spark.jars.ivy="$work/ivy" --conf spark.ui.enabled=false "$work/nothing.py" >"$work/log" 2>&1 \
  || { tail -20 "$work/log" >&2; echo "[setup] could not fetch $1; check the network, then run again" >&2; exit 1; }
mkdir -p "$folder"
for jar in "$work"/ivy/jars/*.jar; do
  name=$(basename "$jar")
  cp "$jar" "$folder/${name#*_}"   # Ivy puts the organisation before the first underscore
done
(cd "$folder" && sha256sum --check --quiet "$list") \
  || { echo "[setup] a jar in $folder/ is not the one in ${list#"$PWD/"}: do not use it; remove $folder and run again" >&2; exit 1; }
