"""Rows of gold.evaluation that a benchmark measured outside the evaluation: a JSON object a line, in a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import MISSING, fields, replace
from datetime import date
from pathlib import Path

import numpy as np

from equipoise.errors import SettingsError
from equipoise.evaluate.table import Row

DIGITS = 6
"""Decimals of the resamples that a file keeps."""


def write(path: str, rows: Sequence[Row]) -> None:
    """The file holds the rows, resamples and all."""
    said = [
        {f.name: getattr(r, f.name) for f in fields(Row)}
        | {"draws": None if r.draws is None else np.round(r.draws, DIGITS).tolist()}
        for r in rows
    ]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("".join(json.dumps(one) + "\n" for one in said), encoding="utf-8")


def read(paths: Sequence[str], as_of: date) -> list[Row]:
    """The rows of the files, as of a date: they say what the model of that date does elsewhere.

    Raises:
        SettingsError: when a file is not there, or a line is not a row.
    """
    names = {f.name for f in fields(Row)}
    needed = {f.name for f in fields(Row) if f.default is MISSING}
    out = []
    for path in paths:
        for number, line in enumerate(_text(path).splitlines(), start=1):
            try:
                said = json.loads(line)
                wrong = (set(said) - names) | (needed - set(said))
            except (ValueError, TypeError) as error:
                raise SettingsError(f"evaluate.measured: line {number} of {path!r} is not JSON: {error}") from error
            if wrong:
                raise SettingsError(
                    f"evaluate.measured: line {number} of {path!r} has {sorted(wrong)} too many or too few; expected rows that a "
                    "benchmark wrote with --rows"
                )
            draws = said.get("draws")
            row = Row(**{**said, "draws": None if draws is None else np.asarray(draws, dtype=np.float64)})
            out.append(replace(row, origin=as_of.isoformat()))
    return out


def told(paths: Sequence[str]) -> dict[str, str]:
    """What they add to the inputs of an evaluation: each file's sum."""
    return {f"measured {n}": hashlib.sha256(_text(path).encode()).hexdigest() for n, path in enumerate(paths)}


def _text(path: str) -> str:
    file = Path(path)
    if not file.is_file():
        raise SettingsError(f"evaluate.measured = {path!r}: no such file; expected one that a benchmark wrote with --rows")
    return file.read_text(encoding="utf-8")
