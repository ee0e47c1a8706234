"""A small training on a tiny random model: batches in memory, the same every time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch

from equipoise.models import BehaviourModel, Model
from equipoise.models.methods import Method
from equipoise.models.statistics import fit_statistics, start_heads
from equipoise.training.checkpoint import Checkpoints
from equipoise.training.loop import Training
from equipoise.training.options import Options
from equipoise.training.ranks import Ranks, alone
from tests.unit.models import tiny

STEPS, BATCH = 6, 8
OPTIONS: dict[str, Any] = {
    "seed": 1,
    "epochs": 2,
    "batch_size": BATCH,
    "learning_rate": 5e-3,
    "head_learning_rate": 1e-2,
    "weight_decay": 0.01,
    "warmup_share": 0.1,
    "clip_norm": 1.0,
    "category_weight": 1.0,
    "visit_weight": 0.1,
    "value_weight": 1.0,
    "next_item_weight": 0.1,
    "behaviour_weight": 0.1,
    "evaluations_per_epoch": 2,
    "patience": 100,
    "checkpoint_every": 1,
    "max_seconds": 600.0,
    "max_steps": 1000,
}
Batch = dict[str, torch.Tensor]


def learnable(rows: int, seed: int) -> Batch:
    """Users whose next categories are those of their text: there is something to learn beyond the prior."""
    made = tiny.batch(rows, seed)
    favourite = made["tokens"][:, 0] % tiny.CATEGORIES
    made["label_counts"] = torch.nn.functional.one_hot(favourite, tiny.CATEGORIES).float() * 5
    made["label_counts"][::7] = 0
    return made


def epochs(epoch: int, skip: int) -> AbstractContextManager[Iterator[Batch]]:
    """Batches of an epoch from `skip` on; another epoch, other batches."""

    @contextmanager
    def opened() -> Iterator[Iterator[Batch]]:
        yield (learnable(BATCH, 100 * epoch + place) for place in range(skip, STEPS))

    return opened()


@contextmanager
def dying(epoch: int, skip: int) -> Iterator[Iterator[Batch]]:
    """The same batches, until the process is gone before step 7 of the training."""

    def batches() -> Iterator[Batch]:
        for place in range(skip, STEPS):
            if epoch * STEPS + place == 7:
                raise KeyboardInterrupt
            yield learnable(BATCH, 100 * epoch + place)

    yield batches()


def validation() -> AbstractContextManager[Iterator[Batch]]:
    """Three batches that training never sees."""

    @contextmanager
    def opened() -> Iterator[Iterator[Batch]]:
        yield (learnable(BATCH, 9000 + place) for place in range(3))

    return opened()


LORA = Method(lora_rank=2, lora_alpha=4.0, lora_dropout=0.2)


def model(encoder_path: str, method: Method = LORA, **more: Any) -> BehaviourModel:
    """A fresh model with dropout, so that random numbers matter."""
    net = tiny.model(encoder_path, method=method, **more)
    start_heads(net.heads, fit_statistics([learnable(200, 55)]))
    return net


def training(
    encoder_path: str,
    *,
    folder: Path | None = None,
    train: Callable[[int, int], Any] = epochs,
    check: Callable[[], Any] = validation,
    ranks: Ranks | None = None,
    tracker: Any = None,
    identity: str = "x",
    method: Method = LORA,
    augment: Any = None,
    spread: bool = False,
    half: torch.dtype | None = None,
    net: Model | None = None,
    **options: Any,
) -> Training:
    """A training of `net`, or of a fresh model."""
    net = net or model(encoder_path, method)
    net.encoder.autocast = half
    return Training(
        net,
        train_batches=train,
        validation_batches=check,
        steps_per_epoch=STEPS,
        options=Options(**{**OPTIONS, **options}),
        ranks=ranks or alone(),
        tracker=tracker,
        checkpoints=Checkpoints(folder, identity) if folder else None,
        augment=augment,
        spread=spread,
    )
