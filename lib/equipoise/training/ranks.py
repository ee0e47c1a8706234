"""The ranks of one training, and what they tell each other. One rank alone tells nobody, and needs no process group."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from equipoise.errors import ModelError

Device = Literal["cpu", "cuda"]
BACKENDS: dict[Device, str] = {"cpu": "gloo", "cuda": "nccl"}


@dataclass(frozen=True)
class Ranks:
    """This process among `world_size`, and the device it computes on."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """True on the one rank that writes and decides."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """The values (float64) added up over all ranks, the same on each."""
        if self.world_size > 1:
            moved = values.to(self.device)
            dist.all_reduce(moved)
            return moved.cpu()
        return values

    def agree(self, mine: bool) -> bool:
        """What the leading rank says, on every rank."""
        if self.world_size == 1:
            return mine
        said = torch.tensor([int(mine)], device=self.device)
        dist.broadcast(said, src=0)
        return bool(said.item())

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model whose backward averages gradients over the ranks. Buffers are the same everywhere and stay."""
        if self.world_size == 1:
            return model
        ids = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=ids, broadcast_buffers=False)

    def spread(self, backbone: nn.Module, blocks: Sequence[nn.Module]) -> None:
        """Deals a transformer's weights, gradients and optimiser state out over the ranks: FSDP2, gathered block by block."""
        mesh = init_device_mesh(self.device.type, (self.world_size,))
        for part in (*blocks, backbone):
            fully_shard(part, mesh=mesh)

    @contextmanager
    def quiet(self, net: nn.Module) -> Iterator[None]:
        """Backward passes inside add to the gradients of `net` and tell no other rank."""
        if isinstance(net, DistributedDataParallel):
            with net.no_sync():
                yield
            return
        root = next((m for m in net.modules() if isinstance(m, FSDPModule)), None)
        if root is not None:
            root.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            if root is not None:
                root.set_requires_gradient_sync(True)

    def average(self, parameters: Sequence[nn.Parameter]) -> None:
        """Averages the gradients of those that are not spread, as nothing else does beside a transformer that is."""
        whole = [p.grad for p in parameters if p.grad is not None and not isinstance(p, DTensor)]
        if self.world_size == 1 or not whole:
            return
        flat = torch.cat([g.flatten() for g in whole])
        dist.all_reduce(flat)
        for mine, mean in zip(whole, torch.split(flat / self.world_size, [g.numel() for g in whole]), strict=True):
            mine.copy_(mean.view_as(mine))


def alone(device: Device = "cpu") -> Ranks:
    """A single rank."""
    return Ranks(0, 1, torch.device(device))


@contextmanager
def joined(device: Device, threads: int, *, grouped: bool = False) -> Iterator[Ranks]:
    """This process as a rank of the group that torchrun describes in the environment; with `grouped` one rank alone makes a
    group too.

    Device and backend follow the argument and nothing else: a CPU training on a machine with a GPU stays on the CPU.

    Raises:
        ModelError: device 'cuda' where torch sees none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            "training.device = 'cuda', but torch sees no GPU in this process; set it to 'cpu' or give the process one"
        )
    torch.set_num_threads(threads)
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if device == "cuda" else torch.device("cpu")
    if device == "cuda":
        torch.cuda.set_device(place)
    else:
        torch.use_deterministic_algorithms(True)
    if world_size == 1 and not grouped:
        yield Ranks(0, 1, place)
        return
    dist.init_process_group(BACKENDS[device])
    try:
        yield Ranks(dist.get_rank(), world_size, place)
    finally:
        dist.destroy_process_group()
