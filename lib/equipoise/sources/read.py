"""Settings → the source they name, in the raw form, and what its files hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from equipoise.errors import SourceError
from equipoise.places import is_remote
from equipoise.settings import resolve
from equipoise.settings.model import FileInput, Source
from equipoise.sources import complete_journey, files, simulated
from equipoise.sources.canonical import RawSource
from equipoise.sources.paths import content_hashes, local_files, remote_hashes
from equipoise.sources.world import World

DeltaState = Callable[[SparkSession, str], tuple[int, str] | None]
"""(session, path) → newest version of a Delta table and what stands for its rows; None where there is none."""


def read_source(spark: SparkSession, source: Source, settings_dir: Path, read_delta: files.ReadDelta) -> RawSource:
    """The source in the raw form; `read_delta` opens a Delta table by path.

    Raises:
        SettingsError, SourceError: when the settings do not fit the source, or it lacks a file or a column.
    """
    if source.adapter == "complete_journey":
        return complete_journey.read(spark, source.timezone)
    if source.adapter == "simulated":
        return simulated.read(spark, _world(source), source.timezone)
    assert source.events is not None  # the settings' own check
    zones = files.Zones(source.timezone, source.naive_timezone)
    maps = {n: _map(i, settings_dir) for n, i in _file_inputs(source).items()}
    return RawSource(
        events=(files.events(spark, maps["events"], zones, read_delta),),
        items=files.items(spark, maps["items"], source.category_level, read_delta) if "items" in maps else None,
        users=files.users(spark, maps["users"], read_delta) if "users" in maps else None,
    )


def source_hashes(spark: SparkSession, source: Source, settings_dir: Path, delta_state: DeltaState) -> dict[str, str]:
    """A hash per file of the source: of its bytes, or for a remote file of its name, length and time of change. Simulated: none.
    Of a Delta table its id and the version at which its rows last changed: files that it took out still lie in its folder.

    Raises:
        SourceError: when a file is missing.
    """
    if source.adapter == "complete_journey":
        return content_hashes(list(complete_journey.data_files().values()))
    found: dict[str, str] = {}
    for name, input_ in _file_inputs(source).items():
        path = _resolved(input_, settings_dir)
        if input_.format == "delta":
            found[f"source.{name}"] = _delta_rows(spark, path, delta_state)
            continue
        hashes = remote_hashes(spark, path) if is_remote(path) else content_hashes(local_files(path))
        found |= {f"source.{name}/{file}": sha for file, sha in hashes.items()}
    return found


def _delta_rows(spark: SparkSession, path: str, delta_state: DeltaState) -> str:
    try:
        state = delta_state(spark, path)
    except Py4JJavaError as error:
        raise SourceError(f"{path}: its log cannot be read: {str(error.java_exception.getMessage()).splitlines()[0]}") from None
    if state is None:
        raise SourceError(f"{path}: no Delta table; expected the folder of one, relative paths count from the settings file")
    return state[1]


def _file_inputs(source: Source) -> dict[str, FileInput]:
    given = {"events": source.events, "items": source.items, "users": source.users}
    return {n: i for n, i in given.items() if i is not None and source.adapter == "files"}


def _map(input_: FileInput, settings_dir: Path) -> files.FileMap:
    return files.FileMap(**{**input_.model_dump(), "path": _resolved(input_, settings_dir)})


def _resolved(input_: FileInput, settings_dir: Path) -> str:
    try:
        return resolve(input_.path, settings_dir)
    except ValueError as error:
        raise SourceError(str(error)) from None


def _world(source: Source) -> World:
    return World(
        users=source.simulated_users,
        items=source.simulated_items,
        days=source.simulated_days,
        start=source.simulated_start,
        seed=source.simulated_seed,
        category_level=source.category_level,
    )
