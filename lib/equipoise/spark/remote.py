"""Single files on any file system that Spark can reach: views and reports, and copies for those who read disks alone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from equipoise.errors import StoreError
from equipoise.places import is_remote, local


def exists(spark: SparkSession, path: str) -> bool:
    """Whether there is a file or folder."""
    if not is_remote(path):
        return Path(local(path)).exists()
    system, target = _opened(spark, path)
    return bool(system.exists(target))


def changed_at(spark: SparkSession, path: str) -> int | None:
    """When a file was last written, in the finest unit that its store tells; None where there is none."""
    if not is_remote(path):
        file = Path(local(path))
        return file.stat().st_mtime_ns if file.is_file() else None
    system, target = _opened(spark, path)
    return int(system.getFileStatus(target).getModificationTime()) if system.exists(target) else None


def read_text(spark: SparkSession, path: str) -> str:
    """A file's text."""
    if not is_remote(path):
        return Path(local(path)).read_text(encoding="utf-8")
    system, target = _opened(spark, path)
    stream = system.open(target)
    try:
        jvm: Any = spark._jvm
        return str(jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8"))
    finally:
        stream.close()


def write_text(spark: SparkSession, path: str, text: str) -> None:
    """The file holds the text, whole or not at all."""
    if is_remote(path):
        system, target = _opened(spark, path)
        stream = system.create(target, True)  # object stores show a file only once it is closed
        try:
            stream.write(bytearray(text, "utf-8"))
        finally:
            stream.close()
        return
    place = Path(local(path))
    place.parent.mkdir(parents=True, exist_ok=True)
    aside = place.with_name(f".{place.name}.{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    aside.replace(place)


def local_copies(spark: SparkSession, files: Sequence[str], into: Path) -> list[str]:
    """The files as paths of this machine, in the same order: itself, or a copy in `into` of the length that its store tells.

    A copy that is there already, whole, is not fetched again.

    Raises:
        StoreError: when two files have one name, or a copy is not as long as it should be.
    """
    remote = [f for f in files if is_remote(f)]
    names = [f.rpartition("/")[2] for f in remote]
    if len(set(names)) < len(names):
        raise StoreError(
            f"{len(names)} files have {len(set(names))} names, such as {names[0]!r}; expected an unpartitioned table"
        )
    return [_copied(spark, f, into) if is_remote(f) else f for f in files]


def _copied(spark: SparkSession, file: str, into: Path) -> str:
    jvm: Any = spark._jvm
    system, source = _opened(spark, file)
    length, target = int(system.getFileStatus(source).getLen()), into / file.rpartition("/")[2]
    if target.is_file() and target.stat().st_size == length:
        return str(target)
    into.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    settings, hadoop = spark._jsc.hadoopConfiguration(), jvm.org.apache.hadoop.fs
    here = hadoop.FileSystem.getLocal(settings).getRawFileSystem()  # raw: no .crc file beside it
    try:
        read, written = system.open(source), here.create(hadoop.Path(f"file://{aside}"), True)
        jvm.org.apache.hadoop.io.IOUtils.copyBytes(read, written, settings, True)
    except Py4JJavaError as error:
        raise StoreError(
            f"{file}: cannot be copied to {into}: {str(error.java_exception.getMessage()).splitlines()[0]}"
        ) from None
    if (got := aside.stat().st_size) != length:
        aside.unlink()
        raise StoreError(f"{file}: the copy has {got} bytes, expected {length}; look whether the disk of {into} is full")
    aside.replace(target)
    return str(target)


def _opened(spark: SparkSession, path: str) -> tuple[Any, Any]:
    """The file system behind a path, and the path as it wants it."""
    jvm: Any = spark._jvm
    target = jvm.org.apache.hadoop.fs.Path(path)
    return target.getFileSystem(spark._jsc.hadoopConfiguration()), target
