"""Planted drifts of the simulated shop are found where they lie; whose taste stays is left alone."""

from __future__ import annotations

from datetime import date
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest

from equipoise.migration.trajectory import trajectory
from equipoise.settings.model import DEFAULT_WEIGHTS
from equipoise.sources.behaviour import COLUMNS, Shelves, user_events
from equipoise.sources.world import World, plant_items, plant_users
from tests.unit.migration.made import EVIDENCE, Line, flat_trend, visits_of

WORLD = World(users=300)
AT = {name: i for i, name in enumerate(COLUMNS)}
Told = tuple[int | None, list[dict[str, object]]]


@lru_cache
def told() -> tuple[Told, ...]:
    """Window of the planted drift (None: none) and trajectory of every user who comes regularly."""
    items = plant_items(WORLD)
    shelves, category = Shelves(items), dict(zip(items["item_id"], items["category_2"], strict=True))
    trend = flat_trend(list(items["category_2"]))
    found: list[Told] = []
    for user in plant_users(WORLD).to_dict("records"):
        if user["value_class"] == "O":
            continue
        weights: dict[tuple[int, str], float] = {}
        for row in user_events(WORLD, shelves, {str(k): v for k, v in user.items()}):
            weight = DEFAULT_WEIGHTS.get(row[AT["event_type"]], 0.0)
            if weight and row[AT["item_id"]] is not None:
                day = (date.fromisoformat(row[AT["time"]][:10]) - WORLD.start).days
                key = (day, category[row[AT["item_id"]]])
                weights[key] = weights.get(key, 0.0) + weight
        lines: list[Line] = [(day, name, w) for (day, name), w in weights.items() if 0 <= day < 13 * 28]
        drift = None if pd.isna(user["drift_date"]) else (pd.Timestamp(user["drift_date"]).date() - WORLD.start).days // 28
        found.append((drift, trajectory(str(user["raw_user"]), visits_of(lines), EVIDENCE, trend)))
    return tuple(found)


def test_the_change_point_is_where_the_taste_changed(capsys: pytest.CaptureFixture[str]) -> None:
    named = [(drift, next((int(str(r["window"])) for r in rows if r["change_point"]), None)) for drift, rows in told()]
    drifted = [(drift, window) for drift, window in named if drift is not None]
    found = float(np.mean([window is not None for _, window in drifted]))
    near = float(np.mean([abs(drift - window) <= 1 for drift, window in drifted if window is not None]))
    alarms = float(np.mean([window is not None for drift, window in named if drift is None]))
    with capsys.disabled():
        print(  # noqa: T201
            f"\nsimulated shop: {len(drifted)} of {len(named)} users drift; found {found:.3f}, of these {near:.3f} within a "
            f"window; false alarms {alarms:.3f}"
        )
    assert len(drifted) > 60 and found >= 0.95 and near >= 0.95
    assert alarms <= 0.05 + 3 * (0.05 * 0.95 / (len(named) - len(drifted))) ** 0.5


def test_gains_and_losses_lie_with_those_who_drift() -> None:
    def share(kind: str, drifts: bool) -> float:
        return float(np.mean([any(r[kind] for r in rows) for drift, rows in told() if (drift is not None) == drifts]))

    def windows(kind: str) -> float:
        rows = [r for drift, rows in told() if drift is None for r in rows]
        return float(np.mean([bool(r[kind]) for r in rows]))

    assert share("gained", True) >= 0.8 and share("lost", True) >= 0.6
    assert windows("gained") <= 0.05 and windows("lost") <= 0.05
