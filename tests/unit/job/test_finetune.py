"""From settings to a training: what of scoring has a part in it, and how far its labels look ahead."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from equipoise.inference.worker import Setup
from equipoise.job import finetune
from equipoise.training.registry import Registry
from equipoise.training.sample import Sample
from tests.unit.models import tiny
from tests.unit.training import recipes
from tests.unit.training.packages import hollow
from tests.unit.training.test_search import settings_with


@pytest.mark.parametrize(("precision", "switch"), [("auto", "auto"), ("float32", "off"), ("bfloat16", "on"), ("float16", "off")])
def test_what_makes_scoring_cheaper_has_no_part_in_training(precision: str, switch: Any) -> None:
    settings = settings_with({})
    cheap = {"int8": "on", "drop_layers": 1, "prune_heads": 0.5, "prune_weights": 0.5, "bfloat16": "off", "workers": 3}
    changed = settings.model_copy(
        update={
            "scoring": settings.scoring.model_copy(update=cheap),
            "training": settings.training.model_copy(update={"precision": precision}),
        }
    )
    assert finetune._encoding(changed, "here", 4) == Setup("here", bfloat16=switch, threads=4, workers=3)


@pytest.mark.parametrize("route", ["text", "tower"])
def test_a_training_goes_on_with_a_model_of_the_registry_it_is_told(
    route: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trainings of a search live in a registry of their own, where no model is published."""
    path = tiny.directory(tmp_path / "bert")
    files = {n: recipes.example_files(tmp_path / n, [16, 16], seed=s) for s, n in enumerate(finetune.READS[:2])}
    told = {
        "encoder": {"path": path, "max_tokens": recipes.TOKENS, "route": route},
        "training": {"warm_start": "current", "pair_steps": 4, "pair_batch": 8},
    }
    settings = type(settings_with({})).model_validate(settings_with({}).model_dump(exclude={"search"}) | told)
    sample = Sample(32, ("2017-09-11",), 32, ("2017-10-09",))
    for name, value in (
        ("described", lambda *_, **__: sample),
        ("vocabulary", lambda _: (["a", "b", "c", "d", "e"], tiny.POPULATION)),
        ("H_FEATURES", [(f"f{i}", "") for i in range(1, 1 + tiny.FEATURES)]),
        ("_items", lambda *_: "items"),
    ):
        monkeypatch.setattr(finetune, name, value)
    monkeypatch.setattr(finetune.launch, "threads_per_rank", lambda *_, **__: 1)
    said: list[str] = []
    ctx: Any = SimpleNamespace(
        settings=settings, settings_dir=tmp_path, as_of=date(2017, 11, 6), run_id="new", inputs={}, spark=None, say=said.append,
        files=lambda name: (files[name], 1), read=lambda _: None, registry=Registry(tmp_path / "scratch"),
    )  # fmt: skip
    fresh = finetune.recipe(ctx)
    assert not fresh.warm and "training starts fresh" in said[-1] and fresh.meta.route == route
    models = Registry(tmp_path / "models")
    same = {name: value for name, value in vars(fresh.meta).items() if name not in ("model_id", "metrics", "dates")}
    hollow(models, "old", **same, dates={**fresh.meta.dates, "as_of": "2017-10-09", "seen_until": "2017-10-09"})
    models.promote("old")
    made = finetune.recipe(ctx, start=fresh.start, models=models)
    assert (made.warm, said[-1]) == (str(models.path("old")), "warm start: goes on with old")
    assert made.meta.settings["began_with"] == "old" and made.meta.tower == fresh.meta.tower
    assert (made.tower is None, made.items) == ((True, "") if route == "text" else (False, "items"))


@pytest.mark.parametrize(("window", "horizon"), [(56, 28), (28, 56)])
def test_labels_are_asked_for_as_far_as_they_look(window: int, horizon: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(finetune, "described", lambda *_, labels_by, label_days: asked.append(label_days))
    settings = settings_with({})
    changed = settings.model_copy(
        update={
            "windows": settings.windows.model_copy(update={"days": window}),
            "segments": settings.segments.model_copy(update={"horizon_days": horizon}),
        }
    )
    ctx: Any = SimpleNamespace(settings=changed, files=lambda _: ([], 1), read=lambda _: None, as_of=date(2017, 11, 6))
    finetune._examples(ctx, 5, Path())
    assert asked == [56], "labels of categories span a window, those of value classes a horizon"
