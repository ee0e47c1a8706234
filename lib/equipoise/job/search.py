"""The search over hyper-parameters: from settings to a plan, from a proposal to a training, from its outcome to ops.trials."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from equipoise.clock import now
from equipoise.errors import ModelError, SettingsError
from equipoise.job.context import Context
from equipoise.job.finetune import recipe, starts_with
from equipoise.job.identity import sha256
from equipoise.models.signature import signing_key
from equipoise.settings import Settings, resolve
from equipoise.settings.search import Range, put
from equipoise.tables.trials import TRIALS
from equipoise.training import launch, search, warm
from equipoise.training.registry import Registry
from equipoise.training.search import Outcome, Params, Plan, as_text, from_text
from equipoise.training.start import COUNTED, FRESH, Start

NAME = TRIALS.full_name
IGNORED = {"trials", "max_seconds"}
"""Settings of the search that do not make it another one: it goes on with more of them."""


@dataclass
class Trials:
    """The trainings of one search."""

    ctx: Context
    scratch: Path
    plan: Plan
    search_id: str
    models: Registry
    """The published models, one of which a trial may go on with."""

    starts: dict[str, Start] = field(default_factory=dict)
    """What is fitted without a text, by the settings that decide it: the same for most trials."""

    def known(self) -> list[Outcome]:
        """Outcomes of earlier runs of the same search."""
        if self.ctx.store.version(NAME) is None:
            return []
        rows = self.ctx.store.read(NAME).filter(f"search_id = '{self.search_id}'").orderBy("rung", "trial").collect()
        return [Outcome(r["trial"], r["rung"], r["max_steps"], from_text(r["params"]), r["value"]) for r in rows]

    def train(self, trial: int, rung: int, steps: int, params: Params) -> Outcome:
        """One training on the training examples, judged on the validation examples; its row is in the table when this returns."""
        settings = changed(self.ctx.settings, params | {"training.max_steps": steps})
        mark = sha256({"search": self.search_id, "trial": trial, "rung": rung})[:32]
        ctx = replace(self.ctx, settings=settings, run_id=mark, registry_or_none=Registry(self.scratch))
        began, value, message = time.monotonic(), None, None
        self.ctx.say(f"trial {trial}, {steps} steps: {', '.join(f'{n} = {v}' for n, v in as_text(params).items())}")
        try:
            key = starts_with(settings)
            made = recipe(ctx, start=self.starts.get(key), models=self.models)
            self.starts[key] = made.start
            t = settings.training
            metrics = launch.fine_tune(ctx.spark, made, processes=t.processes, cluster_mode=t.cluster_mode, say=self.ctx.say)
            value = float(metrics[metric_of(self.ctx.settings.search.metric)])
        except ModelError as error:
            message = str(error)[:1000]
        finally:
            ctx.forget_copies()
            for folder in (ctx.registry.staging(mark), ctx.registry.logs(mark)):
                shutil.rmtree(folder, ignore_errors=True)
            _clear(ctx.registry.checkpoints(mark))
        outcome = Outcome(trial, rung, steps, params, value)
        self._write(outcome, message, time.monotonic() - began)
        self.ctx.say(f"trial {trial}: {'failed: ' + message if message else f'{self.ctx.settings.search.metric} {value:.5f}'}")
        return outcome

    def _write(self, o: Outcome, message: str | None, seconds: float) -> None:
        status, metric = "failed" if message else "done", self.ctx.settings.search.metric
        row = (self.search_id, o.trial, o.rung, o.steps, as_text(o.params), metric, o.value, status, message, seconds, now())
        frame = self.ctx.spark.createDataFrame([(*row, self.ctx.run_id)], TRIALS.struct_type())
        self.ctx.store.append(frame, NAME, fingerprint=f"{self.search_id} {o.trial} {o.rung}", job=self.ctx.job.name)


def _clear(folder: Path) -> None:
    """Of a training that has ended, all but what later trials begin with: checkpoints and encoders of many fill a disk."""
    for left in folder.glob("*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        elif left.name not in (COUNTED, FRESH):
            left.unlink(missing_ok=True)


def published(ctx: Context) -> Registry:
    """The published models; with a key in the settings those alone that are signed with it can be gone on with."""
    file = ctx.settings.models.signing_key_file
    return Registry.of(ctx.home, signing_key(resolve(file, ctx.settings_dir) if file else ""))


def _goes_on_with(ctx: Context, models: Registry) -> dict[str, str]:
    """The model that trials may go on with: part of what a search is, where there are such trials."""
    name = "training.warm_start"
    wanted = ctx.settings.training.warm_start == "current" or name in ctx.settings.search.space
    return {"warm": warm.predecessor(models, ctx.as_of) or "none"} if wanted else {}


@contextmanager
def trials(ctx: Context) -> Iterator[Trials]:
    """The search that the settings describe, with a folder for its trainings that goes at the end.

    Raises:
        SettingsError: when the space is empty, or names what the settings do not know or refuse.
    """
    made = plan(ctx.settings)
    whole = ctx.settings.model_dump(mode="json")
    told = {n: v for n, v in whole["search"].items() if n not in IGNORED}
    extra = ctx.job.extra_inputs(ctx.settings, ctx.settings_dir) if ctx.job.extra_inputs else {}
    models = published(ctx)
    extra |= _goes_on_with(ctx, models)
    rows = {name: ctx.store.rows_version(name) for name in ctx.inputs}
    said: Any = {"search": told, "training": whole["training"], "tower": whole["tower"], "inputs": rows, "extra": extra}
    search_id = sha256(said)[:32]
    scratch = models.scratch / f"search-{search_id}"
    try:
        yield Trials(ctx, scratch, made, search_id, models)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def plan(settings: Settings) -> Plan:
    """What is searched, once every corner of the space is seen to make valid settings."""
    s = settings.search
    whole = settings.model_dump()
    if not s.space:
        raise SettingsError(
            "search.space is empty; expected settings to try, such as\n[search.space]\n"
            '"training.learning_rate" = { low = 1e-5, high = 1e-2, log = true }'
        )
    for name, values in s.space.items():
        section, _, key = name.partition(".")
        if key not in whole[section] or key == "max_steps":
            raise SettingsError(
                f"search.space: no setting {name!r}; expected one of {section}, but not max_steps, which rungs set: "
                f"{', '.join(sorted(whole[section]))}"
            )
        for value in values if isinstance(values, list) else _some_of(values):
            changed(settings, {name: value})
    current = {name: whole[name.partition(".")[0]][name.partition(".")[2]] for name in s.space}
    t = settings.training
    return Plan(s.space, current, s.sampler, s.trials, s.seed, min(s.first_steps, t.max_steps), s.reduction, t.max_steps)


def _some_of(values: Range) -> list[int | float]:
    """Both ends, and between them a number that is whole where only whole ones are asked for."""
    between = values.low + 0.382 * (values.high - values.low)
    return [int(v) if values.integer else v for v in (values.low, between, values.high)]


def changed(settings: Settings, params: Params) -> Settings:
    """The settings with some of them changed.

    Raises:
        SettingsError: when they do not allow it.
    """
    try:
        return Settings.model_validate(put(settings.model_dump(), params))
    except ValueError as error:
        told = ", ".join(f"{name} = {value!r}" for name, value in params.items())
        raise SettingsError(f"search.space: {told} makes settings that are refused: {error}; take it out of the space") from error


def metric_of(name: str) -> str:
    """Name in a training's metrics."""
    return "best_loss" if name == "loss" else f"best_{name}_loss"


def told(found: search.Plan, done: list[Outcome]) -> list[str]:
    """How the search stands, and its best settings as lines for a settings file."""
    best = search.best_of(found, done)
    if best is None:
        return ["no training has ended yet; run the search again"]
    winner, as_they_are = best
    steps = f"after {winner.steps} steps"
    lines = [f"best of {len(done)} trainings: {winner.value:.5f}, trial {winner.trial}, {steps}"]
    if as_they_are is not None:
        lines.append(f"the settings as they are: {as_they_are.value:.5f} {steps}")
    sections: dict[str, list[str]] = {}
    for name, value in as_text(winner.params).items():
        section, _, key = name.partition(".")
        sections.setdefault(section, []).append(f"{key} = {value}")
    return lines + [line for section, values in sections.items() for line in (f"[{section}]", *values)]
