"""Which published models stand beside the one that is judged."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from equipoise.evaluate.seeds import beside, seen_after
from equipoise.models.package import told_meta
from equipoise.training.registry import Registry
from tests.unit.training.packages import DATES, hollow

AS_OF = date(2017, 11, 6)


def test_a_sister_that_has_seen_the_answers_is_left_out(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    for name in ("judged", "sister", "unknown"):
        hollow(registry, name, **({"dates": {}} if name == "unknown" else {}))
    hollow(registry, "late", dates=DATES | {"seen_until": "2017-12-04"})
    judged, late = (told_meta(registry.path(name)) for name in ("judged", "late"))
    assert set(beside(registry, judged, 5).sisters) == {"sister", "unknown", "late"}
    assert set(beside(registry, judged, 5, AS_OF).sisters) == {"sister", "unknown"}
    assert seen_after(late, AS_OF) == "2017-12-04" and not seen_after(judged, AS_OF)
