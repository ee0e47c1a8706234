"""Reading the accelerator's explanation."""

from __future__ import annotations

from equipoise.spark.plan_check import by_job, report, told

TEXT = """!Exec <HashAggregateExec> cannot run on GPU because not all expressions can be replaced
  @Expression <AttributeReference> k#4L could run on GPU
    ! <Skewness> skewness(v#5) cannot run on GPU because GPU does not currently support the operator class Skewness
  !Exec <ShuffleExchangeExec> cannot run on GPU because Columnar exchange without columnar children is inefficient
    *Exec <FilterExec> will run on GPU
      *Exec <FileSourceScanExec> will run on GPU
"""


def test_counts_operators_and_keeps_causes() -> None:
    got = report("p", TEXT)
    assert (got.operators, got.on_gpu) == (4, 2)
    assert got.share == 0.5
    assert len(got.fallbacks) == 2, "the exchange is a consequence, not a cause"


def test_the_allow_list_covers_by_text() -> None:
    got = report("p", TEXT)
    assert len(got.violations({})) == 2
    assert got.violations({"Skewness": "r", "HashAggregateExec": "follows from Skewness"}) == []


def test_a_job_is_all_its_plans() -> None:
    plans = [report("a → t", TEXT), report("a → u", "*Exec <FilterExec> will run on GPU\n"), report("b → t", TEXT)]
    plans = [plans[0], plans[2], plans[1]]  # a job may come again
    assert [(j.name, j.operators, j.on_gpu, len(j.fallbacks)) for j in by_job(plans)] == [("a", 5, 3, 2), ("b", 4, 2, 2)]
    rows = told(plans, {"Skewness": "r"}).splitlines()
    assert rows[2].startswith("| a | 2 | 5 | 3 | 60.0% | ")
    assert "`Skewness` 1" in rows[2] and "NOT ALLOWED: !Exec <HashAggregateExec>" in rows[2]
