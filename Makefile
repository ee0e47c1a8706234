# make help lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
ROOT := $(CURDIR)
export PATH := $(ROOT)/.venv/bin:$(PATH)
# Without these, spark-submit takes the system's python and fails.
export PYSPARK_PYTHON := $(ROOT)/.venv/bin/python
export PYSPARK_DRIVER_PYTHON := $(ROOT)/.venv/bin/python
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false
# A shell's PYTHONPATH or Spark home would win over the locked environment.
unexport PYTHONPATH
unexport SPARK_HOME

AS_OF ?= 2017-11-06
LATER ?= 2017-12-04
SEEDS ?= 5
SETTINGS ?= conf/demo.toml
WAREHOUSE ?= warehouse
DRIVER_MEMORY ?= 3g
SUBMIT = spark-submit --properties-file conf/spark/local.conf --load-spark-defaults --driver-memory $(DRIVER_MEMORY)
RUN_ALL = $(SUBMIT) jobs/run_all.py

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: ## Environment, Java and jars (the other targets call it)
	@bash .ci/setup.sh

demo: setup ## The whole pipeline on a year of a real shop; report/index.html at the end
	@$(RUN_ALL) --settings $(SETTINGS) --as-of $(AS_OF) --warehouse $(WAREHOUSE)
	@printf '\nTables:  %s/ (silver, feature, gold, ops)\nReport:  report/index.html (open it in a browser)\nSQL:     make sql\n' "$(WAREHOUSE)"

simulated: setup ## The same pipeline on the seeded generator (every event type), into warehouse-simulated
	@$(RUN_ALL) --settings conf/simulated.toml --as-of $(AS_OF)

movielens: setup ## The same pipeline on MovieLens-100k (ratings, several genres per film), into warehouse-movielens
	@bash .ci/movielens.sh
	@$(RUN_ALL) --settings conf/movielens.toml --as-of 1998-03-02

evaluate: setup ## Five training seeds at AS_OF and at LATER, then the table of what the learner was to reach; goes on where it stopped
	@bash .ci/movielens.sh
	@$(SUBMIT) jobs/ingest_events.py --settings $(SETTINGS) --warehouse $(WAREHOUSE)
	@$(SUBMIT) tests/benchmarks/names.py --settings $(SETTINGS) --as-of $(AS_OF) --warehouse $(WAREHOUSE)
	@$(RUN_ALL) --settings $(SETTINGS) --as-of $(AS_OF) --warehouse $(WAREHOUSE) --evaluate.seeds $(SEEDS) --evaluate.held_out_users 0.2 --training.max_seconds 3600 \
	    --evaluate.measured '["$(WAREHOUSE)/other_shop.jsonl"]'
	@$(RUN_ALL) --settings $(SETTINGS) --as-of $(LATER) --warehouse $(WAREHOUSE)-$(LATER) --evaluate.seeds $(SEEDS) --evaluate.lists false --training.max_seconds 3600
	@$(SUBMIT) jobs/print_standing.py --settings $(SETTINGS) --warehouse $(WAREHOUSE) --evaluate.also '["$(WAREHOUSE)-$(LATER)"]'

sql: setup ## Spark SQL with every table and view registered
	@test -f $(WAREHOUSE)/views.sql || { echo "no $(WAREHOUSE)/views.sql; run make demo first" >&2; exit 1; }
	@spark-sql --properties-file conf/spark/local.conf --load-spark-defaults --conf spark.sql.catalogImplementation=in-memory -i $(WAREHOUSE)/views.sql $(ARGS)

thrift: setup ## The same tables and views over JDBC and ODBC on 127.0.0.1, PORT=10000
	@$(SUBMIT) --driver-class-path "$$(sed -n 's/^spark.jars *//p' conf/spark/local.conf | tr , :)" \
	    --conf spark.sql.catalogImplementation=in-memory jobs/serve_tables.py --warehouse $(WAREHOUSE) --port $(or $(PORT),10000)

upkeep: setup ## Join small files, delete files of versions that nobody needs (a week after they were replaced)
	@$(SUBMIT) jobs/maintain_tables.py --settings $(SETTINGS) --warehouse $(WAREHOUSE)

models: setup ## Trained models: figures, which is CURRENT, withdrawn or damaged
	@python jobs/promote_model.py --settings $(SETTINGS) --warehouse $(WAREHOUSE) --list

rollback: setup ## CURRENT goes back to the model before it, or to TO=MODEL_ID; REASON="…" is kept
	@python jobs/promote_model.py --settings $(SETTINGS) --warehouse $(WAREHOUSE) $(if $(TO),--to "$(TO)",--back) $(if $(REASON),--reason "$(REASON)")

check: setup ## Lint, types, import contract, lock file
	@bash .ci/check.sh

test: setup check ## Set-up, checks, unit and integration tests on WORKERS=2 processes (about half an hour)
	@pytest tests -m 'not slow and not gpu and not cluster' -n $(or $(WORKERS),2) --dist loadfile --durations=15 -rs

test-all: setup ## What is slower: kill tests, the whole pipeline on other sources, nights of features, GPU plan check (hours; MAXFAIL=1)
	@bash .ci/movielens.sh
	@bash .ci/cdnow.sh
	@bash .ci/rapids.sh
	@bash .ci/readers.sh
	@pytest tests -m 'slow and not gpu' -n $(or $(WORKERS),2) --dist loadfile --maxfail $(or $(MAXFAIL),1) --timeout 5400 --durations=0 --durations-min=20 -rs -v

