"""HISTORY.jsonl: every move of CURRENT, one JSON object per line, only ever appended to; and what follows from it.

A line is written before CURRENT moves. Where a process died between the two, the last line says what is still to be done.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple

from equipoise.errors import ModelError
from equipoise.training.checkpoint import sync_folder

HISTORY = "HISTORY.jsonl"


@dataclass(frozen=True)
class Move:
    """One move of CURRENT from `previous` (None: there was none) to `model_id`, at `at` (UTC, ISO).

    promote: by a run, past the gate. choose: by a person. rollback: by a person, to a model that was CURRENT before; what came
    after that one is withdrawn. gate: how the model stood (`Verdict`), where it was judged.
    """

    action: Literal["promote", "choose", "rollback"]
    model_id: str
    previous: str | None
    reason: str
    at: str
    gate: dict[str, Any] = field(default_factory=dict)


class Standing(NamedTuple):
    """What the history says.

    lineage: models that were CURRENT, each once, the latest last; `rollback` shortens it. withdrawn: model → reason of those that
    were rolled back from and not chosen again since. pending: where CURRENT was to go when a process died; None: nothing.
    """

    lineage: tuple[str, ...]
    withdrawn: dict[str, str]
    pending: str | None


def read_history(root: Path) -> list[Move]:
    """All moves, the first first. A last line without its end was cut off by a crash before CURRENT moved; it does not count.

    Raises:
        ModelError: when any other line is not a move.
    """
    path = root / HISTORY
    if not path.is_file():
        return []
    names = {f.name for f in fields(Move)}
    moves = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            said = json.loads(line)
            if set(said) != names:
                raise ValueError(f"fields {sorted(said)}, expected {sorted(names)}")
            moves.append(Move(**said))
        except (ValueError, TypeError) as error:
            raise ModelError(
                f"line {number} of {str(path)!r} is not a move of CURRENT: {error}; restore the file, or delete that line"
            ) from error
    return moves


def append(root: Path, move: Move) -> None:
    """The history ends with this move, on disk; what a crash had cut off is dropped first.

    Raises:
        ModelError: when the disk takes only part of the line.
    """
    path = root / HISTORY
    line = (json.dumps(asdict(move), sort_keys=True) + "\n").encode()
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        whole = path.read_bytes().rfind(b"\n") + 1
        os.ftruncate(handle, whole)
        os.lseek(handle, whole, os.SEEK_SET)
        written = os.write(handle, line)
        if written != len(line):
            raise ModelError(f"{str(path)!r} took {written} of {len(line)} bytes; CURRENT stays; make room there and run again")
        os.fsync(handle)
    finally:
        os.close(handle)
    sync_folder(root)


def standing(moves: Sequence[Move], current: str | None) -> Standing:
    """What follows from the moves while CURRENT names `current`.

    CURRENT wins over the lines: a model that they do not lead to was put there by hand, or before there was a history, and counts
    as chosen; only where CURRENT is still where the last line began was a move interrupted.
    """
    lineage: list[str] = []
    withdrawn: dict[str, str] = {}

    def goes_to(model_id: str) -> None:
        if model_id in lineage:
            lineage.remove(model_id)
        lineage.append(model_id)
        withdrawn.pop(model_id, None)

    for move in moves:
        if move.previous is not None and lineage[-1:] != [move.previous]:
            goes_to(move.previous)
        if move.action == "rollback" and move.model_id in lineage:
            while lineage[-1] != move.model_id:
                withdrawn[lineage.pop()] = move.reason
        else:
            goes_to(move.model_id)
    if current == (lineage[-1] if lineage else None):
        return Standing(tuple(lineage), withdrawn, None)
    if moves and moves[-1].previous == current:
        return Standing(tuple(lineage), withdrawn, moves[-1].model_id)
    if current is not None:
        goes_to(current)
    return Standing(tuple(lineage), withdrawn, None)
