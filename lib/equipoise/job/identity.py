"""What a run is: a fingerprint of everything that can change its result (DESIGN: idempotent by fingerprint)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import equipoise

RUN_ID_DIGITS = 32


def sha256(value: object) -> str:
    """Hash of a JSON-able value; key order does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def code_version(job_file: Path) -> str:
    """Hash of the library's and the job's source; needs no version control."""
    root = Path(equipoise.__file__).parent
    digest = hashlib.sha256()
    kept = (".py", ".html", ".j2", ".css", ".sql")
    for path in sorted(p for p in root.rglob("*") if p.suffix in kept and "__pycache__" not in p.parts):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    if job_file.is_file():
        digest.update(job_file.read_bytes())
    return digest.hexdigest()[:16]


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
