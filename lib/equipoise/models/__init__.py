"""Encoder, adapters, heads, losses and the published package; torch only."""

from __future__ import annotations

from equipoise.models.behaviour import BehaviourModel, build, expected_spend
from equipoise.models.heads import Outputs
from equipoise.models.package import LoadedPackage, ModelMeta, load_package, save_package
from equipoise.models.routes import Model, build_tower
from equipoise.models.tower import TowerModel, TowerOptions

__all__ = [
    "BehaviourModel",
    "LoadedPackage",
    "Model",
    "ModelMeta",
    "Outputs",
    "TowerModel",
    "TowerOptions",
    "build",
    "build_tower",
    "expected_spend",
    "load_package",
    "save_package",
]
