#!/usr/bin/env bash
# The environment of Airflow, from its own hash-locked list; the jobs keep theirs. Run again, it checks and ends.
exec bash "$(dirname "$0")/venv.sh" airflow airflow_dags/requirements.lock " (about 500 MB)"
