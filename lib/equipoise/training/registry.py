"""Published models in one folder: whole or not at all, and CURRENT names the one in use.

<root>/<model_id>/   a package (equipoise.models.package)
<root>/CURRENT       the id of the promoted model, one line
<root>/_staging, _checkpoints, _logs   work in progress; no reader looks there
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from pathlib import Path

from equipoise.errors import GateError, ModelError
from equipoise.models.package import META, verify
from equipoise.training.checkpoint import sync_folder, sync_tree

POINTER = "CURRENT"
_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")


class Registry:
    """The models under one folder, on a disk that every machine that trains or scores can see."""

    def __init__(self, root: str | Path) -> None:
        text = str(root).removeprefix("file://")
        if "://" in text:
            raise ModelError(
                f"the model registry cannot live at {text!r}; expected a folder that all machines mount; set warehouse to one"
            )
        self.root = Path(text)

    def path(self, model_id: str) -> Path:
        """Where a model lives, published or not."""
        if not _ID.match(model_id):
            raise ModelError(f"model id {model_id!r} is not letters, digits, '.', '_' or '-'")
        return self.root / model_id

    def staging(self, model_id: str) -> Path:
        """Where a model is written before it is published; same disk, so that publishing is a rename."""
        return self.root / "_staging" / self.path(model_id).name

    def checkpoints(self, model_id: str) -> Path:
        """Where its training keeps checkpoints."""
        return self.root / "_checkpoints" / self.path(model_id).name

    def logs(self, model_id: str) -> Path:
        """Where its training writes figures and TensorBoard events."""
        return self.root / "_logs" / self.path(model_id).name

    def published(self, model_id: str) -> bool:
        """Whether the model is there."""
        return (self.path(model_id) / META).is_file()

    def current(self) -> str | None:
        """Id of the promoted model; None before the first.

        Raises:
            ModelError: when CURRENT names a model that is not there.
        """
        pointer = self.root / POINTER
        if not pointer.is_file():
            return None
        model_id = pointer.read_text(encoding="utf-8").strip()
        if not self.published(model_id):
            raise ModelError(
                f"{str(pointer)!r} names {model_id!r}, which is not there; restore it, or run finetune_encoder again"
            )
        return model_id

    def publish(self, staging: str | Path, model_id: str) -> Path:
        """Makes a staged package a published model by one rename; readers never see half of it. Promotes nothing.

        A model that is there already under this id, whole, stays; the staged one is then dropped.

        Raises:
            ModelError: when the staged package is not what its manifest says.
        """
        source, target = Path(staging), self.path(model_id)
        if self.published(model_id):
            verify(target)
            shutil.rmtree(source, ignore_errors=True)
            return target
        verify(source)
        sync_tree(source)
        source.rename(target)
        sync_folder(self.root)
        return target

    def promote(self, model_id: str) -> None:
        """Points CURRENT at a published model, by rename, once it has passed the gate.

        Raises:
            GateError: when its validation loss is not finite or worse than that of the baselines it started as.
            ModelError: when it is not there or damaged.
        """
        verify(self.path(model_id))
        check_gate(model_id, json.loads((self.path(model_id) / META).read_text(encoding="utf-8"))["metrics"])
        aside = self.root / f".{POINTER}"
        with aside.open("w", encoding="utf-8") as file:
            file.write(f"{model_id}\n")
            file.flush()
            os.fsync(file.fileno())
        aside.rename(self.root / POINTER)
        sync_folder(self.root)


def check_gate(model_id: str, metrics: dict[str, float]) -> None:
    """Raises GateError unless best_loss is finite and at most start_loss, the loss of what the untrained model says: the decayed
    average with its Dirichlet prior, and the logit on explicit features."""
    best, start = metrics.get("best_loss", math.nan), metrics.get("start_loss", math.nan)
    if not (math.isfinite(best) and math.isfinite(start) and best <= start):
        raise GateError(
            f"model {model_id} is published but not promoted: validation loss {best:.4f}, expected a finite one of at most "
            f"{start:.4f}, which the baselines reach; CURRENT stays; look at its MODEL_CARD.md, change [training] and run again"
        )
