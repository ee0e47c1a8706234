"""Scores a candidate, what it started as and CURRENT on the same validation examples, in one pass over them on the driver.

The candidate is scored as it was before it was freshened on these examples. CURRENT is scored as published where all labels that
it has seen end before theirs begin, else as it was before its own freshening, which saw less.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow  # noqa: F401  # before torch, or their bundled libraries clash (petastorm's troubleshooting page)
import torch
from safetensors.torch import load_file
from torch import Tensor

from equipoise.errors import ModelError
from equipoise.evaluate.arrays import Bools, Ints
from equipoise.inference.interface import Precision
from equipoise.models import Model, ModelMeta, Outputs, TowerModel, load_package
from equipoise.models.encoder import TOKENIZER_FILES
from equipoise.models.fit_pairs import start_counted
from equipoise.models.heads import Heads
from equipoise.models.items import ItemTable
from equipoise.models.losses import row_losses
from equipoise.models.package import ENCODER, HELD_BACK, ITEMS, add_gate, encoder_sha256, listed_sha256, load_held_back, load_meta
from equipoise.training.ranks import Device
from equipoise.training.recipe import Recipe
from equipoise.training.registry import Registry
from equipoise.training.start import untrained
from equipoise.training.verdict import GateMetric, Losses, Verdict, compare, recorded

BATCH = 64
GATE = ("training.gate_metric", "training.gate_tolerance_bits", "training.gate_examples")
"""Settings that decide on promotion alone: where they change, nothing is trained anew."""

COLUMNS = ("user_id", "tokens", "length", "prior", "cells", "events", "trends", "features", "label_counts", "label_value")
PRIOR, COUNTED, CURRENT = "prior", "counted", "CURRENT"

Say = Callable[[str], None]
Answers = Callable[[dict[str, Tensor]], Outputs]


@dataclass(frozen=True)
class GateOptions:
    """How to judge; every field is a setting of the same name."""

    seed: int
    gate_metric: GateMetric
    gate_tolerance_bits: float
    gate_examples: int
    category_weight: float
    visit_weight: float
    value_weight: float
    device: Device
    precision: Precision

    @property
    def place(self) -> Device:
        """Where the driver computes: on a GPU where training does and the driver has one."""
        return "cuda" if self.device == "cuda" and torch.cuda.is_available() else "cpu"


class Scored(NamedTuple):
    """Losses per model, and the user and whether the label window is not empty, of each example (n,)."""

    losses: dict[str, Losses]
    unit: Ints
    known: Bools


class Rival(NamedTuple):
    """CURRENT as it is scored: its id (None: there is none), the model or why it is not, and whether the labels are new to it."""

    model_id: str | None
    model: Model | None
    why_not: str
    fair: bool = True


@dataclass(frozen=True)
class Gate:
    """Judges candidates against what they started as and against CURRENT."""

    registry: Registry
    options: GateOptions
    say: Say

    def judge(self, made: Recipe, *, promotes: bool) -> Verdict:
        """The verdict on a staged model, also written into its package; CURRENT has a part in it where the model may be promoted.

        Raises:
            ModelError: when the staged package is damaged, or there are no validation examples.
        """
        folder, place = Path(made.staging), self.options.place
        rival = _rival(folder, self.registry, self.options) if promotes else Rival(None, None, "this model is not to be promoted")
        candidate = load_held_back(folder, place)
        models: dict[str, Answers] = {"": answers(candidate.model, self.options)}
        models[COUNTED] = _without_text(_start(made, counted=True, device=place))
        models[PRIOR] = _without_text(_start(made, counted=False, device=place))
        verdict = _verdict(models, rival, made.validation_files, candidate.meta, self.options, self.say)
        for line in verdict.lines():
            self.say(line)
        add_gate(folder, verdict.as_dict(), verdict.section())
        return verdict

    def promote(self, model_id: str, files: Sequence[str]) -> None:
        """Points CURRENT at a published model by the verdict in its package, or, where CURRENT is another by now, by a new one.

        Args:
            files: the validation files that it was judged on.

        Raises:
            GateError, ConflictError, ModelError: as `Registry.promote`.
        """
        self.registry.promote(model_id, self.verdict(model_id, files))
        self.say(f"model {model_id} is CURRENT in {self.registry.root}")

    def verdict(self, model_id: str, files: Sequence[str]) -> Verdict:
        """The verdict on a published model beside CURRENT as it is now; beside its start, by the figures in its package."""
        options, folder = self.options, self.registry.path(model_id)
        meta = load_meta(folder)
        before = recorded(meta.gate)
        asked = (self.registry.named(), options.gate_metric, options.gate_examples)
        if before is not None and (before.current, before.metric, before.examples) == asked:
            return replace(before, tolerance_bits=options.gate_tolerance_bits)
        rival = _rival(folder, self.registry, options)
        models = {"": answers(load_held_back(folder, options.place).model, options)} if rival.model is not None else {}
        verdict = _verdict(models, rival, files, meta, options, self.say)
        kept = tuple(c for c in before.comparisons if c.other in (PRIOR, COUNTED)) if before else ()
        verdict = replace(verdict, comparisons=kept + verdict.comparisons)
        for line in verdict.lines():
            self.say(line)
        return verdict


def answers(model: Model, options: GateOptions) -> Answers:
    """A model as a function of a batch, on the driver's device and in the precision that training uses."""
    from equipoise.inference.hardware import half_of

    model.eval()
    model.encoder.autocast = half_of(options.precision, options.place)
    return lambda batch: model(*(batch[name] for name in model.inputs))


