"""What of a plan would run on a GPU, asked of the RAPIDS accelerator in explain-only mode; no device needed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame

FALLBACK = re.compile(r"^\s*!")
EXEC = re.compile(r"^\s*([!*#])Exec <(\w+)>")
CONSEQUENCES = ("Columnar exchange without columnar children is inefficient",)
"""Lines that follow from another fallback and have no cause of their own."""


@dataclass(frozen=True)
class PlanReport:
    """One plan: operators in all, operators on the GPU, and every fallback line with a cause of its own."""

    name: str
    operators: int
    on_gpu: int
    fallbacks: tuple[str, ...]

    @property
    def share(self) -> float:
        """Share of operators that would run on the GPU; 1 for an empty plan."""
        return self.on_gpu / self.operators if self.operators else 1.0

    def violations(self, allowed: dict[str, str]) -> list[str]:
        """Fallback lines that no entry of the allow-list (text that occurs in the line → reason) covers."""
        return [line for line in self.fallbacks if not any(text in line for text in allowed)]


def explain(frame: DataFrame) -> str:
    """The accelerator's opinion on every operator and expression of the frame's plan; nothing is executed."""
    jvm: Any = frame.sparkSession.sparkContext._jvm
    return str(jvm.com.nvidia.spark.rapids.ExplainPlan.explainPotentialGpuPlan(frame._jdf, "ALL"))


def report(name: str, text: str) -> PlanReport:
    """The explanation in numbers."""
    marks = [m.group(1) for m in map(EXEC.match, text.splitlines()) if m]
    fallbacks = [line.strip() for line in text.splitlines() if FALLBACK.match(line) and not any(c in line for c in CONSEQUENCES)]
    return PlanReport(name, len(marks), sum(m != "!" for m in marks), tuple(fallbacks))
