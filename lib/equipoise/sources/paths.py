"""Where the files of a source are, and what they hold, as a hash."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from equipoise.checksum import file_sha256
from equipoise.errors import SourceError
from equipoise.places import local


def local_files(path: str) -> list[Path]:
    """Sorted data files of a local file or folder (all levels; names that begin with '_' or '.' are no data).

    Raises:
        SourceError: when there is none, or a link leads out: who puts files there must not choose what is read.
    """
    root = Path(local(path))
    if root.is_file():
        return [root]
    found = sorted(p for p in root.rglob("*") if p.is_file() and not any(part[0] in "_." for part in p.relative_to(root).parts))
    if not found:
        what = "holds no data file" if root.is_dir() else "does not exist"
        raise SourceError(f"{path}: {what}; expected a file or a folder of files, relative paths count from the settings file")
    if away := [p for p in found if p.is_symlink() and not p.resolve().is_relative_to(root.resolve())]:
        raise SourceError(
            f"{away[0]}: is a link to {away[0].resolve()}, outside {path}; expected data files; put the file itself there"
        )
    return found


def content_hashes(files: Sequence[Path]) -> dict[str, str]:
    """sha256 of each file's bytes, by name within their common folder, so that moving the data is no change."""
    folder = files[0].parent
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # hashing lets other threads run
        hashes = list(pool.map(file_sha256, files))
    return {str(f.relative_to(folder) if f.is_relative_to(folder) else f): sha for f, sha in zip(files, hashes, strict=True)}


def remote_hashes(spark: SparkSession, path: str) -> dict[str, str]:
    """sha256 of each file's name, length and time of change under a URI: reading every byte would cost the ingest twice.

    Raises:
        SourceError: when there is none, or the file system cannot be reached.
    """
    jvm: Any = spark._jvm
    root = jvm.org.apache.hadoop.fs.Path(path)
    found: dict[str, str] = {}
    try:
        walk = root.getFileSystem(spark._jsc.hadoopConfiguration()).listFiles(root, True)
        while walk.hasNext():
            status = walk.next()
            name = status.getPath().toString()
            found[name] = hashlib.sha256(f"{name} {status.getLen()} {status.getModificationTime()}".encode()).hexdigest()
    except Py4JJavaError as error:
        raise SourceError(f"{path}: cannot be listed: {str(error.java_exception.getMessage()).splitlines()[0]}") from None
    if not found:
        raise SourceError(f"{path}: holds no file; expected a file or a folder of files")
    return found
