"""What a Python worker does with the batches it is given: one model per process, buffers of rows, answers by key. No Spark."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from equipoise.checksum import file_sha256
from equipoise.errors import ModelError
from equipoise.inference.arrow import as_lists
from equipoise.inference.interface import PREDICTION, BatchPredictor, Device, Switch, Trends
from equipoise.inference.progress import Progress

if TYPE_CHECKING:
    from equipoise.models.smaller import Smaller


@dataclass(frozen=True)
class Setup:
    """How a worker runs the model: where it lies, on what, with how many threads, how much at a time; the trends of now; for a
    tower the file of the items' vectors; how much smaller the encoder is made (equipoise.models.smaller). With `pretrained`,
    model_path is a bare encoder's directory; it only encodes. without_text: counts alone speak (Predictor.load)."""

    model_path: str
    device: Device = "cpu"
    bfloat16: Switch = "auto"
    threads: int = 1
    workers: int = 2
    tokens_per_batch: int = 4096
    buffer_rows: int = 4096
    trends: Trends = ()
    items: str = ""
    pretrained: bool = False
    int8: Literal["on", "off"] = "off"
    drop_layers: int = 0
    prune_heads: float = 0.0
    prune_weights: float = 0.0
    without_text: bool = False
    manifest: str = ""
    """sha256 of the manifest that the driver saw, whose signature it has checked; "": any."""


_LOADED: dict[tuple[Setup, str], BatchPredictor] = {}
"""The model of this process: at most one, since a worker has room for one."""


def predictor(setup: Setup) -> BatchPredictor:
    """The model at `setup.model_path`, loaded once per process and content of its manifest.

    Raises:
        ModelError: when there is no manifest, so that it is not known whether the model is whole.
    """
    manifest = Path(setup.model_path) / "manifest.json"
    if not manifest.is_file():
        raise ModelError(f"{setup.model_path}: no manifest.json, so not a published model; run finetune_encoder first")
    found = file_sha256(manifest)
    if setup.manifest and found != setup.manifest:
        raise ModelError(
            f"{setup.model_path}: its manifest is not the one that the driver checked; the model was changed meanwhile, or this "
            "machine mounts another folder; look at who writes there, then run the job again"
        )
    key = (setup, found)
    if key not in _LOADED:
        # The tokenizer's own thread pool would take every core of the machine, whatever torch was told.
        os.environ["RAYON_NUM_THREADS"] = str(setup.threads)
        os.environ["TOKENIZERS_PARALLELISM"] = "true" if setup.threads > 1 else "false"
        from equipoise.inference.predictor import Predictor

        _LOADED.clear()
        _LOADED[key] = Predictor.load(
            setup.model_path,
            device=setup.device,
            threads=setup.threads,
            bfloat16=setup.bfloat16,
            tokens_per_batch=setup.tokens_per_batch,
            trends=setup.trends,
            items=setup.items,
            less=_less(setup),
            without_text=setup.without_text,
        )
    return _LOADED[key]


def predictions(batches: Iterable[pa.RecordBatch], setup: Setup, key: str, progress: Progress) -> Iterator[pa.RecordBatch]:
    """`key` and PREDICTION, one row per row of FEATURES_IN, in the order given; class probabilities in single precision."""
    for batch in in_buffers(batches, setup.buffer_rows):
        answer = predictor(setup).predict(batch)
        columns = [batch.column(key), *(answer.column(name) for name in PREDICTION.names)]
        for name in ("category_probabilities", "visit_probabilities"):
            place = 1 + PREDICTION.get_field_index(name)
            columns[place] = columns[place].cast(pa.list_(pa.float32()))
        progress.add(batch.num_rows)
        yield pa.RecordBatch.from_arrays(columns, names=[key, *PREDICTION.names])


def vectors(
    batches: Iterable[pa.RecordBatch], setup: Setup, key: str, text: str, max_tokens: int | None, progress: Progress
) -> Iterator[pa.RecordBatch]:
    """`key` and `vector`, one row per row, in the order given."""
    encode = _encode_of(setup)
    for batch in in_buffers(batches, setup.buffer_rows):
        encoded = encode(batch.column(text).to_pylist(), max_tokens)
        progress.add(batch.num_rows)
        yield pa.RecordBatch.from_arrays([batch.column(key), as_lists(encoded)], names=[key, "vector"])


def _encode_of(setup: Setup) -> Callable[[list[str], int | None], NDArray[np.float32]]:
    """How texts are encoded: by a published model, or by a bare encoder, which is loaded for this call alone."""
    if not setup.pretrained:
        return predictor(setup).encode
    import torch

    from equipoise.inference.hardware import check_device, use_bfloat16
    from equipoise.inference.texts import TextVectors

    torch.set_num_threads(setup.threads)
    bfloat16 = use_bfloat16(setup.bfloat16, setup.device)
    size, place = setup.tokens_per_batch, check_device(setup.device)
    texts = TextVectors.pretrained(setup.model_path, device=place, bfloat16=bfloat16, tokens_per_batch=size, less=_less(setup))

    def encode(rows: list[str], max_tokens: int | None) -> NDArray[np.float32]:
        if max_tokens is None:
            raise ModelError(f"{setup.model_path}: a bare encoder does not say how many tokens to read; give max_tokens")
        return texts.encode(rows, max_tokens)

    return encode


def _less(setup: Setup) -> Smaller:
    from equipoise.models.smaller import Smaller

    return Smaller(**{f.name: getattr(setup, f.name) for f in fields(Smaller)})


def in_buffers(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """The same rows in the same order, `rows` at a time; the last buffer may be shorter, none is empty.

    A buffer holds what is sorted by length together: Arrow's own batches are too small for that, or too large to hold.
    """
    held: list[pa.RecordBatch] = []
    room = rows
    for given in batches:
        batch = given
        while batch.num_rows:
            part = batch.slice(0, room)
            batch = batch.slice(part.num_rows)
            held.append(part)
            room -= part.num_rows
            if room == 0:
                yield _joined(held)
                held, room = [], rows
    if held:
        yield _joined(held)


def _joined(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    return pa.Table.from_batches(parts).combine_chunks().to_batches()[0]
