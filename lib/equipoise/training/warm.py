"""Incremental training: the part of a model that reads texts begins with the weights of a model of an earlier date.

What counting knows is fitted anew either way, since that takes seconds; only encoder, tower, and what reads the vector go on.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from equipoise.errors import ModelError
from equipoise.models import Model, ModelMeta, TowerModel
from equipoise.models.heads import Heads
from equipoise.models.methods import Method
from equipoise.models.package import ENCODER, HEADS, TOWER, told_meta, verify
from equipoise.training.registry import Registry

CARRIED = ("category.out.", "category.adapter.", "value.")
"""Parts of the heads that read the vector; what counting fits, and the features' scaling, are of the new examples."""


def predecessor(registry: Registry, as_of: date) -> str | None:
    """The last model that was CURRENT for an earlier as_of and was not withdrawn; None: there is none.

    Not CURRENT itself: a run that is repeated finds its own model there, and must come to the same weights as before.
    """
    for model_id in reversed(registry.standing().lineage):
        if registry.published(model_id) and told_meta(registry.path(model_id)).dates.get("as_of", "9") < as_of.isoformat():
            return model_id
    return None


def why_not(folder: Path, meta: ModelMeta, method: Method, *, trusted_encoder: str) -> str:
    """Why the model published at `folder` cannot be gone on with by a training that `meta` describes; '': it can.

    Args:
        trusted_encoder: encoder.path of the training, as in the settings.
    """
    theirs = told_meta(folder)
    if theirs.dates.get("seen_until", "9") > meta.dates["validated_from"]:
        return (
            f"it has seen labels until {theirs.dates.get('seen_until', 'an unknown date')}, and validation begins at "
            f"{meta.dates['validated_from']}"
        )
    if theirs.beside:
        return f"what training.method = {theirs.beside.get('method')!r} added to its encoder is not merged"
    if theirs.pretraining:
        return f"its encoder was pre-trained (training.pretraining = {theirs.pretraining.get('kind')!r}), and this one is not"
    old, new = set(theirs.categories), set(meta.categories)
    if theirs.categories != meta.categories:
        return f"its categories differ: {len(old - new)} are gone and {len(new - old)} are new"
    mine = {"encoder": trusted_encoder, "max_tokens": meta.max_tokens, "method": method.method, "route": meta.route}
    told = theirs.settings.get("encoder", {}).get("path"), theirs.settings.get("training", {}).get("method")
    its = {"encoder": told[0], "max_tokens": theirs.max_tokens, "method": told[1], "route": theirs.route}
    for what, a, b in (
        *((name, mine[name], its[name]) for name in mine),
        ("task_adapter_width", _adapter_width(meta), _adapter_width(theirs)),
        ("pooling", meta.pooling, theirs.pooling),
        ("features", meta.feature_names, theirs.feature_names),
        ("tower", meta.tower, theirs.tower),
    ):
        if a != b:
            return f"its {what} differs: {b}, now {a}"
    return ""


def _adapter_width(meta: ModelMeta) -> int:
    """Units of each head's adapter; 0: none."""
    return int(meta.settings.get("training", {}).get("task_adapter_width", 0))


def encoder_of(folder: Path) -> str:
    """Directory of a published model's encoder, with what training added to it."""
    return str(folder / ENCODER)


def go_on(model: Model, folder: Path) -> None:
    """Puts in the weights of the model published at `folder`, but for its encoder, which the model was built on.

    Raises:
        ModelError: when that model is damaged or its parts are of other sizes.
    """
    verify(folder)
    try:
        carry(model.heads, folder)
        if isinstance(model, TowerModel):
            model.tower.load_state_dict(load_file(folder / TOWER))
    except (OSError, RuntimeError) as error:
        raise ModelError(f"{str(folder)!r} cannot be gone on with: {error}; set training.warm_start = 'none'") from error


def carry(heads: Heads, folder: Path) -> None:
    """Puts CARRIED of a published model into heads that are otherwise as they begin."""
    state = {name: t for name, t in load_file(folder / HEADS).items() if name.startswith(CARRIED)}
    found = nn.Module.load_state_dict(heads, state, strict=False)
    lost = [name for name in found.missing_keys if name.startswith(CARRIED)]
    if lost or found.unexpected_keys:
        raise RuntimeError(f"heads lack {lost} or have too many of {found.unexpected_keys}")
