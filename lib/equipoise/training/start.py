"""Where fine-tuning starts: everything that is fitted on the examples without reading a text, on the driver."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow  # noqa: F401  # before torch, or their bundled libraries clash (petastorm's troubleshooting page)
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from equipoise.checksum import file_sha256
from equipoise.models.fit_pairs import PairOptions, counted_state, fit_pairs, freshen
from equipoise.models.heads import Heads
from equipoise.models.statistics import Prior, Statistics, fit_prior, fit_statistics, start_heads
from equipoise.models.tower import behaviour_codes
from equipoise.tables.vocabulary import BEHAVIOURS
from equipoise.training.together import Bought, bought

if TYPE_CHECKING:
    from equipoise.stream import ExampleStream, Widths

STATISTICS_BATCH = 1024
STATISTICS_COLUMNS = ("features", "label_value", "label_spend")
PRIOR_COLUMNS = ("prior", "label_counts")
PAIR_COLUMNS = ("prior", "cells", "trends", "features", "label_counts", "user_id")
COUNTED, FRESH, KEPT = "counted.safetensors", "fresh.safetensors", "start.json"


@dataclass(frozen=True)
class Start:
    """Scaling and value logit; the prior; the files of the fitted pairs, for fine-tuning and, freshened, for publishing; the
    sha256 of the first, and its losses on the validation examples."""

    statistics: Statistics
    prior: Prior
    counted: str
    fresh: str
    counted_sha256: str
    figures: dict[str, float]

    @property
    def class_mean_spend(self) -> tuple[float, float, float]:
        """Money per label window of O, interest, buy."""
        low, middle, high = self.statistics.class_mean_spend
        return low, middle, high


@dataclass(frozen=True)
class Files:
    """Pinned training and validation files, and the widths of what they hold."""

    train: list[str]
    validation: list[str]
    widths: Widths


def fitted_start(
    files: Files,
    population: list[float],
    prior: Prior,
    options: PairOptions,
    *,
    fit: bool,
    into: str,
    say: Callable[[str], None],
) -> Start:
    """Fits all of it; with `fit` false the prior's two numbers stay as given. `into`: folder for the pairs.

    What an earlier attempt of the run fitted there, on the same files by the same options, is taken as it is: another machine's
    cores add up in another order, and with other last bits the checkpoints of that attempt would be of another training.
    """
    folder, identity = Path(into), _identity(files, population, prior, options, fit=fit)
    if (kept := _kept(folder, identity)) is not None:
        say("pairs: fitted already by an earlier attempt of this run")
        return kept
    statistics = statistics_of(files.train, files.widths, options.seed)
    prior = prior_of(files.train, files.widths, options.seed, population, prior, fit=fit)
    heads = untrained(statistics, prior, population)

    def epoch(number: int) -> ExampleStream:
        return _once(files.train, files.widths, options.seed, PAIR_COLUMNS, options.pair_batch, number)

    def validation(number: int = 0) -> ExampleStream:
        return _once(files.validation, files.widths, options.seed, PAIR_COLUMNS, options.pair_batch, number)

    figures, sums = fit_pairs(heads, epoch, validation, options, say)
    folder.mkdir(parents=True, exist_ok=True)
    counted, fresh = folder / COUNTED, folder / FRESH
    save_file(counted_state(heads), counted)
    steps = freshen(heads, sums, validation, options, batches=-(-validation().plan.rows // options.pair_batch))
    say(f"pairs: {steps:,} steps on the latest cut, for the model that is published")
    save_file(counted_state(heads), fresh)
    start = Start(statistics, prior, str(counted), str(fresh), file_sha256(counted), figures)
    _keep(start, folder, identity)
    return start


def _identity(files: Files, population: list[float], prior: Prior, options: PairOptions, *, fit: bool) -> str:
    """Hash of what decides a start; where the files lie does not count."""
    names = [[Path(f).name for f in part] for part in (files.train, files.validation)]
    said = json.dumps([names, asdict(files.widths), population, prior, asdict(options), fit])
    return hashlib.sha256(said.encode()).hexdigest()


def _keep(start: Start, folder: Path, identity: str) -> None:
    """Written aside and renamed, after the files that it speaks of."""
    told = {"identity": identity, "fresh_sha256": file_sha256(Path(start.fresh)), **asdict(start), "prior": start.prior._asdict()}
    aside = folder / f"{KEPT}.part"
    aside.write_text(json.dumps(told), encoding="utf-8")
    aside.rename(folder / KEPT)


def _kept(folder: Path, identity: str) -> Start | None:
    """What `_keep` wrote; None: nothing, of something else, or one of its files is no longer what it was."""
    counted, fresh = folder / COUNTED, folder / FRESH
    try:
        told = json.loads((folder / KEPT).read_text(encoding="utf-8"))
        found = identity, file_sha256(counted), file_sha256(fresh)
        if (told["identity"], told["counted_sha256"], told["fresh_sha256"]) != found:
            return None
        statistics, prior = Statistics(**told["statistics"]), Prior(**told["prior"])
        return Start(statistics, prior, str(counted), str(fresh), told["counted_sha256"], told["figures"])
    except (OSError, ValueError, KeyError, TypeError):  # gone, cut off, or of another version
        return None


def purchases_in(files: list[str], widths: Widths, seed: int, keys: NDArray[np.int64], texts: NDArray[np.int64]) -> Bought:
    """Purchases in the sequences of the examples, as `bought` says; of training examples none is at or after the last cut."""
    with _once(files, widths, seed, ("user_id", "cut_day", "events")) as stream:
        return bought(stream, keys, texts)


def behaviours_in(files: list[str], widths: Widths, seed: int) -> dict[str, int]:
    """Events of each of BEHAVIOURS in the sequences of the examples."""
    counts = torch.zeros(len(BEHAVIOURS), dtype=torch.int64)
    codes = torch.tensor(behaviour_codes())
    with _once(files, widths, seed, ("events",)) as stream:
        for batch in stream:
            found = codes[batch["types"]]
            counts += torch.bincount(found[found >= 0], minlength=len(BEHAVIOURS))
    return dict(zip(BEHAVIOURS, counts.tolist(), strict=True))


def untrained(statistics: Statistics, prior: Prior, population: list[float]) -> Heads:
    """Heads that no vector has a part in, as they stand before anything is trained or counted."""
    heads = Heads(0, len(statistics.feature_mean), population, dirichlet=prior.dirichlet, sharpening=prior.sharpening)
    start_heads(heads, statistics)
    return heads


def statistics_of(files: list[str], widths: Widths, seed: int) -> Statistics:
    """What is fitted on the training examples before the first step; reads no tokens."""
    with _once(files, widths, seed, STATISTICS_COLUMNS) as stream:
        return fit_statistics(stream)


def prior_of(files: list[str], widths: Widths, seed: int, population: list[float], start: Prior, *, fit: bool) -> Prior:
    """Where the category head starts: `start`, or with `fit` what suits the training examples best; reads no tokens."""
    if not fit:
        return start
    with _once(files, widths, seed, PRIOR_COLUMNS) as stream:
        return fit_prior(stream, population, start)


def _once(
    files: list[str], widths: Widths, seed: int, columns: tuple[str, ...], batch_size: int = STATISTICS_BATCH, epoch: int = 0
) -> ExampleStream:
    """Every example once, some columns of it."""
    from equipoise.stream import ExampleStream

    return ExampleStream(
        files,
        rank=0,
        world_size=1,
        batch_size=batch_size,
        seed=seed,
        epoch=epoch,
        widths=widths,
        columns=columns,
        drop_last=False,
    )
