#!/usr/bin/env bash
# Who may read which layer of a warehouse on a disk: rights.sh WAREHOUSE GROUP. To be run once by the jobs' user (or root), again at will.
#   jobs' user    everything
#   GROUP         reads gold, ops/published and views.sql; not silver, feature, models, the other tables of ops, locks
#   others        nothing
# The folders of the layers are the gate: what jobs write below them belongs to the group by the setgid bit and is readable by umask 022 or 027.
set -euo pipefail
warehouse=${1:?usage: rights.sh WAREHOUSE GROUP} group=${2:?usage: rights.sh WAREHOUSE GROUP}
[ -d "$warehouse/gold" ] || { echo "$warehouse/gold: no such folder; expected a warehouse with a finished night" >&2; exit 1; }
open() { find "$1" -exec chgrp -h "$group" {} + && find "$1" -type d -exec chmod 2750 {} + && find "$1" -type f -exec chmod 640 {} +; }
# May be passed through, not listed: names of tables are no secret, but nobody browses.
for folder in "$warehouse" "$warehouse/ops"; do chgrp "$group" "$folder"; chmod 2710 "$folder"; done
# A table of ops that is first written later would be the group's by the setgid bit: its folder is made now, so that it is closed below.
python="${PYTHON:-$(dirname "$0")/../.venv/bin/python}"
names=$("$python" -c 'from equipoise.tables import CATALOGUE; print(*(t.name for t in CATALOGUE.values() if t.layer == "ops"))')
for name in $names; do
  [ -e "$warehouse/ops/$name" ] || { mkdir "$warehouse/ops/$name" && chown --reference="$warehouse/ops" "$warehouse/ops/$name"; }
done
for part in "$warehouse"/* "$warehouse"/ops/*; do
  case "${part#"$warehouse/"}" in
    gold|ops/published|views.sql) open "$part" ;;
    ops) ;;
    *) chmod go-rwx "$part" ;;   # a folder that nobody else may enter closes all below it
  esac
done
