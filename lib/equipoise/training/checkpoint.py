"""Training state on disk: safetensors and JSON, never pickle; written aside and renamed, so a checkpoint is whole or absent.

step-00000050/   weights.safetensors   adapters and heads
                 optimiser.safetensors moments and step counts, by position
                 best.safetensors      adapters and heads at the best validation pass
                 state.json            Progress, and which training it belongs to

Random numbers need no state: each step seeds its own from (seed, rank, step).
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, optim

from equipoise.errors import ModelError
from equipoise.models import Model

Weights = dict[str, Tensor]


@dataclass
class Progress:
    """How far a training is. `step` counts optimiser steps done; `history` holds one record per validation pass."""

    step: int = 0
    best_step: int = 0
    best_loss: float = float("inf")
    passes_without_gain: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)


def weights_of(model: Model) -> Weights:
    """A copy of what training changes."""
    return {name: p.detach().cpu().contiguous().clone() for name, p in model.trainable()}


def put_weights(model: Model, weights: Weights) -> None:
    """Copies weights back into the model.

    Raises:
        ModelError: when they are not exactly the model's trainable weights.
    """
    targets = dict(model.trainable())
    if set(targets) != set(weights):
        raise ModelError(
            f"weights do not fit the model: {sorted(set(targets) ^ set(weights))[:3]}; delete the checkpoint and run again"
        )
    with torch.no_grad():
        for name, parameter in targets.items():
            parameter.copy_(weights[name])


class Checkpoints:
    """The checkpoints of one training in one folder; the newest is kept."""

    def __init__(self, folder: str | Path, identity: str) -> None:
        self._folder = Path(folder)
        self._identity = identity

    def newest(self) -> Path | None:
        """The newest whole checkpoint."""
        found = sorted(self._folder.glob("step-*"))
        return found[-1] if found else None

    def save(self, model: Model, optimiser: optim.Optimizer, best: Weights, progress: Progress) -> None:
        """Writes one, then removes older ones."""
        target = self._folder / f"step-{progress.step:08d}"
        aside = self._folder / f".{target.name}"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        save_file(weights_of(model), aside / "weights.safetensors")
        save_file(_optimiser_tensors(optimiser), aside / "optimiser.safetensors")
        save_file(best, aside / "best.safetensors")
        state = {"identity": self._identity, "progress": asdict(progress)}
        (aside / "state.json").write_text(json.dumps(state), encoding="utf-8")
        sync_tree(aside)
        shutil.rmtree(target, ignore_errors=True)
        aside.rename(target)
        sync_folder(self._folder)
        for old in self._folder.glob("step-*"):
            if old != target:
                shutil.rmtree(old)

    def load(self, path: Path, model: Model, optimiser: optim.Optimizer) -> tuple[Weights, Progress]:
        """Puts a checkpoint back; returns the best weights and the progress.

        Raises:
            ModelError: when it belongs to a training with other settings, or does not fit.
        """
        state: dict[str, Any] = json.loads((path / "state.json").read_text(encoding="utf-8"))
        if state["identity"] != self._identity:
            raise ModelError(
                f"checkpoint {str(path)!r} is of a training with other settings ({state['identity'][:8]}, expected "
                f"{self._identity[:8]}); delete {str(self._folder)!r} and run again"
            )
        put_weights(model, load_file(path / "weights.safetensors"))
        _restore_optimiser(optimiser, load_file(path / "optimiser.safetensors"))
        return load_file(path / "best.safetensors"), Progress(**state["progress"])


def _optimiser_tensors(optimiser: optim.Optimizer) -> dict[str, Tensor]:
    state: dict[int, dict[str, Tensor]] = optimiser.state_dict()["state"]
    return {f"{place}.{name}": t.detach().cpu().contiguous() for place, parts in state.items() for name, t in parts.items()}


def _restore_optimiser(optimiser: optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        place, _, name = key.partition(".")
        state.setdefault(int(place), {})[name] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def sync_tree(folder: Path) -> None:
    """Forces every file and folder below to disk, so that a rename after it never shows an empty file."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        else:
            sync_folder(path)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Forces a folder's entries to disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
