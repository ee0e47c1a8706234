"""What of a plan would run on a GPU, asked of the RAPIDS accelerator in explain-only mode; no device needed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
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

    @property
    def job(self) -> str:
        """The job that asked for it: plans are named `job → table or line`."""
        return self.name.partition(" → ")[0]

    def violations(self, allowed: Mapping[str, str]) -> list[str]:
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


def by_job(plans: Iterable[PlanReport]) -> list[PlanReport]:
    """One report per job, in the order in which they come first: operators and fallbacks of all its plans together."""
    own: dict[str, list[PlanReport]] = {}
    for plan in plans:
        own.setdefault(plan.job, []).append(plan)
    return [
        PlanReport(job, sum(p.operators for p in of), sum(p.on_gpu for p in of), tuple(f for p in of for f in p.fallbacks))
        for job, of in own.items()
    ]


def told(plans: list[PlanReport], allowed: Mapping[str, str]) -> str:
    """A Markdown table, a row per job; a fallback is named by the entry of the allow-list that covers it, or in full."""
    number = Counter(p.job for p in plans)
    head = ["| job | plans | operators | on the GPU | share | what falls back, and how often |", "|---|---|---|---|---|---|"]
    rows = [
        f"| {j.name} | {number[j.name]} | {j.operators:,} | {j.on_gpu:,} | {j.share:.1%} | {_falls(j, allowed)} |"
        for j in by_job(plans)
    ]
    return "\n".join([*head, *rows])


def _falls(job: PlanReport, allowed: Mapping[str, str]) -> str:
    named = Counter(next((text for text in allowed if text in line), f"NOT ALLOWED: {line}") for line in job.fallbacks)
    return "; ".join(f"`{text}` {times}" for text, times in named.most_common()) or "nothing"
