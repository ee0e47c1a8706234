"""Complete Journey by product type, on the protocol of the published floors (raw UTC dates): lists, and places that explore.

python -m tests.benchmarks.explore [--resamples 1000] [--validation]
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from datetime import timedelta

from equipoise.evaluate.behaviour import EPOCH
from equipoise.evaluate.floors import DROPPED, ITEM_CUT, ITEM_END, ITEM_ORIGIN, WINDOW_DAYS
from equipoise.evaluate.table import Row, rows
from equipoise.evaluate.tasks import leaves
from tests.integration.test_evaluate_floors import panel

SHOWN = {
    "leaves": ("ndcg", "recall", "ndcg_minus_personal_decay"),
    "explore": ("explore_slot_precision", "explore_slot_cost", "ndcg"),
}


def table(found: list[Row], task: str) -> str:
    """A markdown table of one task, a method a line."""
    mine = {(r.method, r.metric): r for r in found if r.task == task}
    lines = [f"| {task} | {' | '.join(SHOWN[task])} |", f"|---|{'---|' * len(SHOWN[task])}"]
    for method in dict.fromkeys(m for m, _ in mine):
        cells = [mine.get((method, metric)) for metric in SHOWN[task]]
        told = [f"{r.value:.4f} [{r.ci_low:.4f}, {r.ci_high:.4f}]" if r and r.ci_low is not None else "" for r in cells]
        lines.append(f"| {method} | {' | '.join(told)} |")
    return "\n".join(lines)


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--validation", action="store_true", help="first basket from day 281 to 308 instead of 309 to 364")
    asked = parser.parse_args()
    start, end = (ITEM_CUT, ITEM_ORIGIN) if asked.validation else (ITEM_ORIGIN, ITEM_END)
    behaviour, catalogue = panel()
    world = leaves.world(replace(behaviour, day=behaviour.utc_day), catalogue, DROPPED, start, end, WINDOW_DAYS, seed=1)
    assert world is not None
    found = [
        row
        for one in leaves.comparisons(world, EPOCH + timedelta(days=start), start, end, WINDOW_DAYS, 1, {})
        for row in rows(one, resamples=asked.resamples, seed=1)
    ]
    sys.stdout.write(
        f"\nComplete Journey by product type, first basket from {EPOCH + timedelta(days=start)} on, {found[0].n:,} households\n\n"
    )
    sys.stdout.write("\n\n".join(table(found, task) for task in SHOWN) + "\n")


if __name__ == "__main__":
    main()