def score(models: Mapping[str, Answers], batches: Iterable[dict[str, Tensor]], options: GateOptions) -> Scored:
    """Every model on the first `gate_examples` rows, batch by batch, so that losses of one place are of one example."""
    parts: dict[str, list[Tensor]] = {name: [] for name in models}
    users, known, rows = [], [], 0
    with torch.no_grad():
        for batch in batches:
            left = options.gate_examples - rows
            moved = {name: t[:left].to(options.place) for name, t in batch.items() if name != "user_id"}
            for name, model in models.items():
                found = row_losses(model(moved), moved["label_counts"], moved["label_value"])
                parts[name].append(torch.stack([x.double().cpu() for x in (found.category, found.visit, found.value)]))
            users.append(batch["user_id"][:left].numpy())
            known.append(found.known.cpu().numpy())
            rows += len(users[-1])
            if rows >= options.gate_examples:
                break
    if not rows:
        raise ModelError("no validation examples to judge on; run build_features again")
    unit = np.unique(np.concatenate(users), axis=0, return_inverse=True)[1].ravel().astype(np.int64)
    windows = np.concatenate(known)
    return Scored({name: _losses(torch.cat(p, dim=1), windows, options) for name, p in parts.items()}, unit, windows)


def comparable(candidate: Path, other: Path, metric: GateMetric) -> str:
    """Why a published model cannot be scored on the examples of another, or ''.

    Raises:
        ModelError: when one of them is damaged.
    """
    mine, theirs = load_meta(candidate), load_meta(other)
    if not theirs.dates or not (other / HELD_BACK).is_file():
        return "it does not say which labels it has seen (published by an earlier version)"
    if set(mine.categories) != set(theirs.categories):
        old, new = set(theirs.categories), set(mine.categories)
        examples = f"such as {min(old ^ new)!r}"
        return f"its categories differ: {len(old - new)} that are gone and {len(new - old)} that are new, {examples}"
    for what, a, b in (
        ("order of categories", mine.categories, theirs.categories),
        ("features", mine.feature_names, theirs.feature_names),
        ("encoder.max_tokens", mine.max_tokens, theirs.max_tokens),
        ("tokenizer", _tokenizer(candidate), _tokenizer(other)),
    ):
        if a != b:
            return f"its {what} differ: the examples are packed for another model"
    if theirs.route == "tower" and (mine.route != "tower" or encoder_sha256(candidate) != encoder_sha256(other)):
        return "it is a tower on another encoder, whose vectors of today's items are not here"
    if metric in ("value", "loss") and mine.settings.get("segments") != theirs.settings.get("segments"):
        return f"its value classes differ: segments are {theirs.settings.get('segments')}, now {mine.settings.get('segments')}"
    return ""


