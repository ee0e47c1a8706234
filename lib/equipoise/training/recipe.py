"""Everything one training needs, as plain data: it travels to the ranks and tells two trainings apart."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from equipoise.inference.interface import Precision
from equipoise.models import ModelMeta, TowerOptions
from equipoise.models.methods import Method
from equipoise.training.augment import AugmentOptions
from equipoise.training.options import Options
from equipoise.training.ranks import Device
from equipoise.training.sample import Sample
from equipoise.training.start import Start


@dataclass(frozen=True)
class Recipe:
    """One training. Files are the pinned versions' lists; folders are on a disk that every rank and the driver mount.

    `meta` and `sample` describe the model that comes of it; metrics are filled in at the end.
    """

    encoder_path: str
    train_files: list[str]
    validation_files: list[str]
    population: list[float]
    start: Start
    tower: TowerOptions | None
    """None: the text route."""

    items: str
    """File of the vectors of the items in the examples, for a tower."""

    method: Method
    options: Options
    device: Device
    precision: Precision
    threads: int
    staging: str
    checkpoints: str
    logs: str
    meta: ModelMeta
    sample: Sample
    dropout: float | None = None
    """Of the whole encoder; None: as it was pretrained."""

    warm: str = ""
    """Folder of the published model whose weights it goes on with; "": the pretrained encoder and untrained heads."""

    augment: AugmentOptions | None = None
    task_adapter_width: int = 0
    sharded: bool = False
    wandb: bool = False

    def identity(self, world_size: int) -> str:
        """Hash of what decides the weights; a checkpoint fits no other. Where things lie,
        the time limit, and how a step is computed, do not count."""
        said = asdict(self)
        for name in ("train_files", "validation_files"):
            said[name] = [Path(f).name for f in said[name]]
        said["warm"] = Path(self.warm).name
        for name in ("counted", "fresh", "figures"):
            del said["start"][name]
        for name in ("staging", "checkpoints", "logs", "threads", "meta", "items", "sharded", "wandb"):
            del said[name]
        for name in ("max_seconds", "micro_batch", "compile", "activation_checkpointing"):
            del said["options"][name]
        text = json.dumps([said, world_size], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
