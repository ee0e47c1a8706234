"""A published model as a folder: merged encoder, adapter, heads, tokenizer, what it is, and a checksum of every file.

encoder/            Hugging Face directory, low-rank adapters merged, safetensors, tokenizer, how states become a vector
adapter/            what the way of fine-tuning added, by itself; where it cannot be merged it is put back on loading
heads.safetensors   both heads with their scaling
tower.safetensors   the sequence model, on the tower route
items.safetensors   vectors of the items in the examples, on the tower route; scoring brings those of all items
held_back.safetensors  what counting knew before it was freshened on the validation examples, where it was
model.json          ModelMeta
MODEL_CARD.md       for people
manifest.json       sha256 of every other file
manifest.sig        its signature, where models are signed (equipoise.models.signature)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, cast

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from equipoise.checksum import file_sha256
from equipoise.errors import ModelError
from equipoise.models.behaviour import BehaviourModel, encoder_with
from equipoise.models.encoder import (
    CONFIG,
    POOLING,
    Pooling,
    TextEncoder,
    check_directory,
    load_backbone,
    load_tokenizer,
    state_pooling,
)
from equipoise.models.fit_pairs import start_counted
from equipoise.models.heads import heads_from_state
from equipoise.models.items import ItemTable
from equipoise.models.methods import Method, added_state, has_peft, plain, put_added, stays_beside
from equipoise.models.routes import Model
from equipoise.models.tower import Tower, TowerModel, TowerOptions

ENCODER, ADAPTER, HEADS, TOWER, ITEMS, HELD_BACK, META, CARD, MANIFEST, SIGNATURE = (
    "encoder",
    "adapter",
    "heads.safetensors",
    "tower.safetensors",
    "items.safetensors",
    "held_back.safetensors",
    "model.json",
    "MODEL_CARD.md",
    "manifest.json",
    "manifest.sig",
)

ADDED = "adapter_model.safetensors"


@dataclass(frozen=True)
class ModelMeta:
    """What a model is: all that inference needs beside the weights, and where it came from.

    categories: behind each place of category_logits. class_mean_spend: money per label window of O, interest, buy, training rows;
    meaningless without has_amounts. metrics: figures on the validation cut. table_versions: pinned inputs. dates (ISO): as_of;
    fitted_until, validated_from: end of the training labels, begin of the validation labels; seen_until: end of all labels that
    the published weights have seen. gate: how it stood beside others before (equipoise.training.verdict.Verdict). route: text or
    tower; tower: TowerOptions of the latter. off: heads that the source's data cannot teach, with the reason. beside: Method of
    the additions in adapter/ that are not merged into the encoder; empty: there are none. pretraining: what continued
    pre-training did to the encoder before (equipoise.training.pretrained); empty: there was none.
    """

    model_id: str
    categories: list[str]
    max_tokens: int
    max_item_tokens: int
    class_mean_spend: tuple[float, float, float]
    has_amounts: bool
    feature_names: list[str]
    pooling: Pooling
    metrics: dict[str, float] = field(default_factory=dict)
    table_versions: dict[str, int] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    dates: dict[str, str] = field(default_factory=dict)
    gate: dict[str, Any] = field(default_factory=dict)
    route: str = field(default="text")
    tower: dict[str, Any] = field(default_factory=dict)
    off: dict[str, str] = field(default_factory=dict)
    beside: dict[str, Any] = field(default_factory=dict)
    pretraining: dict[str, Any] = field(default_factory=dict)


class LoadedPackage(NamedTuple):
    """A published model, ready to predict; a tower knows the items of its examples, and others once it is given their vectors."""

    model: Model
    tokenizer: Any
    meta: ModelMeta


def save_package(
    folder: Path,
    model: Model,
    *,
    tokenizer_path: str,
    meta: ModelMeta,
    card: str,
    held_back: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes the whole package into an empty or absent folder; checksums last. `held_back`: `counted_state` before freshening.

    Raises:
        ModelError: when a weight is NaN or infinite, or the folder holds something; nothing is written then.
    """
    check_finite(model)
    if folder.exists() and any(folder.iterdir()):
        raise ModelError(f"{str(folder)!r} is not empty; a model is written whole into a new folder; delete it and run again")
    (folder / ENCODER).mkdir(parents=True)
    backbone = model.encoder.backbone
    if stays_beside(backbone) and not meta.beside:
        raise ModelError("what this model's encoder was given cannot be merged; expected ModelMeta.beside to say what it is")
    cast(Any, plain(backbone)).save_pretrained(folder / ENCODER)
    load_tokenizer(tokenizer_path).save_pretrained(folder / ENCODER)
    state_pooling(folder / ENCODER, meta.pooling, model.encoder.width)
    if added_state(backbone):
        _save_adapter(folder / ADAPTER, backbone, str(meta.settings.get("encoder", {}).get("path", "")))
    save_file(_plain(model.heads.state_dict()), folder / HEADS)
    if isinstance(model, TowerModel):
        save_file(_plain(model.tower.state_dict()), folder / TOWER)
        model.table.save(folder / ITEMS)
    if held_back is not None:
        save_file(_plain(held_back), folder / HELD_BACK)
    (folder / META).write_text(_json(asdict(meta)), encoding="utf-8")
    (folder / CARD).write_text(card, encoding="utf-8")
    (folder / MANIFEST).write_text(_json({"sha256": checksums(folder)}), encoding="utf-8")


