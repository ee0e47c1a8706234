"""Everything one training needs, as plain data: it travels to the ranks and tells two trainings apart."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from equipoise.models import ModelMeta, TowerOptions
from equipoise.training.loop import Options
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

    lora_rank: int
    lora_alpha: float
    lora_dropout: float
    options: Options
    device: Device
    bfloat16: Literal["auto", "on", "off"]
    threads: int
    staging: str
    checkpoints: str
    logs: str
    meta: ModelMeta
    sample: Sample

    def identity(self, world_size: int) -> str:
        """Hash of what decides the weights; a checkpoint fits no other. Where things lie, and the time limit, do not count."""
        said = asdict(self)
        for name in ("train_files", "validation_files"):
            said[name] = [Path(f).name for f in said[name]]
        for name in ("counted", "fresh", "figures"):
            del said["start"][name]
        for name in ("staging", "checkpoints", "logs", "threads", "meta", "items"):
            del said[name]
        del said["options"]["max_seconds"]
        text = json.dumps([said, world_size], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
