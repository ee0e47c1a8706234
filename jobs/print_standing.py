"""Prints what the learner was to reach and where it stands, and writes it into <warehouse>/standing.md.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults \\
    jobs/print_standing.py --settings conf/demo.toml --evaluate.also '["warehouse-2017-12-04"]'
"""

from __future__ import annotations

import sys

from equipoise.job.standing import run_standing

if __name__ == "__main__":
    sys.exit(run_standing(sys.argv[1:], (__doc__ or "").strip()))
