"""What another user of this machine can read: a child process that gives up its rights first."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

NOBODY = 54321
"""A user and a group that no account has: the kernel asks for numbers alone."""


def as_other_user(what: Callable[[], str], *, group: int) -> str:
    """What the function says as that user in that group; it must need no module that is not loaded yet."""
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(group)
            os.setuid(NOBODY)
            said = what()
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(there, said.encode()[:60_000])
        os._exit(0)
    os.close(there)
    with os.fdopen(here, "rb") as pipe:
        told = pipe.read().decode()
    os.waitpid(child, 0)
    return told


def rows_by_files(table: Path) -> int:
    """Rows of a Delta table's newest version from its log and its files alone, as any reader without Spark has them."""
    live: set[str] = set()
    for commit in sorted((table / "_delta_log").glob("*.json")):
        for line in commit.read_text().splitlines():
            action = json.loads(line)
            live |= {action["add"]["path"]} if "add" in action else set()
            live -= {action["remove"]["path"]} if "remove" in action else set()
    return sum(pq.read_table(table / name, partitioning=None, use_threads=False).num_rows for name in live)
