"""Encoder, adapters, heads, losses and the published package; torch only."""

from __future__ import annotations

from equipoise.models.behaviour import BehaviourModel, UserModel, build, expected_spend
from equipoise.models.heads import Outputs
from equipoise.models.package import LoadedPackage, ModelMeta, load_package, save_package

__all__ = [
    "BehaviourModel",
    "LoadedPackage",
    "ModelMeta",
    "Outputs",
    "UserModel",
    "build",
    "expected_spend",
    "load_package",
    "save_package",
]
