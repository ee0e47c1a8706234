"""A file of a table that cannot be read: which one, of which table and slice, and the way out."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from py4j.protocol import Py4JJavaError

from equipoise.errors import EquipoiseError, StoreError
from equipoise.store import log
from equipoise.tables import CATALOGUE, Table

if TYPE_CHECKING:
    from equipoise.store.store import Store

UNREADABLE = re.compile(r"(?:while reading file|Checksum error:|could not read) (?:file:)?(\S+?\.(?:parquet|json))")
"""Spark's FAILED_READ_FILE (every cause, also a file that is not there) and Hadoop's checksum on a local disk; a file's name is
URL-encoded there, so it holds no blank."""

SIDECAR = struct.Struct(">4si")
"""Head of the file that Hadoop's ChecksumFileSystem leaves beside each file on a local disk: mark, bytes per CRC-32."""


@contextmanager
def readable(store: Store) -> Iterator[None]:
    """What Spark says of a file that it cannot read becomes a StoreError with the file, the table and the way out.

    Raises:
        StoreError: instead of Spark's own error; every other error passes.
    """
    try:
        yield
    except EquipoiseError:
        raise
    except Exception as error:  # Spark's errors have no common class
        if (told := unreadable(error, store)) is not None:
            raise told from error
        raise


def unreadable(error: Exception, store: Store) -> StoreError | None:
    """The error in our words, or None where it is not about a file under the warehouse that cannot be read."""
    said = [*causes(error), str(error)]
    found = next((m for text in said if (m := UNREADABLE.search(text))), None)
    name = table_of(found.group(1), store) if found else None
    if found is None or name is None:
        return None
    place = unquote(found.group(1))
    why = said[-2] if len(said) > 1 else said[0]
    if "/_delta_log/" in place:
        way_out = (
            "take back that one write, and run its job again" if place.endswith(".json") else "have the commits read instead"
        )
        return StoreError(
            f"{name}: {place!r} of its log cannot be read, so nothing was written: {why[:300]}\n"
            f"Put it back as it was, or delete it with its hidden .crc file to {way_out}: a checkpoint holds what the commits "
            "before it say, and of commits only the newest may go"
        )
    return StoreError(
        f"{name}: its file {place!r} cannot be read, so nothing was written from it: {why[:300]}\n"
        f"Put the file back as it was, or have its rows made again: in make sql\n  {undo(store, name, place)};\n"
        f"then {_again(store, name)}"
    )


def table_of(place: str, store: Store) -> str | None:
    """layer.name of the table that a file lies in, or None."""
    root = store.root.removeprefix("file://")
    inside = unquote(place).partition(f"{root}/")[2].split("/")
    name = ".".join(inside[:2])
    return name if name in CATALOGUE else None


def undo(store: Store, name: str, place: str) -> str:
    """SQL that takes a file out of a table without reading it. After it, no fingerprint of the slice is trusted."""
    table, path = CATALOGUE[name], f"delta.`{store.path(name)}`"
    parts = dict(p.split("=", 1) for p in place.partition(store.path(name))[2].split("/")[:-1] if "=" in p)
    if parts:
        return f"DELETE FROM {path} WHERE {' AND '.join(f'{k} = {_literal(table, k, v)}' for k, v in sorted(parts.items()))}"
    if not table.slice_by:
        return f"DELETE FROM {path}"
    added = log.added_at(store.spark, store.path(name), place.rpartition("/")[2])
    return f"RESTORE TABLE {path} TO VERSION AS OF {max(0, (added or 1) - 1)}"


def _again(store: Store, name: str) -> str:
    job = log.writer(store.spark, store.path(name))
    dated = " with the same --as-of" if job and "as_of" in CATALOGUE[name].slice_by else ""
    return f"run {job or 'the job that writes it'} again{dated}, and then the job that failed"


def _literal(table: Table, column: str, value: str) -> str:
    types = {c.name: c.type for c in table.columns}
    return f"DATE'{date.fromisoformat(value)}'" if types[column].upper() == "DATE" else f"'{value}'"


def causes(error: Exception) -> list[str]:
    """What failed and what that came from, the first first, without the JVM's stacks; empty where there is no JVM behind it."""
    jvm: Any = error.java_exception if isinstance(error, Py4JJavaError) else getattr(error, "_origin", None)
    found: list[str] = []
    while jvm is not None and len(found) < 50:
        found.append(str(jvm.toString())[:1000])
        jvm = jvm.getCause()
    return found


def check_sidecars(files: Iterable[str]) -> None:
    """Every local file is what the checksums beside it say; a file that has none is passed over.

    Spark checks them whenever it reads. Whoever reads the files themselves does not, and would learn from a flipped byte.

    Raises:
        StoreError: naming the first file that is not.
    """
    for place in map(Path, files):
        beside = place.with_name(f".{place.name}.crc")
        if place.is_absolute() and beside.is_file() and not _as_summed(place, beside.read_bytes()):
            raise StoreError(
                f"{str(place)!r} is not what it was when it was written: it differs from its checksums in {beside.name!r}; "
                "put the file back as it was, or make its table's rows again (docs/runbook.md, Damaged files)"
            )


def _as_summed(place: Path, sums: bytes) -> bool:
    mark, size = SIDECAR.unpack_from(sums)
    if mark != b"crc\0" or size < 1:
        return False
    wanted = memoryview(sums)[SIDECAR.size :].cast("B")
    with place.open("rb") as file:
        for at in range(0, len(wanted), 4):
            if zlib.crc32(file.read(size)) != int.from_bytes(wanted[at : at + 4], "big"):
                return False
        return not file.read(1)
