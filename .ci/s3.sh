#!/usr/bin/env bash
# What a warehouse on s3a:// needs beside the rest: Hadoop's client (560 MB of jars, in .jars/s3), and for the tests a server that speaks S3 (moto), in an
# environment of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! (cd .jars/s3 2>/dev/null && sha256sum --check --status ../../conf/spark/s3.sha256); then
  echo "[setup] jars of the S3 client (560 MB)" >&2
  bash .ci/jars.sh org.apache.hadoop:hadoop-aws:3.4.1 s3 .jars/s3
fi
[ "${1:-}" = jars ] || bash .ci/venv.sh s3 .ci/s3.lock " (about 250 MB)"
