"""Settings → the door they ask for, and what its result depends on beside them."""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import SparkSession

from equipoise.quality.door import Door
from equipoise.quality.pseudonym import key_id, read_key
from equipoise.quality.rules import Limits
from equipoise.settings import Settings, resolve
from equipoise.sources.read import DeltaState, source_hashes


def door_of(settings: Settings, settings_dir: Path, run_id: str) -> Door:
    """The door of these settings."""
    s, q = settings.source, settings.quality
    return Door(
        source=s.name,
        run_id=run_id,
        zone=s.timezone,
        category_level=s.category_level,
        has_amounts=s.has_amounts,
        key_file=resolve(settings.identity.key_file, settings_dir),
        published_key=settings.identity.published_key,
        limits=Limits(settings.data_until, q.max_quantity, q.max_amount, q.outlier_iqr_factor),
        max_quarantined_share=q.max_quarantined_share,
    )


def extra_inputs(settings: Settings, settings_dir: Path, *, delta_state: DeltaState) -> dict[str, str]:
    """Hashes of the source's files, or what stands for the rows of its Delta tables, and a name of the pseudonyms' key.

    Raises:
        SettingsError: when the key is missing or refused.
        SourceError: when a file is missing.
    """
    identity = settings.identity
    key = read_key(resolve(identity.key_file, settings_dir), published_key=identity.published_key)
    hashes = source_hashes(SparkSession.builder.getOrCreate(), settings.source, settings_dir, delta_state)
    return {"identity.key": key_id(key), **hashes}
