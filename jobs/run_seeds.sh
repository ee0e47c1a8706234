#!/usr/bin/env bash
# The full evaluation table: trains one model per seed, scores with each, evaluates them together. bash jobs/run_seeds.sh SETTINGS AS_OF SEEDS [flags…]
set -euo pipefail
cd "$(dirname "$0")/.."
settings=$1 as_of=$2 seeds=$3; shift 3
profile=${SPARK_PROFILE:-conf/spark/local.conf}
training_profile=${SPARK_TRAINING_PROFILE:-$profile}
submit() {
  local job=$1 conf=$profile; shift
  [ "$job" = finetune_encoder ] && conf=$training_profile
  spark-submit --properties-file "$conf" --load-spark-defaults --driver-memory "${DRIVER_MEMORY:-3g}" "jobs/$job.py" --settings "$settings" "$@"
}
submit ingest_events "$@"
submit build_features --as-of "$as_of" "$@"
# The last model trained becomes CURRENT: seed 1, the one the nightly pipeline uses.
for seed in $(seq "$seeds" -1 1); do
  printf '\n== seed %s of %s\n' "$seed" "$seeds" >&2
  submit finetune_encoder --as-of "$as_of" --training.seed "$seed" "$@"
done
for job in score_users segment_users recommend_items; do submit "$job" --as-of "$as_of" "$@"; done
submit evaluate_models --as-of "$as_of" --evaluate.seeds "$seeds" "$@"
submit publish_report --as-of "$as_of" "$@"