def load_package(path: str | Path, device: str = "cpu") -> LoadedPackage:
    """The model published at `path`, in evaluation mode, once every file is what it was.

    Raises:
        ModelError: a file is missing, changed or new, or the parts do not fit together.
    """
    folder = Path(path)
    verify(folder)
    check_directory(folder / ENCODER)
    meta = _meta(folder / META)
    try:
        heads = heads_from_state(load_file(folder / HEADS))
    except (KeyError, RuntimeError, ValueError) as error:
        raise ModelError(f"{str(folder / HEADS)!r} does not hold the heads: {error}; publish the model again") from error
    encoder = _encoder(folder, meta)
    model: Model = BehaviourModel(encoder, heads)
    if meta.route == "tower":
        model = TowerModel(encoder, _tower(folder, encoder.width, meta), heads)
    model.requires_grad_(False)
    model.eval()
    model.to(device)
    if isinstance(model, TowerModel):
        model.look_up(ItemTable.load(folder / ITEMS))
    return LoadedPackage(model, load_tokenizer(folder / ENCODER), meta)


def _encoder(folder: Path, meta: ModelMeta) -> TextEncoder:
    backbone = load_backbone(folder / ENCODER)
    if not meta.beside:
        return TextEncoder(backbone, meta.pooling)
    try:
        method, state = Method(**meta.beside), load_file(folder / ADAPTER / ADDED)
    except (OSError, TypeError, ValueError) as error:
        raise ModelError(f"{str(folder / ADAPTER)!r} does not hold the additions: {error}; publish the model again") from error
    encoder = encoder_with(backbone, meta.pooling, method)
    put_added(encoder.backbone, state)
    return encoder


def load_held_back(path: str | Path, device: str = "cpu") -> LoadedPackage:
    """The model published at `path` as it was before it was freshened on its validation examples.

    Raises:
        ModelError: as `load_package`, and when the package did not keep that.
    """
    loaded, file = load_package(path, device), Path(path) / HELD_BACK
    if not file.is_file():
        raise ModelError(f"{str(path)!r} has no {HELD_BACK}; expected a model of this version; run finetune_encoder again")
    try:
        start_counted(loaded.model.heads, load_file(file, device=device))
    except RuntimeError as error:
        raise ModelError(f"{str(file)!r} does not fit the heads: {error}; run finetune_encoder again") from error
    loaded.model.requires_grad_(False)
    return loaded


def add_gate(folder: Path, gate: dict[str, Any], text: str) -> None:
    """Writes how a staged model stood at the gate into its model.json and, as a last section, its card; checksums anew.

    Raises:
        ModelError: when the package is damaged.
    """
    meta = replace(load_meta(folder), gate=gate)
    (folder / META).write_text(_json(asdict(meta)), encoding="utf-8")
    with (folder / CARD).open("a", encoding="utf-8") as card:
        card.write(f"\n{text}")
    (folder / MANIFEST).write_text(_json({"sha256": checksums(folder)}), encoding="utf-8")


def load_meta(path: str | Path) -> ModelMeta:
    """What the model published at `path` is, once every file is what it was; no weight is loaded.

    Raises:
        ModelError: a file is missing, changed or new.
    """
    folder = Path(path)
    verify(folder)
    return told_meta(folder)


def told_meta(folder: Path) -> ModelMeta:
    """What the model at `folder` says it is, its files unseen: to choose among many models, of which those chosen are verified.

    Raises:
        ModelError: when model.json is unreadable or of another version.
    """
    return _meta(folder / META)


