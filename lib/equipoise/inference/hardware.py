"""What the machine under a worker can do, asked once per worker."""

from __future__ import annotations

from pathlib import Path

import torch

from equipoise.errors import ModelError
from equipoise.inference.interface import Device, Switch

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
