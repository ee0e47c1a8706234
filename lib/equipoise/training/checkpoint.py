"""Training state on disk: safetensors and JSON, never pickle; written aside and renamed, so a checkpoint is whole or absent.

step-00000050/   weights.safetensors   adapters and heads
                 optimiser.safetensors moments and step counts, by position
                 best.safetensors      adapters and heads at the best validation pass
                 more.safetensors      running mean of the weights, AdaLoRA's budget, float16's loss scale, where there are any
                 state.json            Progress, which training it belongs to, sha256 of each file and of itself

Random numbers need no state: each step seeds its own from (seed, rank, step).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, optim
from torch.distributed.tensor import DTensor, distribute_tensor

from equipoise.checksum import file_sha256
from equipoise.errors import ModelError
from equipoise.models import Model

Weights = dict[str, Tensor]
FILES = ("weights.safetensors", "optimiser.safetensors", "best.safetensors", "more.safetensors")


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
    """A copy of what training changes; of weights that are spread over ranks the whole, so all ranks must ask."""
    return {name: _whole(p) for name, p in model.trainable()}


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
            parameter.copy_(_like(parameter, weights[name]))


class Checkpoints:
    """The checkpoints of one training in one folder; the newest is kept."""

    def __init__(self, folder: str | Path, identity: str) -> None:
        self._folder = Path(folder)
        self._identity = identity

    def newest(self) -> Path | None:
        """The newest whole checkpoint."""
        found = sorted(self._folder.glob("step-*"))
        return found[-1] if found else None

    def save(
        self,
        model: Model,
        optimiser: optim.Optimizer,
        best: Weights,
        progress: Progress,
        more: Weights | None = None,
        *,
        writes: bool = True,
    ) -> None:
        """Writes one, then removes older ones; all ranks call it, and that which `writes` does."""
        weights, moments = weights_of(model), _optimiser_tensors(optimiser)
        if not writes:
            return
        target = self._folder / f"step-{progress.step:08d}"
        aside = self._folder / f".{target.name}"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        for name, tensors in zip(FILES, (weights, moments, best, more or {}), strict=True):
            save_file(tensors, aside / name)
        state = {"identity": self._identity, "progress": asdict(progress), "sha256": _sums(aside)}
        (aside / "state.json").write_text(json.dumps(state | {"seal": _seal(state)}), encoding="utf-8")
        sync_tree(aside)
        shutil.rmtree(target, ignore_errors=True)
        aside.rename(target)
        sync_folder(self._folder)
        for old in self._folder.glob("step-*"):
            if old != target:
                shutil.rmtree(old)

    def load(self, path: Path, model: Model, optimiser: optim.Optimizer) -> tuple[Weights, Progress, Weights]:
        """Puts a checkpoint back; returns the best weights, the progress, and what else was saved.

        Raises:
            ModelError: when it is damaged, belongs to a training with other settings, or does not fit; the model is as it was.
        """
        state = self._state(path)
        if state["identity"] != self._identity:
            raise ModelError(
                f"checkpoint {str(path)!r} is of a training with other settings ({state['identity'][:8]}, expected "
                f"{self._identity[:8]}); delete {str(self._folder)!r} and run again"
            )
        weights, moments, best, more = (load_file(path / name) for name in FILES)
        put_weights(model, weights)
        _restore_optimiser(optimiser, moments)
        return best, Progress(**state["progress"]), more

    def _state(self, path: Path) -> dict[str, Any]:
        """What state.json says, once every file is what it says."""
        try:
            state: dict[str, Any] = json.loads((path / "state.json").read_text(encoding="utf-8"))
            seal, found = state.pop("seal"), _sums(path)
            wrong = ["state.json"] if seal != _seal(state) else sorted(n for n in FILES if found[n] != state["sha256"].get(n))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # gone, cut off, or no longer JSON
            wrong = [f"{type(error).__name__}: {error}"]
        if wrong:
            raise ModelError(
                f"checkpoint {str(path)!r} is damaged ({', '.join(wrong)}); put it back from a copy, or delete "
                f"{str(self._folder)!r} and run again: the training then begins anew and ends in the same weights"
            )
        return state


def _sums(folder: Path) -> dict[str, str]:
    return {name: file_sha256(folder / name) for name in FILES}


def _seal(state: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _optimiser_tensors(optimiser: optim.Optimizer) -> dict[str, Tensor]:
    state: dict[int, dict[str, Any]] = optimiser.state_dict()["state"]
    found = ((f"{place}.{name}", t) for place, parts in state.items() for name, t in parts.items())
    return {name: _whole(t) for name, t in found if isinstance(t, Tensor)}  # SGD's first momentum is None


def _restore_optimiser(optimiser: optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Any]] = {}
    groups = optimiser.state_dict()["param_groups"]
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    for key, tensor in tensors.items():
        place, _, name = key.partition(".")
        owner = parameters[int(place)]
        state.setdefault(int(place), {})[name] = _like(owner, tensor) if tensor.shape == owner.shape else tensor
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def _whole(tensor: Tensor) -> Tensor:
    """A copy on the CPU, of a tensor that is spread over ranks all of it."""
    full = tensor.detach()
    full = full.full_tensor() if isinstance(full, DTensor) else full
    return full.cpu().contiguous().clone()


def _like(owner: Tensor, whole: Tensor) -> Tensor:
    """The whole tensor, spread over the ranks as `owner` is."""
    if not isinstance(owner, DTensor):
        return whole
    return distribute_tensor(whole.to(owner.device), owner.device_mesh, owner.placements)


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