def verify(folder: Path) -> None:
    """Compares every file with the manifest.

    Raises:
        ModelError: naming what is missing, changed or not listed.
    """
    if not (folder / MANIFEST).is_file():
        raise ModelError(
            f"{str(folder)!r} has no {MANIFEST}; expected a published model; run finetune_encoder, or set the right path"
        )
    listed = _read_json(folder / MANIFEST).get("sha256", {})
    found = checksums(folder)
    missing, new = sorted(set(listed) - set(found)), sorted(set(found) - set(listed))
    changed = sorted(name for name in set(listed) & set(found) if listed[name] != found[name])
    if missing or new or changed:
        raise ModelError(
            f"model {str(folder)!r} is damaged: missing {missing}, changed {changed}, not in the manifest {new}; "
            "expected the files as published; restore them, or run finetune_encoder again"
        )


def encoder_sha256(folder: Path) -> dict[str, str]:
    """sha256 of a published model's encoder, weights and configuration, and its pooling: two that agree give a text the same
    vector. The pooling by name: models of earlier versions have no file of it."""
    meta, stated = told_meta(folder), f"{ENCODER}/{POOLING}/"
    ends, parts = (".safetensors", CONFIG), (f"{ENCODER}/", *([f"{ADAPTER}/"] if meta.beside else ()))
    found = {name: v for name, v in listed_sha256(folder).items() if name.startswith(parts) and name.endswith(ends)}
    return {"pooling": meta.pooling} | {name: v for name, v in found.items() if not name.startswith(stated)}


def listed_sha256(folder: Path) -> dict[str, str]:
    """sha256 of a published model's files by relative path, as its manifest says."""
    return cast(dict[str, str], _read_json(folder / MANIFEST)["sha256"])


def checksums(folder: Path) -> dict[str, str]:
    """sha256 of every file under the folder but the manifest and its signature, by relative path."""
    own = folder / MANIFEST, folder / SIGNATURE
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p not in own)
    return {p.relative_to(folder).as_posix(): file_sha256(p) for p in files}


def check_finite(module: nn.Module) -> None:
    """Raises ModelError when a weight or buffer of the module is NaN or infinite, naming it."""
    bad = [name for name, t in module.state_dict().items() if t.is_floating_point() and not bool(t.isfinite().all())]
    if bad:
        raise ModelError(
            f"{len(bad)} tensors hold NaN or infinity, such as {bad[0]}; it is never written; lower training.learning_rate"
        )


def _save_adapter(folder: Path, backbone: nn.Module, trained_on: str) -> None:
    """The additions, PEFT's as PEFT reads them; written without its save_pretrained, which may ask the network about the
    model."""
    folder.mkdir()
    save_file(_plain(added_state(backbone)), folder / ADDED)
    if has_peft(backbone):
        config = cast(Any, backbone).peft_config["default"].to_dict()
        config["base_model_name_or_path"] = trained_on
        (folder / "adapter_config.json").write_text(_json(config), encoding="utf-8")


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as safetensors wants them: on the CPU, contiguous, sharing no memory."""
    return {name: t.detach().cpu().contiguous().clone() for name, t in state.items()}


def _tower(folder: Path, width: int, meta: ModelMeta) -> Tower:
    try:
        tower = Tower(width, TowerOptions(**meta.tower))
        tower.load_state_dict(load_file(folder / TOWER))
    except (OSError, TypeError, RuntimeError) as error:
        raise ModelError(f"{str(folder / TOWER)!r} does not hold the tower: {error}; publish the model again") from error
    return tower


def _meta(path: Path) -> ModelMeta:
    raw = _read_json(path)
    names = {f.name for f in fields(ModelMeta)}
    needed = {f.name for f in fields(ModelMeta) if f.default is MISSING and f.default_factory is MISSING}
    wrong = (set(raw) - names) | (needed - set(raw))
    if wrong:
        raise ModelError(f"{str(path)!r} has fields {sorted(wrong)} too many or too few; it is of another version; publish again")
    low, middle, high = raw["class_mean_spend"]
    return ModelMeta(**{**raw, "class_mean_spend": (low, middle, high)})


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return cast(dict[str, Any], json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ModelError(f"{str(path)!r} is not readable: {error}; restore it, or run finetune_encoder again") from error


def _json(value: object) -> str:
    return json.dumps(value, indent=2, sort_keys=True, default=sorted) + "\n"
