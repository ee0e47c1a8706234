"""What a training tells while it runs: progress lines, one JSON object per event, TensorBoard scalars."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from equipoise.errors import ModelError

QUIET_SECONDS = 5.0
"""At most one progress line in so many seconds."""


def to_stdout(text: str) -> None:
    """A line on standard output, which TorchDistributor passes on to the driver."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Tracker:
    """Writes `metrics.jsonl` and TensorBoard events under `folder`, and lines through `say`. Only the leading rank has one."""

    def __init__(self, folder: str | Path, say: Callable[[str], None] = to_stdout, *, wandb: bool = False) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._board: Any = SummaryWriter(str(self._folder))
        self._lines = (self._folder / "metrics.jsonl").open("a", encoding="utf-8")
        self._wandb = _offline_run(self._folder) if wandb else None
        self._say = say
        self._began: tuple[float, int] | None = None
        self._spoke = 0.0

    def step(self, step: int, total_steps: int, *, loss: float, rate: float, examples: int) -> None:
        """One optimiser step over `examples` rows of all ranks."""
        now = time.monotonic()
        if self._began is None:
            self._began = (now, step)
        self._record("train", step, {"loss": loss, "learning_rate": rate})
        done = step - self._began[1]
        if done and (now - self._spoke >= QUIET_SECONDS or step == total_steps):
            self._spoke = now
            per_step = (now - self._began[0]) / done
            speed, left = examples / per_step, (total_steps - step) * per_step
            self._say(f"step {step:,} of {total_steps:,}: loss {loss:.4f}, {speed:,.0f} examples/s, {left:,.0f} s left")

    def validation(self, step: int, metrics: dict[str, float], *, best: bool) -> None:
        """One validation pass."""
        self._record("validation", step, metrics)
        self._say(
            f"validation at step {step:,}: loss {metrics['loss']:.4f}, categories {metrics['category_kl_bits']:.4f} bits, "
            f"value {metrics['value_loss']:.4f}{' (best)' if best else ''}"
        )

    def say(self, text: str) -> None:
        """Any other line."""
        self._say(text)

    def close(self) -> None:
        """Flushes and closes both files."""
        self._lines.close()
        self._board.close()
        if self._wandb is not None:
            self._wandb.finish()

    def _record(self, kind: str, step: int, values: dict[str, float]) -> None:
        self._lines.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        self._lines.flush()
        for name, value in values.items():
            self._board.add_scalar(f"{kind}/{name}", value, step)
        if self._wandb is not None:
            self._wandb.log({f"{kind}/{name}": value for name, value in values.items()}, step=step)


def _offline_run(folder: Path) -> Any:
    """A run of Weights & Biases that asks no server; `wandb sync` sends it later.

    Raises:
        ModelError: when the package is not installed.
    """
    try:
        import wandb
    except ImportError as error:
        raise ModelError(
            "training.wandb = true, but the package wandb is not installed; install equipoise[wandb], or set it to false"
        ) from error
    quiet = wandb.Settings(silent=True, console="off", disable_git=True, x_disable_stats=True, x_disable_meta=True)
    return wandb.init(mode="offline", project="equipoise", dir=str(folder), name=folder.name, settings=quiet)
