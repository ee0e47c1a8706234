#!/usr/bin/env bash
# Everything a fresh Linux x86-64 machine needs: Java, the hash-locked environment, the jars. Run again, it checks and ends.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '[setup] %s\n' "$*" >&2; }
fail() { printf '[setup] %s\n' "$*" >&2; exit 1; }

[ "$(uname -s)-$(uname -m)" = "Linux-x86_64" ] || fail "this is $(uname -s) $(uname -m); expected Linux x86-64, the only place where all pinned packages have builds"

python="${PYTHON:-}"
if [ -z "$python" ]; then
  for candidate in python3.11 python3; do
    if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
      python=$(command -v "$candidate"); break
    fi
  done
fi
[ -n "$python" ] || fail "no Python 3.11 found (python3 is $(python3 --version 2>&1 || echo missing)); on Debian or Ubuntu: apt-get install python3.11 python3.11-venv, or name one: make setup PYTHON=/path/to/python3.11"

java="${JAVA_HOME:+$JAVA_HOME/bin/}java"   # as spark-submit chooses it
java_version() { "$java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -1; }
version=$(command -v "$java" >/dev/null && java_version || true)
if [ "$version" != 17 ] && [ "$version" != 21 ]; then
  install="apt-get install -y openjdk-17-jre-headless"
  if command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }; then
    sudo=$([ "$(id -u)" = 0 ] || echo sudo)
    say "Java ($java) is '${version:-missing}', expected 17 or 21: installing openjdk-17-jre-headless"
    $sudo apt-get update -q >&2 && $sudo $install >&2
    home=$(ls -d /usr/lib/jvm/java-17-openjdk-* | head -1)
    [ -x "$home/bin/java" ] && [ "$(java_version)" = 17 ] || fail "Java 17 is in $home but '$java' is another one; run: export JAVA_HOME=$home PATH=$home/bin:\$PATH"
  else
    fail "Java ($java) is '${version:-missing}', expected 17 or 21; run: sudo $install   (other systems: install a Java 17 runtime, then try again), and let JAVA_HOME, if it is set, name that one"
  fi
fi

stamp=".venv/.equipoise-$(cat requirements.lock .ci/uv.lock pyproject.toml | sha256sum | cut -c1-16)"
if [ ! -f "$stamp" ]; then
  say "environment from requirements.lock (about 3 GB to download the first time, torch most of it)"
  [ -x .venv/bin/python ] || "$python" -m venv .venv
  rm -f .venv/.equipoise-*   # of a release before or after this one: going back to it has to install anew
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .ci/uv.lock
  .venv/bin/uv pip sync --quiet --require-hashes --python .venv/bin/python requirements.lock
  .venv/bin/uv pip install --quiet --python .venv/bin/python --no-build-isolation --no-deps --editable .
  touch "$stamp"
fi

if ! (cd .jars 2>/dev/null && sha256sum --check --status ../conf/spark/jars.sha256 2>/dev/null); then
  say "jars of Delta Lake"
  bash .ci/jars.sh io.delta:delta-spark_2.13:4.0.1
fi
say "ready"
