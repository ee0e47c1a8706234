"""Example files on disk and the recipe of a tiny training over them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from equipoise.models.fit_pairs import PairOptions
from equipoise.models.methods import Method
from equipoise.models.statistics import Prior
from equipoise.stream import Widths
from equipoise.tables.packing import cell_type, event_record
from equipoise.training.options import Options
from equipoise.training.recipe import Recipe
from equipoise.training.sample import Sample
from equipoise.training.start import Files, fitted_start
from tests.unit.models import tiny
from tests.unit.models.test_package import META
from tests.unit.training import made
from tests.unit.training.packages import DATES

TOKENS = 8
EVENTS = ("items", "types", "ages")
WIDTHS = Widths(TOKENS, tiny.CATEGORIES, tiny.FEATURES)


def example_files(folder: Path, sizes: list[int], seed: int) -> list[str]:
    """Files of `made.learnable` users, packed as feature.examples packs them."""
    folder.mkdir(parents=True)
    paths = []
    for place, size in enumerate(sizes):
        rows = made.learnable(size, seed + place)
        tokens = torch.nn.functional.pad(rows["tokens"], (0, TOKENS - rows["tokens"].shape[1])).int().numpy()
        columns = {
            "user_id": pa.array([(1000 * place + i).to_bytes(16, "little") for i in range(size)], pa.binary()),
            "cut_day": pa.array([17000] * size, pa.int32()),
            "tokens": pa.array([t.tobytes() for t in tokens], pa.binary()),
            "length": pa.array(rows["mask"].sum(1).tolist(), pa.int32()),
            **{
                n: pa.array([x.tobytes() for x in rows[n].numpy()], pa.binary())
                for n in ("prior", "trends", "features", "label_counts")
            },
            "cells": pa.array([packed_cells(x) for x in rows["cells"]], pa.binary()),
            "events": pa.array([packed_events(*user) for user in zip(*(rows[n] for n in EVENTS), strict=True)], pa.binary()),
            "label_value": pa.array(rows["label_value"].tolist(), pa.int32()),
            "label_spend": pa.array(rows["label_spend"].tolist(), pa.float64()),
        }
        path = folder / f"part-{place}.parquet"
        pq.write_table(pa.table(columns), path)
        paths.append(str(path))
    return paths


def packed_cells(user: torch.Tensor) -> bytes:
    """Cells (C, K) of one user as feature.examples has them: those with a visit."""
    visited = torch.nonzero(user.sum(dim=-1)).flatten()
    out = np.zeros(len(visited), dtype=cell_type())
    out["position"], out["values"] = visited.numpy(), user[visited].numpy()
    return out.tobytes()


def packed_events(items: torch.Tensor, types: torch.Tensor, ages: torch.Tensor) -> bytes:
    """Events (e,) of one user as feature.examples has them, without the padding."""
    out = np.zeros(int((types > 0).sum()), dtype=event_record())
    out["item"], out["type"], out["age"] = (x[: len(out)].numpy() for x in (items, types, ages))
    return out.tobytes()


def recipe(folder: Path, **options: object) -> Recipe:
    """A training of two epochs over 4 files of 40 rows, 24 + 9 + 3 validation rows, under `folder`."""
    encoder_path = tiny.directory(folder / "source")
    train = example_files(folder / "train", [40, 40, 40, 40], seed=1)
    validation = example_files(folder / "validation", [24, 9, 3], seed=900)
    return Recipe(
        encoder_path=encoder_path,
        train_files=train,
        validation_files=validation,
        population=tiny.POPULATION,
        start=fitted_start(
            Files(train, validation, WIDTHS),
            tiny.POPULATION,
            Prior(2.0, 1.0),
            PairOptions(seed=1, pair_steps=6, pair_batch=16, pair_learning_rate=6e-3, visit_weight=0.1),
            fit=False,
            into=str(folder / "registry" / "_checkpoints" / "m1"),
            say=print,
        ),
        tower=None,
        items="",
        method=Method(lora_rank=2, lora_alpha=4.0, lora_dropout=0.1),
        options=Options(**{**made.OPTIONS, "checkpoint_every": 3, **options}),  # type: ignore[arg-type]
        device="cpu",
        precision="float32",
        threads=1,
        staging=str(folder / "registry" / "_staging" / "m1"),
        checkpoints=str(folder / "registry" / "_checkpoints" / "m1"),
        logs=str(folder / "registry" / "_logs" / "m1"),
        meta=replace(META, max_tokens=TOKENS, dates=DATES),
        sample=Sample(160, ("2017-08-14", "2017-09-11"), 36, ("2017-10-09",)),
    )
