"""One run per job and slice at a time where locks have a folder; elsewhere the table format's own conflict check decides."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from equipoise.errors import ConflictError, StoreError
from equipoise.places import WRITABLE, is_remote, local


@contextmanager
def slice_lock(home: str, job: str, slice_name: str, *, alone: Callable[[str], None] | None = None) -> Iterator[None]:
    """Held while a run works on a slice; the kernel lets go when the process dies, so a kill leaves no stale lock.

    Args:
        home: folder whose `_locks` are taken; none are where it is on another file system.
        alone: given for a store that keeps one writer's commits only: the run waits until no other writes to the warehouse at
            all; called once, where it waits.

    Raises:
        ConflictError: when another process holds the slice.
        StoreError: when the folder cannot be written.
    """
    if is_remote(home):
        yield
        return
    folder = Path(local(home)) / "_locks"
    with _held(folder / f"{job}__{slice_name}.lock") as owner:
        if owner is not None:
            raise ConflictError(
                f"{job} {slice_name}: another run works on this slice (process {owner}); wait for it to end, then run again"
            )
        if alone is None:
            yield
            return
        with _held(folder / "warehouse.lock", alone):
            yield


@contextmanager
def _held(file: Path, say: Callable[[str], None] | None = None) -> Iterator[str | None]:
    """None while the lock is ours; with `say` after a wait for it, else at once who has it."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StoreError(
            f"the warehouse {str(file.parent.parent)!r} cannot be written: {error}; {WRITABLE}; nothing was read or written"
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(handle, 64, 0).decode(errors="replace").strip() or "unknown"
            if say is None:
                yield owner
                return
            say(f"waiting for process {owner}: this store keeps the commits of one writer at a time")
            fcntl.flock(handle, fcntl.LOCK_EX)
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield None
    finally:
        os.close(handle)
