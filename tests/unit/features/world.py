"""Tiny behaviour logs for the feature tests, by hand or by a seed, and a plain reading of Spark rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
from pyspark.sql import DataFrame, SparkSession

EVENTS = (
    "event_id STRING, user_id STRING, item_id STRING, event_type STRING, event_ts TIMESTAMP, event_date DATE, "
    "quantity DOUBLE, amount DOUBLE"
)
ITEMS = "item_id STRING, title STRING, category_1 STRING, category_2 STRING, category_3 STRING"
ITEM_CATEGORIES = "item_id STRING, category STRING, weight DOUBLE"
DAILY = "user_id STRING, event_date DATE, category STRING, event_type STRING, events DOUBLE, quantity DOUBLE, amount DOUBLE"

ORIGIN = date(2017, 1, 2)
CATALOGUE = {
    "a1": ("FOOD", "CHEESE", "GOUDA"),
    "a2": ("FOOD", "CHEESE", "BRIE"),
    "b1": ("FOOD", "SOFT DRINKS", "COLA/LEMON"),
    "c1": ("HOME", "LAMPS", "LAMPS"),
    "d1": ("HOME", "PAINT", "UNKNOWN"),
    "x1": ("UNKNOWN", "UNKNOWN", "UNKNOWN"),
}
"""Item → levels 1 to 3. x1 is a stub."""
MIXED = {"m1": {"CHEESE": 0.5, "LAMPS": 0.5}}
"""An item in two categories."""

Event = tuple[str, str, str | None, str, datetime, date, float | None, float | None]


def day(text: str) -> date:
    """'02-27' of 2017."""
    return date.fromisoformat(f"2017-{text}")


def user(name: str) -> str:
    """A pseudonym: 32 hex digits."""
    return hashlib.md5(name.encode()).hexdigest()


def event(
    who: str, item: str | None, kind: str, when: date, *, amount: float | None = None, n: int = 0, quantity: float | None = None
) -> Event:
    """One event; `n` tells equal ones apart and orders them within the day."""
    key = f"{who}|{item}|{kind}|{when}|{n}"
    ts = datetime(when.year, when.month, when.day, 12) + timedelta(seconds=n)
    return (hashlib.md5(key.encode()).hexdigest(), who, item, kind, ts, when, quantity, amount)


def events(spark: SparkSession, rows: Iterable[Event]) -> DataFrame:
    return spark.createDataFrame(list(rows), EVENTS)


def items(spark: SparkSession) -> DataFrame:
    rows = [(i, f"item {i}" if i == "x1" else f"Title {i}", *levels) for i, levels in CATALOGUE.items()]
    return spark.createDataFrame([*rows, ("m1", "Reading lamp (cheese)", "HOME", "LAMPS", "UNKNOWN")], ITEMS)


def item_categories(spark: SparkSession) -> DataFrame:
    rows = [(i, levels[1], 1.0) for i, levels in CATALOGUE.items()]
    return spark.createDataFrame([*rows, *[(i, c, w) for i, own in MIXED.items() for c, w in own.items()]], ITEM_CATEGORIES)


def random_events(seed: int, first: date, days: int, n: int, users: int, *, salt: str = "") -> list[Event]:
    """`n` events of any type, any item or none, at random on [first, first + days)."""
    rng = np.random.default_rng(seed)
    kinds = ("purchase", "purchase", "view", "click", "cart", "rate", "expose", "redeem", "search")
    rows = []
    for i in range(n):
        kind = str(rng.choice(kinds))
        item = None if kind in ("expose", "redeem", "search") else str(rng.choice([*CATALOGUE, *MIXED]))
        amount = round(float(rng.gamma(2.0, 10.0)), 2) if kind == "purchase" else None
        when = first + timedelta(days=int(rng.integers(days)))
        rows.append(event(user(f"u{rng.integers(users)}"), item, kind, when, amount=amount, n=i + 10_000 * len(salt)))
    return rows


def table(frame: DataFrame, *key: str) -> dict[Any, dict[str, Any]]:
    """The rows by key; floats rounded to 9 digits, since the order of a sum is nobody's promise."""
    found: dict[Any, dict[str, Any]] = {}
    for row in frame.collect():
        values = {k: _plain(v) for k, v in row.asDict(recursive=True).items()}
        name = tuple(values.pop(k) for k in key)
        assert name not in found, f"{name} occurs twice"
        found[name if len(key) > 1 else name[0]] = values
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 9)
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return bytes(value) if isinstance(value, bytearray) else value