def _rival(candidate: Path, registry: Registry, options: GateOptions) -> Rival:
    model_id = registry.named()
    if model_id is None:
        return Rival(None, None, "there is none yet")
    try:
        folder = registry.trusted(model_id)
        reason = comparable(candidate, folder, options.gate_metric)
        if reason:
            return Rival(model_id, None, reason)
        theirs, begin = load_meta(folder).dates, load_meta(candidate).dates["validated_from"]
        seen = theirs["seen_until"] > begin
        model = (load_held_back if seen else load_package)(folder, options.place).model
        if isinstance(model, TowerModel):
            model.look_up(ItemTable.load(candidate / ITEMS))  # newer than its own, from the same encoder
        return Rival(model_id, model, "", fair=not seen or theirs["fitted_until"] <= begin)
    except ModelError as error:
        return Rival(model_id, None, f"it cannot be read: {error}")


def _verdict(
    models: Mapping[str, Answers],
    rival: Rival,
    files: Sequence[str],
    meta: ModelMeta,
    options: GateOptions,
    say: Say,
) -> Verdict:
    """The model named '' beside the others and the rival; without that model beside nobody."""
    from equipoise.stream import ExampleStream, Widths

    verdict = Verdict(options.gate_metric, options.gate_tolerance_bits, options.gate_examples, rival.model_id, rival.why_not, ())
    if not models:
        return verdict
    name = f"{CURRENT} {rival.model_id}"
    contenders = dict(models) | ({name: answers(rival.model, options)} if rival.model is not None else {})
    widths = Widths(meta.max_tokens, len(meta.categories), len(meta.feature_names))
    stream = ExampleStream(
        files, rank=0, world_size=1, batch_size=BATCH, seed=options.seed, epoch=0, widths=widths, columns=COLUMNS, drop_last=False
    )
    with stream as batches:
        scored = score(contenders, batches, options)
    if len(scored.unit) < stream.plan.rows:
        say(f"gate: on {len(scored.unit):,} of {stream.plan.rows:,} validation examples, the first in the order of the seed")
    losses = dict(scored.losses)
    mine = losses.pop("")
    if PRIOR in losses:  # it says nothing of visits, and of values what `counted` says
        losses[PRIOR] = Losses(losses[PRIOR].category, *[np.empty(0)] * 3)
    unfair = () if rival.fair else (name,)
    found = compare(mine, losses, unit=scored.unit, known=scored.known, seed=options.seed, unfair=unfair)
    return replace(verdict, comparisons=found)


def _losses(nats: Tensor, known: Bools, options: GateOptions) -> Losses:
    """(3, n) category, visit, value in nats → bits; the weighted sum is scaled so that its mean is the loss of training."""
    category, visit, value = (nats / math.log(2)).numpy()
    share = len(known) / max(1, int(known.sum()))
    whole = options.category_weight * share * np.where(known, category, 0.0)
    return Losses(category, visit, value, whole + options.visit_weight * visit + options.value_weight * value)


def _start(made: Recipe, *, counted: bool, device: Device) -> Heads:
    """What the model said untrained, without an encoder, as no vector has a part in it; without `counted`, the prior alone."""
    heads = untrained(made.start.statistics, made.start.prior, made.population)
    if counted:
        start_counted(heads, load_file(made.start.counted))
    return heads.eval().to(device)


def _without_text(heads: Heads) -> Answers:
    def answer(batch: dict[str, Tensor]) -> Outputs:
        nothing = batch["prior"].new_zeros(len(batch["prior"]), 0)
        outputs: Outputs = heads(nothing, batch["prior"], batch["cells"], batch["trends"], batch["features"])
        return outputs

    return answer


def _tokenizer(folder: Path) -> dict[str, str]:
    """sha256 of a package's tokenizer files."""
    names = {f"{ENCODER}/{name}" for name in TOKENIZER_FILES}
    return {name: value for name, value in listed_sha256(folder).items() if name in names}
