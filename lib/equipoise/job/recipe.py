"""What build_features makes its tables by: the settings that decide them."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from equipoise.features import build
from equipoise.features.pack import tokenizer_sha256
from equipoise.job.identity import sha256
from equipoise.settings import Settings, resolve

SAMPLING = {"processes", "files_per_rank", "sample_examples", "validation_examples", "training_cuts", "seed"}


def decisive(s: Settings, folder: Path) -> dict[str, str]:
    """Single settings that decide the result: a new learning rate, say, builds no features anew."""
    return {
        "source": s.source.model_dump_json(include={"category_level", "has_amounts"}),
        "interests": s.interests.model_dump_json(include={"event_weights", "half_life_days"}),
        "encoder": s.encoder.model_dump_json(include={"max_tokens", "sequence_items"}),
        "training": s.training.model_dump_json(include=SAMPLING),
        "tokenizer": tokenizer_sha256(resolve(s.encoder.path, folder)),
    }


def identity(s: Settings, folder: Path) -> dict[str, str]:
    """What a run is known by: `decisive`, and whether everything is to be counted anew, so that asking for it is no repeat."""
    return decisive(s, folder) | ({} if s.features.incremental else {"everything": "anew"})


def basis(s: Settings, folder: Path, code: str) -> str:
    """Hash of everything but the events, the catalogue and as_of that decides a feature; `code` is the version of the code."""
    chosen = {"windows": s.windows.model_dump(mode="json"), "segments": s.segments.model_dump(mode="json")}
    return sha256([chosen, decisive(s, folder), code])


def recipe(s: Settings, folder: Path, as_of: date) -> build.Recipe:
    """The settings as plain values."""
    return build.Recipe(
        as_of=as_of, origin=s.windows.origin, window_days=s.windows.days, horizon_days=s.segments.horizon_days,
        event_weights=s.interests.event_weights,
        half_life_days=s.interests.half_life_days,
        has_amounts=s.source.has_amounts,
        category_level=s.source.category_level,
        ladder=s.segments.ladder,
        training_cuts=s.training.training_cuts,
        sample=s.training.sample_examples,
        validation_sample=s.training.validation_examples,
        files=s.training.processes * s.training.files_per_rank,
        seed=s.training.seed,
        encoder_path=resolve(s.encoder.path, folder),
        max_tokens=s.encoder.max_tokens,
        max_items=s.encoder.sequence_items,
    )  # fmt: skip
