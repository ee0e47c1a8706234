"""What a run is: a fingerprint of everything that can change its result (DESIGN: idempotent by fingerprint)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import date
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import equipoise

RUN_ID_DIGITS = 32


def sha256(value: object) -> str:
    """Hash of a JSON-able value; key order does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


KEPT = (".py", ".html", ".j2", ".css", ".sql")


def code_version(job_file: Path) -> str:
    """Hash of the library's and the job's source; needs no version control. A folder and a zip (--py-files) give the same."""
    digest = hashlib.sha256()
    for name, source in sorted(_sources(files(equipoise), ""), key=lambda found: found[0]):
        digest.update(name.encode() + b"\0" + source.read_bytes())
    if job_file.is_file():
        digest.update(job_file.read_bytes())
    return digest.hexdigest()[:16]


def _sources(folder: Traversable, below: str) -> Iterator[tuple[str, Traversable]]:
    """Relative name and content of every source below a package, wherever it was imported from."""
    for entry in folder.iterdir():
        name = f"{below}{entry.name}"
        if entry.is_dir():
            if entry.name != "__pycache__":
                yield from _sources(entry, f"{name}/")
        elif entry.name.endswith(KEPT):
            yield name, entry


def run_id(
    job: str,
    as_of: date | None,
    settings_sha256: str,
    code: str,
    inputs: Mapping[str, int | None],
    model_id: str | None,
    extra: Mapping[str, str],
) -> str:
    """Fingerprint of a run: the same inputs, settings, code and model give the same id."""
    whole: dict[str, Any] = {
        "job": job,
        "as_of": as_of,
        "settings": settings_sha256,
        "code": code,
        "inputs": dict(inputs),
        "model": model_id,
        "extra": dict(extra),
    }
    return sha256(whole)[:RUN_ID_DIGITS]
