"""What a trial is given, and what is left of it when it has ended."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from equipoise.job import search
from equipoise.job.context import Context, Job
from equipoise.training.registry import Registry
from tests.unit.training.test_search import settings_with


def test_a_trial_goes_on_with_a_published_model_and_leaves_what_later_ones_begin_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: Any = settings_with({"training.lora_rank": [2, 4]}).model_copy(update={"warehouse": str(tmp_path)})
    store: Any = SimpleNamespace(root=str(tmp_path), rows_version=lambda _: 1)
    nothing: Any = None
    ctx = Context(Job("search_settings"), settings, tmp_path, nothing, store, "run", nothing, {})
    given: list[Registry] = []

    def made(trial: Context, start: object, models: Registry) -> Any:
        given.append(models)
        folder = trial.registry.checkpoints(trial.run_id)
        for name in ("step-00000002/weights.safetensors", "pretrained/model.safetensors", "train/part-00000.parquet"):
            (folder / name).parent.mkdir(parents=True)
            (folder / name).write_bytes(b"x")
        for name in ("counted.safetensors", "fresh.safetensors", "start.json", "items.safetensors"):
            (folder / name).write_bytes(b"x")
        return SimpleNamespace(start="fitted")

    monkeypatch.setattr(search, "recipe", made)
    monkeypatch.setattr(search.launch, "fine_tune", lambda *_, **__: {"best_category_loss": 1.5})
    monkeypatch.setattr(search.Trials, "_write", lambda *_: None)
    with search.trials(ctx) as found:
        assert found.train(0, 0, 2, {}).value == 1.5
        left = [p.name for p in found.scratch.rglob("*") if p.is_file()]
        assert sorted(left) == ["counted.safetensors", "fresh.safetensors"]
    assert given[0].root == Registry.of(ctx.home).root and not found.scratch.exists()


def test_a_search_over_trainings_that_go_on_is_another_one_when_the_model_is(monkeypatch: pytest.MonkeyPatch) -> None:
    models: Any = None
    monkeypatch.setattr(search.warm, "predecessor", lambda *_: "older")
    for space, told in (({"training.lora_rank": [2]}, {}), ({"training.warm_start": ["none", "current"]}, {"warm": "older"})):
        ctx: Any = SimpleNamespace(settings=settings_with(space), as_of=None)
        assert search._goes_on_with(ctx, models) == told
