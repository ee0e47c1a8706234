"""The whole pipeline for one as-of date in one Spark application; jobs/run_all.sh does the same with a spark-submit for each job.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults \\
    jobs/run_all.py --settings conf/demo.toml --as-of 2017-11-06
"""

from __future__ import annotations

import sys
from pathlib import Path

from equipoise.job.chain import run_chain

if __name__ == "__main__":
    sys.exit(run_chain(Path(__file__).resolve().parent, sys.argv[1:]))
