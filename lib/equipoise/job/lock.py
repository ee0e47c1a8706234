"""One run per job and slice at a time, on a local warehouse; elsewhere the table format's own conflict check decides."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from equipoise.errors import ConflictError, StoreError


@contextmanager
def slice_lock(warehouse: str, job: str, slice_name: str) -> Iterator[None]:
    """Held while a run works on a slice; the kernel lets go when the process dies, so a kill leaves no stale lock.

    Raises:
        ConflictError: when another process holds it.
        StoreError: when the warehouse cannot be written.
    """
    if "://" in warehouse and not warehouse.startswith("file://"):
        yield
        return
    folder = Path(warehouse.removeprefix("file://")) / "_locks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / f"{job}__{slice_name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StoreError(
            f"the warehouse {warehouse!r} cannot be written: {error}; expected a folder that this user may write to, on a "
            "disk that is mounted for writing; nothing was read or written"
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(handle, 64, 0).decode(errors="replace").strip() or "unknown"
            raise ConflictError(
                f"{job} {slice_name}: another run works on this slice (process {owner}); wait for it to end, then run again"
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)
