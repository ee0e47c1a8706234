"""What the rules counted: metrics of a run, the sums that must hold, and the gate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from equipoise.errors import ContractError, GateError
from equipoise.quality.rules import MISSING, RULES, rules_for
from equipoise.sources.canonical import Kind

METRICS_SCHEMA = "table_name STRING, metric STRING, value DOUBLE, status STRING"


@dataclass(frozen=True)
class Counts:
    """Rows of one input by what became of them. `per_rule` and `per_missing` hold every rule and column, zeros too."""

    name: str
    kind: Kind
    rows_in: int
    good: int
    quarantined: int
    per_rule: dict[str, int]
    per_missing: dict[str, int]

    @property
    def quarantined_share(self) -> float:
        return self.quarantined / self.rows_in if self.rows_in else 0.0


def tally(checked: DataFrame, name: str, kind: Kind) -> Counts:
    """Counts of one input's checked rows, all taken from the rows themselves; see `balanced`."""
    columns = sorted({m.column for m in MISSING if m.applies_to == kind})
    sums = checked.agg(
        F.sum((~F.col("rejected")).cast("bigint")).alias("good"),
        F.sum(F.col("rejected").cast("bigint")).alias("quarantined"),
        *[F.sum(_is_missing(c, kind).cast("bigint")).alias(f"missing:{c}") for c in columns],
    )
    found: dict[str, Any] = sums.collect()[0].asDict()
    broken = checked.filter(F.size("violations") > 0).select(F.explode("violations").alias("rule"))
    # one row per row × broken rule
    by_rule = {r["rule"]: int(r["rows"]) for r in broken.groupBy("rule").agg(F.count(F.lit(1)).alias("rows")).collect()}
    good, quarantined = int(found["good"] or 0), int(found["quarantined"] or 0)
    per_rule = {r.id: by_rule.get(r.id, 0) for r in rules_for(kind)}
    per_missing = {c: int(found[f"missing:{c}"] or 0) for c in columns}
    return Counts(name, kind, good + quarantined, good, quarantined, per_rule, per_missing)


def _is_missing(column: str, kind: Kind) -> Column:
    if any(m.column == column and m.applies_to == kind and m.default for m in MISSING):
        return F.array_contains("defaulted", column)
    return ~F.col("broken") & F.col(column).isNull()


def balanced(counts: Counts, source: DataFrame, quarantine: DataFrame) -> Counts:
    """The counts with rows_in counted in the source itself and quarantined in the frame that will be written.

    Raises:
        ContractError: when rows in is not rows good + rows quarantined.
    """
    rows_in, quarantined = source.count(), quarantine.count()
    if rows_in != counts.good + quarantined:
        raise ContractError(
            f"{counts.name}: {rows_in:,} rows in, but {counts.good:,} good + {quarantined:,} quarantined; expected as many: "
            "a join dropped or doubled rows, or the source changed while it was read; run again, then look at the adapter"
        )
    return replace(counts, rows_in=rows_in, quarantined=quarantined)


def metrics(counts: Counts, max_share: float) -> list[tuple[str, str, float, str]]:
    """Rows of ops.quality_metrics without run_id: (table_name, metric, value, status)."""
    gate = "fail" if counts.quarantined_share > max_share else ("warn" if counts.quarantined else "ok")
    rows: list[tuple[str, float, str]] = [
        ("rows_in", counts.rows_in, "ok"),
        ("rows_good", counts.good, "ok"),
        ("rows_quarantined", counts.quarantined, gate),
        ("quarantined_share", counts.quarantined_share, gate),
        *((f"rule:{r}", n, "warn" if n else "ok") for r, n in counts.per_rule.items()),
        *((f"missing:{c}", n, "ok") for c, n in counts.per_missing.items()),
    ]
    return [(counts.name, metric, float(value), status) for metric, value, status in rows]


def gate(all_counts: list[Counts], max_share: float) -> None:
    """Lets the run go on.

    Raises:
        GateError: naming every input of which more than `max_share` was quarantined, with the rules that did it.
    """
    over = [c for c in all_counts if c.quarantined_share > max_share]
    if over:
        listed = "\n".join(
            f"  {c.name}: {c.quarantined:,} of {c.rows_in:,} rows ({c.quarantined_share:.2%}): {_reasons(c)}" for c in over
        )
        raise GateError(
            f"more than {max_share:.2%} of an input was quarantined, silver.* is left as it was\n{listed}\n"
            "  look at ops.quarantine, mend the source or its settings, or raise quality.max_quarantined_share"
        )


def _reasons(counts: Counts) -> str:
    rejecting = {r.id for r in RULES if r.level == "reject"}
    found = sorted(((n, r) for r, n in counts.per_rule.items() if n and r in rejecting), key=lambda x: (-x[0], x[1]))
    return ", ".join(f"{r} {n:,}" for n, r in found)
