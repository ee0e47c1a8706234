"""Published models for tests of the registry and of the gate: the smallest folder that verifies, and real packages."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import torch

from equipoise.models import BehaviourModel, ModelMeta, save_package
from equipoise.models.fit_pairs import counted_state
from equipoise.models.package import MANIFEST, META, checksums
from equipoise.training.registry import Registry
from tests.unit.models import tiny
from tests.unit.models.test_package import META as TINY

GOOD = {"start_loss": 4.0, "best_loss": 3.9}
DATES = {"as_of": "2017-11-06", "fitted_until": "2017-10-09", "validated_from": "2017-10-09", "seen_until": "2017-11-06"}


def hollow(registry: Registry, model_id: str, metrics: dict[str, float] = GOOD, **meta: object) -> None:
    """A published folder without weights: enough for CURRENT to name it."""
    folder = registry.path(model_id)
    folder.mkdir(parents=True)
    said = asdict(replace(TINY, model_id=model_id, metrics=metrics, **{"dates": DATES, **meta}))  # type: ignore[arg-type]
    (folder / META).write_text(json.dumps(said))
    (folder / MANIFEST).write_text(json.dumps({"sha256": checksums(folder)}))


def package(
    folder: Path,
    encoder_path: str,
    model_id: str,
    change: Callable[[BehaviourModel], None] | None = None,
    freshened: Callable[[BehaviourModel], None] | None = None,
    **more: object,
) -> Path:
    """A real package; `change` works on the model, `freshened` on what is published of it, but not on what is held back."""
    net = tiny.model(encoder_path)
    with torch.no_grad():
        if change:
            change(net)
        held = counted_state(net.heads)
        if freshened:
            freshened(net)
    fields = {"metrics": GOOD, "dates": DATES, **more}
    meta: ModelMeta = replace(TINY, model_id=model_id, **fields)  # type: ignore[arg-type]
    save_package(folder, net, tokenizer_path=encoder_path, meta=meta, card="# card\n", held_back=held)
    return folder
