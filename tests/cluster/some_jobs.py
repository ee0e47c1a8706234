"""jobs/run_all.py with those jobs alone that ONLY names, such as ONLY="ingest_events score_users", in one application."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from equipoise.job import chain

if __name__ == "__main__":
    vars(chain)["ORDER"] = tuple(os.environ["ONLY"].split())
    sys.exit(chain.run_chain(Path("jobs").resolve(), sys.argv[1:]))
