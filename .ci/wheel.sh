#!/usr/bin/env bash
# The project's code as dist/equipoise.zip, for --py-files: workers then run the driver's code whatever their environment has installed.
set -euo pipefail
cd "$(dirname "$0")/.."
rm -rf build dist/*.whl dist/equipoise.zip
.venv/bin/uv build --quiet --wheel --no-build-isolation --python .venv/bin/python -o dist .
# Spark puts zip files on the workers' path; a wheel is one under another name.
mv dist/*.whl dist/equipoise.zip
rm -rf build
