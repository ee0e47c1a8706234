"""Makes another model CURRENT by hand: an earlier one (--back), a named one (--to); --list shows them. Starts no Spark.

python jobs/promote_model.py --settings conf/demo.toml --back --reason "interests went flat"
"""

from __future__ import annotations

import sys

from equipoise.job.promote import run_promote

if __name__ == "__main__":
    sys.exit(run_promote(sys.argv[1:], (__doc__ or "").strip()))
