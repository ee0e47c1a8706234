#!/usr/bin/env bash
# The whole pipeline for one as-of date: bash jobs/run_all.sh SETTINGS AS_OF [any setting as a flag…]
# Every job is one spark-submit; a scheduler would call the same lines. Stops at the first job that fails, with its exit code.
set -euo pipefail
cd "$(dirname "$0")/.."
settings=$1 as_of=$2; shift 2
profile=${SPARK_PROFILE:-conf/spark/local.conf}
training_profile=${SPARK_TRAINING_PROFILE:-$profile}
memory=${DRIVER_MEMORY:-3g}
started=$SECONDS

submit() {
  local job=$1 conf=$profile; shift
  [ "$job" = finetune_encoder ] && conf=$training_profile
  local from=$SECONDS code=0
  printf '\n== %s\n' "$job" >&2
  spark-submit --properties-file "$conf" --load-spark-defaults --driver-memory "$memory" "jobs/$job.py" --settings "$settings" "$@" || code=$?
  if [ "$code" != 0 ]; then printf '== %s ended with exit code %s\n' "$job" "$code" >&2; exit "$code"; fi
  printf '== %s took %s s\n' "$job" "$((SECONDS - from))" >&2
}

submit ingest_events "$@"
for job in build_features mine_associations finetune_encoder score_users segment_users track_migration profile_users build_audiences collect_feedback value_items recommend_items watch_tables evaluate_models publish_report; do
  submit "$job" --as-of "$as_of" "$@"
done
printf '\nThe whole pipeline took %s s.\n' "$((SECONDS - started))" >&2
