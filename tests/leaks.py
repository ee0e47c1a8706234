"""Whether something that must stay secret stands in what a run left: every file, Parquet row by row, zipped ones unpacked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def leaks(places: list[Path], texts: Mapping[str, str], needles: Mapping[str, str]) -> list[str]:
    """One line per place and secret that was found in it.

    Args:
        places: files, and folders that are searched to the bottom.
        texts: name → what a process said.
        needles: name of a secret → regular expression of it.
    """
    asked = {name: re.compile(pattern.encode()) for name, pattern in needles.items()}
    found = [
        f"{name} in what {text} said" for text, said in texts.items() for name, p in asked.items() if p.search(said.encode())
    ]
    for file in (f for place in places for f in (place, *sorted(place.rglob("*"))) if f.is_file()):
        for content in _contents(file):
            found += [f"{name} in {file}" for name, pattern in asked.items() if pattern.search(content)]
    return found


def _contents(file: Path) -> Iterator[bytes]:
    """The bytes of a file, and of a Parquet file its metadata and every string of its rows too: pages are compressed."""
    yield str(file).encode()
    content = file.read_bytes()
    yield content
    if content[:4] == b"PAR1":
        table = pq.read_table(file, partitioning=None)
        yield str(pq.read_metadata(file).metadata).encode()
        for column in table.columns:
            yield from _strings(column)


def _strings(column: pa.ChunkedArray) -> Iterator[bytes]:
    if _has_text(column.type):
        yield "\n".join(map(str, column.to_pylist())).encode()


def _has_text(kind: pa.DataType) -> bool:
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return True
    return any(_has_text(kind.field(i).type) for i in range(kind.num_fields))
