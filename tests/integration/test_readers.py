"""The tables without Spark: delta-rs, DuckDB and polars read every one of them, and docs/readers.md does what it says."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from pyspark.sql import functions as F

from equipoise.tables import CATALOGUE
from tests.integration.report_tables import AS_OF
from tests.integration.test_report_publish import Night

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-readers" / "bin" / "python"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="the analyst's environment is not here: bash .ci/readers.sh"),
]
COUNT = """
import json, sys
import deltalake, duckdb, polars
told = {}
for name in json.loads(sys.argv[1]):
    path = "warehouse/" + name.replace(".", "/")
    rows = deltalake.DeltaTable(path).to_pyarrow_dataset()
    by_duckdb = duckdb.sql("SELECT count(*) FROM rows").fetchall()[0][0]
    by_polars = polars.scan_delta(path).select(polars.len()).collect().item()
    told[name] = [rows.schema.names, rows.count_rows(), by_duckdb, by_polars]
print(json.dumps(told))
"""


def said(night: Night, code: str, *arguments: str) -> str:
    """What the code prints in the analyst's environment, the warehouse at hand."""
    # On a busy machine a thread of these libraries may outlive the interpreter and abort it: that end is not what is tested.
    ended = code + "\nimport os, sys\nsys.stdout.flush()\nos._exit(0)"
    done = subprocess.run([PYTHON, "-c", ended, *arguments], cwd=night.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_table_is_read_alike(night: Night) -> None:
    names = [n for n in CATALOGUE if night.store.version(n) is not None]
    assert len(names) > 15
    told = json.loads(said(night, COUNT, json.dumps(names)))
    for name in names:
        ours = night.store.read(name)
        assert told[name] == [ours.columns, *[ours.count()] * 3], name


def test_the_page_runs_as_it_stands_and_reads_what_is_published(night: Night) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "readers.md").read_text(), re.DOTALL)
    assert len(blocks) == 4
    asked = "print(segments.num_rows, set(segments['as_of'].to_pylist()), current('silver.items').num_rows)"
    printed = said(night, "\n".join([*blocks, asked]))
    published = night.store.read("gold.user_segments").filter(F.col("as_of") == F.lit(AS_OF))
    assert printed.strip().splitlines()[-1] == f"{published.count()} { {AS_OF} } {night.store.read('silver.items').count()}"
    assert "mean_p_buy" in printed