cluster-test: setup ## Jobs on a Spark standalone master with two workers on this machine: executors killed, a packed environment, an object store; the tables of one machine
	@bash .ci/s3.sh
	@pytest tests/cluster -m cluster --timeout 5400 -s

faults: setup ## Writers killed KILLS=100 times, a log that loses answers, a full disk, two writers at once; a table at the end (about an hour)
	@EQUIPOISE_KILLS=$(or $(KILLS),100) pytest tests/faults -m slow --timeout 7200 -s

airflow-test: setup ## The DAG in a real Airflow, in an environment of its own; QUICK=1 leaves out what takes minutes
	@bash .ci/airflow.sh
	@MYPYPATH=airflow_dags mypy --python-executable .venv-airflow/bin/python --cache-dir .mypy_cache/airflow airflow_dags/*.py
	@.venv-airflow/bin/python -m pytest tests/airflow $(if $(QUICK),-m 'not slow') --timeout 2400 -rs

bench: setup ## Speed: ratios of two things measured in one run on this machine (half an hour, quiet)
	@python -m tests.benchmarks.streaming
	@python -m tests.benchmarks.inference
	@python -m tests.benchmarks.routes
	@python -m tests.benchmarks.routes --tokens 256 --users 256
	@if [ ! -d $(WAREHOUSE)/feature/examples ]; then \
		$(SUBMIT) jobs/ingest_events.py --settings $(SETTINGS) --warehouse $(WAREHOUSE) && \
		$(SUBMIT) jobs/build_features.py --settings $(SETTINGS) --as-of $(AS_OF) --warehouse $(WAREHOUSE); fi
	@$(SUBMIT) tests/benchmarks/finetuning.py --settings $(SETTINGS) --as-of $(AS_OF) --warehouse $(WAREHOUSE)

bench-features: setup ## A night of features against counting everything anew; Spark beside DuckDB on 5.8 and 58 million events (hours, quiet, 40 GB)
	@if [ ! -d $(WAREHOUSE)/silver/events ]; then $(SUBMIT) jobs/ingest_events.py --settings $(SETTINGS) --warehouse $(WAREHOUSE); fi
	@$(SUBMIT) tests/benchmarks/nights.py --settings $(SETTINGS) --as-of 2017-11-02 --warehouse $(WAREHOUSE)
	@bash .ci/readers.sh
	@$(SUBMIT) tests/benchmarks/features_scale.py --settings $(SETTINGS) --as-of $(AS_OF) --warehouse $(WAREHOUSE)

bench-quality: setup ## Quality against plain methods: balance, exploring, value, reasons, profiles, another shop
	@bash .ci/bench.sh
	@python -m tests.benchmarks.balance
	@python -m tests.benchmarks.explore
	@bash .ci/cdnow.sh
	@python -m tests.benchmarks.value
	@if [ -d $(WAREHOUSE)/gold/recommendations ]; then $(SUBMIT) tests/benchmarks/reasons.py --settings $(SETTINGS) --as-of $(AS_OF) --warehouse $(WAREHOUSE); \
		else echo "reasons: no lists in $(WAREHOUSE); run make demo first to have them tried" >&2; fi
	@if [ -d $(WAREHOUSE)/feature/user_vectors ]; then $(SUBMIT) tests/benchmarks/ablation.py --settings $(SETTINGS) --as-of $(AS_OF) --warehouse $(WAREHOUSE); \
		else echo "ablation: no vectors in $(WAREHOUSE); run make demo first to have them tried" >&2; fi
	@if [ -e $(WAREHOUSE)/models/encoder/CURRENT ]; then python -m tests.benchmarks.zero_shot --warehouse $(WAREHOUSE); \
		else echo "zero_shot: no model in $(WAREHOUSE); run make demo first to have it tried" >&2; fi
	@if [ -e $(WAREHOUSE)/models/encoder/CURRENT ]; then python -m tests.benchmarks.balance_term --warehouse $(WAREHOUSE); \
		else echo "balance_term: no model in $(WAREHOUSE); run make demo first to have it tried" >&2; fi

gpu-check: setup ## Plans of every job against the RAPIDS rules, no GPU needed
	@bash .ci/rapids.sh
	@pytest tests/integration/test_gpu_plans.py -m slow -s --timeout 3600

audit: setup ## Installed packages, their files and jars against what was pinned; dist/sbom.json (CycloneDX); ADVISORIES=1: known vulnerabilities
	@bash .ci/audit.sh

lock: ## Resolve both lock files anew
	@uv pip compile airflow_dags/requirements.in --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 --upgrade --quiet -o airflow_dags/requirements.lock
	@uv pip compile pyproject.toml --extra demo --extra search --extra dev --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 --upgrade -o requirements.lock

dictionary: setup ## Write docs/data_dictionary.md from the catalogue
	@python -m equipoise.report.dictionary

clean: ## Remove what runs leave behind; keeps the environment and the jars
	@rm -rf warehouse warehouse-$(LATER) warehouse-simulated warehouse-movielens report spark-warehouse metastore_db derby.log .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

.PHONY: help setup demo simulated movielens evaluate sql thrift upkeep audit models rollback check test test-all cluster-test airflow-test faults bench bench-features bench-quality gpu-check lock dictionary clean
