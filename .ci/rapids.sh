#!/usr/bin/env bash
# Fetches the RAPIDS accelerator jar (1 GB) into .jars/ and checks it. Needs Maven: the artifact has no published parent, so Ivy refuses it.
set -euo pipefail
cd "$(dirname "$0")/.."
version=26.08.1
jar=rapids-4-spark_2.13-$version.jar
check() { (cd .jars && sha256sum --check --status ../conf/spark/rapids.sha256 2>/dev/null); }
mkdir -p .jars
check && exit 0
if ! command -v mvn >/dev/null; then
  if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then apt-get update -q >&2; apt-get install -y -q maven >&2
  else echo "[setup] Maven is missing; run: sudo apt-get install -y maven" >&2; exit 1; fi
fi
echo "[setup] fetching $jar (1 GB)" >&2
mvn --batch-mode --quiet dependency:copy "-Dartifact=com.nvidia:rapids-4-spark_2.13:$version" "-DoutputDirectory=$PWD/.jars" -Dmdep.useBaseVersion=true >&2
check || { echo "[setup] .jars/$jar is not the one in conf/spark/rapids.sha256: do not use it; remove it and run again" >&2; exit 1; }
