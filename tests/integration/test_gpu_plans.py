"""Every plan of every job would run on a GPU, but for the written allow-list (explain-only, no device)."""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from equipoise.spark.plan_check import PlanReport, by_job, told
from tests.conftest import PLANS
from tests.pipeline import JOBS, ROOT, environment

pytestmark = pytest.mark.slow
JAR = ROOT / ".jars" / "rapids-4-spark_2.13-26.08.1.jar"
MOST_ALLOWED = 10
LEAST_SHARE = 0.95
"""Least share of operators on the GPU, per job."""


@pytest.mark.skipif(not JAR.exists(), reason="the RAPIDS jar is not in .jars/; make gpu-check fetches it")
def test_no_plan_falls_back_outside_the_allow_list(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    out = tmp_path / "plans.json"
    line = ["spark-submit", "--properties-file", "conf/spark/explain.conf", "--load-spark-defaults", "--driver-memory", "3g"]
    line += ["--conf", "spark.sql.shuffle.partitions=2"]
    ended = subprocess.run(
        [*line, "tests/gpu_plans.py", str(tmp_path / "warehouse"), str(out)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=3500,
    )
    assert ended.returncode == 0, (ended.stdout + ended.stderr)[-4000:]
    allowed = tomllib.loads((ROOT / "conf" / "spark" / "gpu_allow_list.txt").read_text(encoding="utf-8"))["allowed"]
    assert len(allowed) <= MOST_ALLOWED
    plans = [
        PlanReport(r["name"], r["operators"], r["on_gpu"], tuple(r["fallbacks"]))
        for r in json.loads(out.read_text(encoding="utf-8"))
    ]
    record_property(PLANS, told(plans, allowed))
    checked = by_job(plans)
    assert len(checked) >= len(JOBS), "every job is heard"
    assert {j.name: j.violations(allowed) for j in checked if j.violations(allowed)} == {}
    assert all(j.share >= LEAST_SHARE for j in checked)
    used = {text for text in allowed if any(text in line for p in checked for line in p.fallbacks)}
    assert used == set(allowed), f"allowed but no longer needed: {set(allowed) - used}"
