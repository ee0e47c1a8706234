#!/usr/bin/env bash
# The whole pipeline for one as-of date: bash jobs/run_all.sh SETTINGS AS_OF [any setting as a flag…]
# Every job is one spark-submit; a scheduler would call the same lines. Stops at the first job that fails, with its exit code;
# a model that its gate did not let in (3) ends nothing: the jobs after it go on with CURRENT, and the script ends with 3.
# SPARK_PROFILE and SPARK_TRAINING_PROFILE name other profiles, DRIVER_MEMORY the drivers'. The cluster profiles name no master: without SPARK_MASTER, or one
# in spark-defaults.conf, Spark runs on this machine.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -d .venv ]; then   # as the Makefile has it: the system's python fails, and a shell's own paths would win over the environment
  export PATH="$PWD/.venv/bin:$PATH" PYSPARK_PYTHON="${PYSPARK_PYTHON:-$PWD/.venv/bin/python}"
  export PYSPARK_DRIVER_PYTHON="${PYSPARK_DRIVER_PYTHON:-$PWD/.venv/bin/python}" HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
  unset PYTHONPATH SPARK_HOME
fi
settings=$1 as_of=$2; shift 2
profile=${SPARK_PROFILE:-conf/spark/local.conf}
training_profile=${SPARK_TRAINING_PROFILE:-$profile}
memory=${DRIVER_MEMORY:-3g}
started=$SECONDS gated=0

submit() {
  local job=$1 conf=$profile; shift
  [ "$job" = finetune_encoder ] && conf=$training_profile
  local from=$SECONDS code=0
  printf '\n== %s\n' "$job" >&2
  spark-submit ${SPARK_MASTER:+--master "$SPARK_MASTER"} --properties-file "$conf" --load-spark-defaults --driver-memory "$memory" "jobs/$job.py" --settings "$settings" "$@" || code=$?
  if [ "$code" = 3 ] && [ "$job" = finetune_encoder ]; then
    gated=3; printf "== %s: tonight's model was not let in; what comes after it goes on with CURRENT\n" "$job" >&2
  elif [ "$code" != 0 ]; then printf '== %s ended with exit code %s\n' "$job" "$code" >&2; exit "$code"; fi
  printf '== %s took %s s\n' "$job" "$((SECONDS - from))" >&2
}

submit ingest_events "$@"
for job in build_features mine_associations finetune_encoder score_users segment_users track_migration profile_users build_audiences collect_feedback value_items recommend_items watch_tables evaluate_models publish_report; do
  submit "$job" --as-of "$as_of" "$@"
done
printf '\nThe whole pipeline took %s s.\n' "$((SECONDS - started))" >&2
exit "$gated"
