"""Two processes that train together end where one does that has the whole batch; their own processes, gloo, no Spark."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from equipoise.models.methods import Method
from equipoise.training.ranks import joined
from tests.unit.models import tiny
from tests.unit.training import made

STEPS, WHOLE = 5, 8
COMMON: dict[str, Any] = {"optimiser": "sgd", "learning_rate": 0.05, "head_learning_rate": 0.05, "epochs": 2}
"""SGD: where gradients are almost 0, AdamW would make steps of rounding."""

SCENES: dict[str, dict[str, Any]] = {
    "lora": {"method": Method("lora", lora_rank=2)},
    "full": {"method": Method("full")},
    "parts": {"method": Method("full"), "micro_batch": 3},
    "bottleneck, smoothed, graded": {
        "method": Method("bottleneck", bottleneck_width=4),
        "label_smoothing": 0.1,
        "value_loss": "squared",
    },
    "fgm": {"method": Method("full"), "adversarial": "fgm"},
    "learnt weights, balanced, adapters": {"net": 3, "weighting": "uncertainty", "balance_weight": 0.4, "momentum": 0.0},
    "learnt weights, in parts": {"weighting": "uncertainty", "value_loss": "squared", "micro_batch": 3},
    "sharded, learnt weights": {"method": Method("full"), "spread": True, "weighting": "uncertainty"},
    "sharded": {"method": Method("full"), "spread": True},
    "sharded, in parts": {"method": Method("lora", lora_rank=2), "spread": True, "micro_batch": 2},
    "sharded, adamw, recomputed": {
        "method": Method("full"),
        "spread": True,
        "optimiser": "adamw",
        "learning_rate": 1e-3,
        "head_learning_rate": 1e-3,
        "activation_checkpointing": True,
    },
}


def batches(rank: int, world_size: int) -> Callable[[int, int], AbstractContextManager[Iterator[made.Batch]]]:
    """A rank's part of each batch of WHOLE rows, of which one more has no category in the second half than in the first."""

    @contextmanager
    def opened(epoch: int, skip: int) -> Iterator[Iterator[made.Batch]]:
        size = WHOLE // world_size

        def parts() -> Iterator[made.Batch]:
            for place in range(skip, STEPS):
                whole = made.learnable(WHOLE, 50 * epoch + place)
                whole["label_counts"][5:7] = 0
                yield {n: t[rank * size : (rank + 1) * size] for n, t in whole.items()}

        yield parts()

    return opened


def shard(rank: int, world_size: int) -> Callable[[], AbstractContextManager[Iterator[made.Batch]]]:
    """Uneven validation shards: the second rank has one batch, of two rows, and the first all others."""

    @contextmanager
    def opened() -> Iterator[Iterator[made.Batch]]:
        every = [made.learnable(n, 700 + n) for n in (6, 5, 2)]
        yield iter(every if world_size == 1 else every[:2] if rank == 0 else every[2:])

    return opened


def train(encoder_path: str, scene: str, ranks: Any, folder: Path | None = None) -> dict[str, Any]:
    options = COMMON | SCENES[scene]
    if "net" in options:  # the width of its adapters
        options["net"] = made.model(encoder_path, Method("full"), adapter_width=options["net"])
    training = made.training(
        encoder_path,
        train=batches(ranks.rank, ranks.world_size),
        check=shard(0, 1) if options.get("spread") else shard(ranks.rank, ranks.world_size),
        ranks=ranks,
        folder=folder,
        **options,
    )
    for module in training._model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    training._per_epoch, training._total, training._every = STEPS, 2 * STEPS, STEPS
    done = training.run()
    return {"weights": done.weights, "history": done.progress.history, "learnt": done.learnt}


def one_rank(rank: int, world_size: int, port: int, encoder_path: str, into: str) -> None:
    """A process of the group: every scene in turn, then one cut off and resumed."""
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world_size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in names.items()})
    with joined("cpu", threads=1) as ranks:
        found = {scene: train(encoder_path, scene, ranks) for scene in SCENES}
        for scene in ("full", "sharded"):  # a second time from checkpoints, of which the last is the end
            folder = Path(into) / scene
            train(encoder_path, scene, ranks, folder)
            torch.distributed.barrier()  # the leading rank has written it
            found[f"{scene} again"] = train(encoder_path, scene, ranks, folder)
        torch.save(found, f"{into}/rank-{rank}.pt")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("ranks")
    encoder_path = tiny.directory(folder / "encoder")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.start_processes(one_rank, args=(2, port, encoder_path, str(folder)), nprocs=2, start_method="spawn")
    return encoder_path, [torch.load(folder / f"rank-{r}.pt") for r in range(2)]


@pytest.mark.parametrize("scene", SCENES)
def test_two_ranks_equal_one_with_the_whole_batch(scenes: tuple[str, list[dict[str, Any]]], scene: str) -> None:
    from equipoise.training.ranks import alone

    encoder_path, found = scenes
    spread = {**SCENES[scene], "spread": False}
    kept, SCENES[scene] = SCENES[scene], spread
    try:
        whole = train(encoder_path, scene, alone())
    finally:
        SCENES[scene] = kept
    for name, tensor in whole["weights"].items() if "adamw" not in scene else ():
        for rank in found:
            torch.testing.assert_close(rank[scene]["weights"][name], tensor, atol=2e-5, rtol=2e-3, msg=f"{scene}: {name}")
    for mine, theirs in zip(whole["history"], found[0][scene]["history"], strict=True):
        for figure, value in mine.items():
            assert theirs[figure] == pytest.approx(value, rel=1e-3, abs=1e-5), figure
    assert found[0][scene]["history"] == found[1][scene]["history"]
    assert found[0][scene]["learnt"] == pytest.approx(whole["learnt"], rel=1e-3, abs=1e-5) == found[1][scene]["learnt"]
    assert bool(whole["learnt"]) == ("learnt" in scene)


@pytest.mark.parametrize("scene", ["full", "sharded"])
def test_checkpoints_of_two_ranks_hold_all_of_it(scenes: tuple[str, list[dict[str, Any]]], scene: str) -> None:
    _, found = scenes
    for name, tensor in found[0][scene]["weights"].items():
        assert torch.equal(found[0][f"{scene} again"]["weights"][name], tensor), name
