"""What the machine can do, read from stored answers of real machines."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from equipoise.errors import ModelError
from equipoise.inference.hardware import check_device, cpu_flags, use_bfloat16
from equipoise.inference.interface import Switch

CPUINFO = """processor\t: 0
model name\t: some processor
flags\t\t: fpu sse2 avx512f {extra} vaes
processor\t: 1
flags\t\t: fpu
"""


def flags_of(tmp_path: Path, extra: str) -> frozenset[str]:
    path = tmp_path / "cpuinfo"
    path.write_text(CPUINFO.format(extra=extra))
    return cpu_flags(path)


def test_flags_are_those_of_the_first_processor(tmp_path: Path) -> None:
    assert flags_of(tmp_path, "amx_tile") == {"fpu", "sse2", "avx512f", "amx_tile", "vaes"}
    assert cpu_flags(tmp_path / "none") == frozenset()


@pytest.mark.parametrize(
    ("extra", "switch", "expected"),
    [
        ("avx512_bf16", "auto", True),  # AMD Zen 4, Intel Cooper Lake
        ("amx_bf16", "auto", True),  # Intel Sapphire Rapids
        ("avx512_vnni", "auto", False),  # AVX-512 without bfloat16: slower than float32
        ("avx512_vnni", "on", True),
        ("avx512_bf16", "off", False),
    ],
)
def test_bfloat16_follows_the_flags(tmp_path: Path, extra: str, switch: Switch, expected: bool) -> None:
    assert use_bfloat16(switch, "cpu", flags_of(tmp_path, extra)) is expected


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelError, match=r"device 'cuda', but torch sees no GPU here.*set scoring\.device = 'cpu'"):
        check_device("cuda")
