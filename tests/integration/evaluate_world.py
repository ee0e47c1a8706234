"""A small invented warehouse for evaluate_models, kept as plain lists too, so that a test can count its answers itself."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from pyspark.sql import SparkSession
from pyspark.sql.types import StructType

from equipoise.store import Store
from equipoise.tables import CATALOGUE
from equipoise.tables.feature import H_FEATURES
from equipoise.tables.packing import CELL_VALUES
from tests.small_models import CATEGORIES

ORIGIN, DAYS = date(2020, 1, 6), 28
AS_OF = ORIGIN + timedelta(days=6 * DAYS)
UNTIL = AS_OF + timedelta(days=2 * DAYS)
USERS, ITEMS, K, SLOTS, WIDTH = 40, 24, 4, 1, 32
FUEL = "i00"
SOURCE = "made"
NAMES = [name for name, _ in H_FEATURES]


@dataclass(frozen=True)
class World:
    """Ids, events as (user, item, day, amount), lists as user → items, class probabilities and shares as user → numbers."""

    store: Store
    users: list[str]
    items: list[str]
    category: dict[str, str]
    events: list[tuple[str, str, date, float]]
    lists: dict[str, list[str]]
    p: dict[str, np.ndarray]
    shares: dict[str, np.ndarray]


def build(spark: SparkSession, root: Path, seed: int = 1) -> World:
    """The warehouse; users have tastes, so that the past says something of the future."""
    rng = np.random.default_rng(seed)
    users = sorted(hashlib.sha256(f"{seed} {i}".encode()).hexdigest()[:32] for i in range(USERS))
    items = [f"i{i:02d}" for i in range(ITEMS)]
    category = {item: CATEGORIES[i % len(CATEGORIES)] for i, item in enumerate(items)}
    events = []
    for u, user in enumerate(users):
        taste = rng.dirichlet(np.full(ITEMS, 0.3))
        for day in np.flatnonzero(rng.random(8 * DAYS) < 0.05 + 0.3 * (u % 4) / 4):
            for i in sorted(set(rng.choice(ITEMS, 4, p=taste).tolist())):
                events.append((user, items[i], ORIGIN + timedelta(days=int(day)), float(np.round(rng.gamma(2, 5), 2))))
    known = {e[0] for e in events if e[2] < AS_OF}
    users = [u for u in users if u in known]
    world = World(
        store=Store(spark, str(root)),
        users=users,
        items=items,
        category=category,
        events=[e for e in events if e[0] in known],
        lists={u: [items[i] for i in rng.permutation(ITEMS)[:K]] for u in users},
        p={u: rng.dirichlet(np.ones(3)) for u in users},
        shares={u: rng.dirichlet(np.ones(len(CATEGORIES))) for u in users},
    )
    _write(spark, world, rng)
    return world


def _write(spark: SparkSession, world: World, rng: np.random.Generator) -> None:
    tables: dict[str, list[dict[str, Any]]] = {
        "silver.events": [_event(n, *e) for n, e in enumerate(world.events)],
        "silver.items": [
            dict.fromkeys(("title", "category_2", "category_3", "text"), world.category[i])
            | {"item_id": i, "category_1": "FUEL" if i == FUEL else "FOOD", "source": SOURCE}
            for i in world.items
        ],
        "silver.item_categories": [
            {"item_id": i, "category": c, "category_path": c, "weight": 1.0, "source": SOURCE} for i, c in world.category.items()
        ],
        "silver.users": [
            {"user_id": u, "attributes": {"half": "first"} if n < 35 else {"half": "last"}, "source": SOURCE}
            for n, u in enumerate(world.users)
        ],
        "feature.user_profile": [
            {"user_id": u, **dict(zip(NAMES, rng.gamma(2, 5, len(NAMES)).tolist(), strict=True))} | _counts() for u in world.users
        ],
        "feature.sequences": [{"user_id": u, "behaviour_text": "milk often", **_history()} for u in world.users],
        "feature.user_vectors": [_prediction(world, u, rng) for u in world.users],
        "feature.item_vectors": [
            {"item_id": i, "model_id": "model-under-test", "text_sha256": i, "vector": _unit(rng)} for i in world.items
        ],
        "feature.example_spec": [
            {"position": n, "category": c, "population_share": 1 / len(CATEGORIES)} for n, c in enumerate(CATEGORIES)
        ],
        "feature.category_trends": [
            {"cut": AS_OF, "category": c, "visitors_share": 0.5, "visitors_share_before": 0.4, "entry_rate": 0.1}
            for c in CATEGORIES
        ],
        "gold.user_interests": [row for u in world.users for row in _interests(world, u)],
        "gold.user_segments": [_segment(world, u, n) for n, u in enumerate(world.users)],
        "gold.exploration_response": [
            {
                "segment": "all",
                "category": "(all)",
                "trials": 0,
                "expected": 0.0,
                "responses": 0,
                "strength": 10.0,
                "shape": 10.0,
                "rate": 10.0,
                "ratio": 1.0,
                "ratio_low": 0.5,
                "ratio_high": 1.6,
            }
        ],
        "gold.exploration_budgets": [
            {
                "user_id": u,
                "segment": "O",
                "entropy_bits": 1.0,
                "evidence": 1.0,
                "trials": 0,
                "expected": 0.0,
                "responses": 0,
                "ratio": 1.0,
                "factor": 1.0,
                "slots": 2,
            }
            for u in world.users
        ],
        "gold.balance": [
            {"calibration": c, "users": 1, "expected_dcg": 1.0, "accuracy_loss": 0.0, "kl_bits": 1.0, "chosen": c > 0}
            for c in (0.0, 0.3)
        ],
        "gold.interest_migration": [_move(u, end, moved) for n, u in enumerate(world.users) for end, moved in _moves(n)],
        "gold.user_item_values": [_value(world, u, i) for u in world.users for i in world.items],
        "gold.recommendations": [_place(world, u, n) for u in world.users for n in range(K)],
    }
    for name in ("feature.examples", "feature.examples_validation"):
        tables[name] = [_example(u, rng) for u in world.users]
    stamps = {"as_of": AS_OF, "run_id": "made", "model_id": "model-under-test", "synthetic": False}
    for name, rows in tables.items():
        table = CATALOGUE[name]
        schema: StructType = table.struct_type()
        filled = [tuple((stamps | r).get(c) for c in table.column_names) for r in rows]
        values = {"as_of": AS_OF, "source": SOURCE}
        frame = spark.createDataFrame(filled, schema)
        world.store.replace(frame, name, {c: values[c] for c in table.slice_by}, fingerprint=name, job="test")
    world.store.create("ops.feedback")  # nothing was shown


def _event(number: int, user: str, item: str, day: date, amount: float) -> dict[str, Any]:
    return {
        "event_id": f"{number:032x}", "user_id": user, "item_id": item, "event_type": "purchase", "event_date": day,
        "event_ts": datetime.combine(day, time(12)), "quantity": 1.0, "amount": amount, "source": SOURCE, "synthetic": False,
    }  # fmt: skip


def _counts() -> dict[str, Any]:
    names = [c for c in CATALOGUE["feature.user_profile"].column_names if c.startswith("n_")]
    return {"monetary": 1.0, **dict.fromkeys(names, 1)}


def _history() -> dict[str, Any]:
    return {
        "item_ids": [],
        "event_types": [],
        "age_days": [],
        "prior_categories": ["MILK"],
        "prior_weights": [3.0],
        "cell_categories": ["MILK"],
        "cells": [1.0] * len(CELL_VALUES),
    }


def _unit(rng: np.random.Generator) -> list[float]:
    vector = rng.normal(size=WIDTH)
    return [float(x) for x in vector / np.linalg.norm(vector)]


def _prediction(world: World, user: str, rng: np.random.Generator) -> dict[str, Any]:
    p = world.p[user]
    return {
        "user_id": user, "vector": _unit(rng), "category_probabilities": world.shares[user].tolist(),
        "visit_probabilities": np.sqrt(world.shares[user]).tolist(),
        "p_o": float(p[0]), "p_interest": float(p[1]), "p_buy": float(p[2]), "expected_spend": float(p @ [0, 20, 90]),
    }  # fmt: skip


def _interests(world: World, user: str) -> list[dict[str, Any]]:
    bought = [world.category[i] for u, i, day, _ in world.events if u == user and day < AS_OF]
    observed = np.array([bought.count(c) / len(bought) for c in CATEGORIES])
    target = (observed + world.shares[user]) / 2
    rank = np.argsort(np.argsort(-target, kind="stable"), kind="stable") + 1
    return [
        {
            "user_id": user, "category": c, "rank": int(rank[n]), "observed_share": float(observed[n]),
            "predicted_share": float(world.shares[user][n]), "visit_probability": 0.5,
            "is_predicted_top": bool(n == world.shares[user].argmax()),
            "target_share": float(target[n]), "evidence": float(len(bought) * observed[n]), "reason": "made",
        }
        for n, c in enumerate(CATEGORIES)
    ]  # fmt: skip


def _segment(world: World, user: str, number: int) -> dict[str, Any]:
    p = world.p[user]
    return {
        "user_id": user, "segment": ("O", "interest", "buy")[int(p.argmax())], "p_o": float(p[0]), "p_interest": float(p[1]),
        "p_buy": float(p[2]), "horizon_days": DAYS, "expected_spend": 1.0, "value_tier": 1,
        "rfm_cell": f"{1 + number % 5}-1-{1 + number % 3}",
        "rfm_segment": "made", "kmeans_cluster": 1 + number % 3, "reason": "made", "value_model": "behaviour", "drivers": [],
    }  # fmt: skip


def _moves(number: int) -> list[tuple[date, bool | None]]:
    """Windows of a user: the first 32 moved in the latest of which it can be said, and the others in an earlier one."""
    return [(AS_OF - timedelta(days=DAYS), number < 32), (AS_OF - timedelta(days=2 * DAYS), number >= 32), (AS_OF, None)]


def _move(user: str, end: date, moved: bool | None) -> dict[str, Any]:
    band = None if moved is None else 0.3
    return {
        "user_id": user, "window_start": end - timedelta(days=DAYS), "window_end": end, "days": 5,
        "noise_mean_bits": band, "noise_p95_bits": band, "drift_js_bits": band, "migrated": moved,
        "gained": [], "lost": [], "returning": [],
    }  # fmt: skip


def _value(world: World, user: str, item: str) -> dict[str, Any]:
    """Every item is a candidate; those of the user's list are worth most, its last one before the others."""
    listed = world.lists[user]
    worth = 0.5 + 0.1 * listed.index(item) if item in listed else 0.4 * world.items.index(item) / ITEMS
    return {
        "user_id": user, "item_id": item, "horizon_days": DAYS, "segment": "O", "p_o": 0.75,
        "p_interest": 0.0, "p_buy": 0.25, "p_next_trip": worth, "source": "history", "sources": ["history"], "known_events": 1,
        "purchases": 1, "events": 1, "cosine": None, "neighbour_id": None, "similarity": None,
    }  # fmt: skip


def _place(world: World, user: str, number: int) -> dict[str, Any]:
    item = world.lists[user][number]
    explores = number >= K - SLOTS
    return {
        "user_id": user, "rank": number + 1, "item_id": item, "category": world.category[item],
        "slot": "explore" if explores else "exploit", "score": 1.0, "relevance": 0.5, "propensity": 0.5 if explores else 1.0,
        "source": "made", "reason_code": "made", "reason_key": item, "reason_value": 1.0, "reason": "made",
    }  # fmt: skip


def _example(user: str, rng: np.random.Generator) -> dict[str, Any]:
    label = int(rng.integers(0, 3))
    zeros = np.zeros(len(CATEGORIES), dtype="<f4").tobytes()
    return {
        "user_id": bytearray(bytes.fromhex(user)), "cut_day": 18_000, "tokens": bytearray(b""), "length": 0,
        "prior": bytearray(zeros), "cells": bytearray(b""), "events": bytearray(b""), "trends": bytearray(zeros * 3),
        "features": bytearray(rng.gamma(2, 5, len(NAMES)).astype("<f4").tobytes()), "label_counts": bytearray(zeros),
        "label_value": label, "label_spend": 30.0 * label,
    }  # fmt: skip
