"""The wall clock: only what is told of runs and promotions reads it, never what they compute."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """This moment, UTC, for ops.runs and the registry's history; nothing else reads it."""
    return datetime.now(UTC)
