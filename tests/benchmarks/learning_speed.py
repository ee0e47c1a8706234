"""How fast the encoder goes on a device: texts a second and training steps; beside the processor of the same machine."""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from equipoise.inference.texts import TextVectors
from equipoise.models.encoder import TextEncoder, load_backbone, load_tokenizer, pooling_of
from equipoise.models.methods import Method, prepared

TURNS = 5
TEXTS, TOKENS = 8192, 64


def speed(asked: argparse.Namespace) -> None:
    """Prints texts a second of every way, in turns, and training steps."""
    few = asked.data / "texts.npz"  # a few of the same texts, where the whole file is not there
    data = np.load(few if few.is_file() else asked.data / "learning.npz")
    distinct = bytes(data["items"]).decode().split("\n")
    texts = [f"{a}; {b}; {c}" for a, b, c in zip(distinct, distinct[1:], distinct[2:], strict=False)][:TEXTS]
    device = torch.device(asked.device)
    made = {"float32": _vectors(asked, device, None), "bfloat16": _vectors(asked, device, torch.bfloat16)}
    rows, mask = _tokens(asked, texts, device)
    ways: dict[str, Callable[[], object]] = {
        f"{n}, texts in, vectors out": lambda v=v: v.encode(texts, TOKENS) for n, v in made.items()
    }
    for name, half in (("float32", None), ("bfloat16", torch.bfloat16)):
        encoder = _encoder(asked, device, half)
        ways[f"{name}, forward passes alone"] = lambda e=encoder: _forward(e, rows, mask)
    say(f"\n{len(texts):,} texts of {int(mask.sum()) / len(texts):.0f} tokens on average, {TURNS} turns: texts a second")
    say("| | texts a second | ÷ the first |")
    say("|---|---|---|")
    rates = in_turns(ways, len(texts))
    show(rates)
    some = 512
    here = _encoder(asked, torch.device("cpu"), torch.bfloat16)
    cpu = in_turns({"cpu": lambda: _forward(here, rows[:some].cpu(), mask[:some].cpu())}, some)
    best = statistics.median(rates["bfloat16, forward passes alone"])
    threads, mine = torch.get_num_threads(), statistics.median(cpu["cpu"])
    say(f"the processor of the same machine, bfloat16, {threads} threads, {some} texts: {mine:,.0f} a second")
    say(f"the device is {best / mine:.1f} times as fast")
    steps: dict[str, Callable[[], object]] = {}
    for way in ("lora", "full"):
        for name, half in (("float32", None), ("bfloat16", torch.bfloat16)):
            steps[f"{way}, {name}"] = _step(asked, device, way, half, rows[:256], mask[:256])
    say("\n| a training step of 256 texts | texts a second | ÷ the first |")
    say("|---|---|---|")
    rates = in_turns(steps, 256)
    show(rates)


def show(rates: dict[str, list[float]]) -> None:
    """A line for each way: its rate, and its ratio to the first one's, turn by turn."""
    first = next(iter(rates.values()))
    for name, found in rates.items():
        ratio = [a / b for a, b in zip(found, first, strict=True)]
        shown = f"{statistics.median(ratio):.2f} ({min(ratio):.2f} to {max(ratio):.2f})"
        say(f"| {name} | {statistics.median(found):,.0f} | {shown} |")


def in_turns(ways: dict[str, Callable[[], object]], rows: int) -> dict[str, list[float]]:
    """Rows a second of each way, TURNS times in turn, after one turn that does not count."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(TURNS + 1):
        for name, way in ways.items():
            _wait()
            began = time.perf_counter()
            way()
            _wait()
            if turn:
                found[name].append(rows / (time.perf_counter() - began))
    return found


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _encoder(asked: argparse.Namespace, device: torch.device, half: torch.dtype | None) -> TextEncoder:
    encoder = TextEncoder(load_backbone(asked.encoder), pooling_of(asked.encoder)).requires_grad_(False).eval().to(device)
    encoder.autocast = half
    return encoder


def _vectors(asked: argparse.Namespace, device: torch.device, half: torch.dtype | None) -> TextVectors:
    tokens = 262_144 if device.type == "cuda" else 4096
    return TextVectors(_encoder(asked, device, half), load_tokenizer(asked.encoder), device=device, tokens_per_batch=tokens)


def _tokens(asked: argparse.Namespace, texts: list[str], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    told = load_tokenizer(asked.encoder)(texts, truncation=True, max_length=TOKENS, padding="max_length", return_tensors="pt")
    return told["input_ids"].to(device), told["attention_mask"].to(device)


def _forward(encoder: TextEncoder, rows: torch.Tensor, mask: torch.Tensor) -> None:
    with torch.inference_mode():
        for start in range(0, len(rows), 4096):
            encoder(rows[start : start + 4096], mask[start : start + 4096])


def _step(
    asked: argparse.Namespace, device: torch.device, way: str, half: torch.dtype | None, rows: torch.Tensor, mask: torch.Tensor
) -> Callable[[], object]:
    """One optimiser step on a loss that any gradient needs; the loss says nothing."""
    backbone = prepared(copy.deepcopy(load_backbone(asked.encoder)), Method(way))  # type: ignore[arg-type]
    encoder = TextEncoder(backbone, pooling_of(asked.encoder)).to(device).train()
    encoder.autocast = half
    optimiser = torch.optim.AdamW([p for p in encoder.parameters() if p.requires_grad], lr=1e-5)

    def step() -> None:
        optimiser.zero_grad()
        vectors = encoder(rows, mask)
        (vectors @ vectors.T).square().mean().backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return step


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
