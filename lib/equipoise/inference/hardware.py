"""What the machine under a worker can do, asked once per worker."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from equipoise.errors import ModelError
from equipoise.inference.interface import Device, Precision, Switch

T = TypeVar("T")

BF16_CPU_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
"""Processor flags, as Linux names them, with which matrix products run in bfloat16; without one it is slower than float32."""


def check_device(device: Device) -> torch.device:
    """The torch device, or ModelError when the machine lacks it."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelError("device 'cuda', but torch sees no GPU here; expected a CUDA device; set scoring.device = 'cpu'")
    return torch.device(device)


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Flags of the first processor; empty where the system does not tell."""
    if not cpuinfo.exists():
        return frozenset()
    for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return frozenset(value.split())
    return frozenset()


def use_bfloat16(switch: Switch, device: Device, flags: frozenset[str] | None = None) -> bool:
    """Whether the encoder runs in bfloat16; 'auto' says yes where the processor or GPU has instructions for it."""
    if switch != "auto":
        return switch == "on"
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(BF16_CPU_FLAGS & (cpu_flags() if flags is None else flags))


def half_of(precision: Precision, device: Device) -> torch.dtype | None:
    """What the encoder is trained in beside float32; 'auto': bfloat16 where the processor or GPU has instructions for it."""
    if precision == "auto":
        return torch.bfloat16 if use_bfloat16("auto", device) else None
    return {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch says that a device, or the machine, had no room for a tensor."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def halving(run: Callable[[int], T], size: int) -> tuple[T, int]:
    """`run(size)`, and the size that fitted: where memory runs out it is halved, said, and run again.

    Raises:
        ModelError: when not even one token fits.
    """
    while True:
        try:
            return run(size), size
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if size <= 1:
                raise ModelError(
                    f"out of memory with scoring.tokens_per_batch = {size}: {error}; expected one token to fit; free memory, "
                    "or use a smaller encoder"
                ) from error
            size //= 2
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            sys.stderr.write(f"[scoring] out of memory: going on with {size} tokens per batch\n")
