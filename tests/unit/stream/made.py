"""Example files made by hand: every value follows from the row's number, so that a test can tell which rows came."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from equipoise.stream import Widths
from equipoise.tables.packing import CELL_VALUES, TREND_VALUES, cell_type, event_record

WIDTHS = Widths(tokens=6, categories=5, features=3)


def table(rows: range, widths: Widths = WIDTHS) -> pa.Table:
    """Rows as feature.examples has them; row i has user i, cut_day 17000 + i % 7, tokens i·10.., label_value i % 3."""
    s, c, f = widths.tokens, widths.categories, widths.features
    length = [1 + i % s for i in rows]
    tokens = [np.where(np.arange(s) < n, i * 10 + np.arange(s), 0).astype("<i4") for i, n in zip(rows, length, strict=True)]
    prior = [np.array([i, *([0.0] * (c - 1))], dtype="<f4") for i in rows]  # ends in zero bytes on purpose
    counts = [np.full(c, float(i % 3), dtype="<f4") for i in rows]
    features = [np.array([i + k / 10 for k in range(f)], dtype="<f4") for i in rows]
    return pa.table(
        {
            "user_id": pa.array([i.to_bytes(16, "little") for i in rows], pa.binary()),
            "cut_day": pa.array([17000 + i % 7 for i in rows], pa.int32()),
            "tokens": pa.array([t.tobytes() for t in tokens], pa.binary()),
            "length": pa.array(length, pa.int32()),
            "prior": pa.array([p.tobytes() for p in prior], pa.binary()),
            "cells": pa.array([cells(i, c) for i in rows], pa.binary()),
            "events": pa.array([events(i) for i in rows], pa.binary()),
            "trends": pa.array([np.full((c, len(TREND_VALUES)), i / 8, dtype="<f4").tobytes() for i in rows], pa.binary()),
            "features": pa.array([x.tobytes() for x in features], pa.binary()),
            "label_counts": pa.array([x.tobytes() for x in counts], pa.binary()),
            "label_value": pa.array([i % 3 for i in rows], pa.int32()),
            "label_spend": pa.array([i / 4 for i in rows], pa.float64()),
        }
    )


def cells(number: int, categories: int) -> bytes:
    """Row i has i % 3 cells, all with the values i, i + 1, …"""
    out = np.zeros(min(number % 3, categories), dtype=cell_type())
    out["position"] = np.arange(len(out))
    out["values"] = number + np.arange(len(CELL_VALUES))
    return out.tobytes()


def events(number: int) -> bytes:
    """Row i has i % 4 events with items i, i + 1, …, type 8 and ages 3, 2, …"""
    out = np.zeros(number % 4, dtype=event_record())
    out["item"], out["type"], out["age"] = number + np.arange(len(out)), 8, 3 - np.arange(len(out))
    return out.tobytes()


def write(folder: Path, sizes: list[int], widths: Widths = WIDTHS, *, groups_per_file: int = 1) -> list[str]:
    """One file per size, rows numbered through; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths, start = [], 0
    for place, size in enumerate(sizes):
        path = folder / f"part-{place:05d}.parquet"
        pq.write_table(table(range(start, start + size), widths), path, row_group_size=-(-size // groups_per_file))
        paths.append(str(path))
        start += size
    return paths
