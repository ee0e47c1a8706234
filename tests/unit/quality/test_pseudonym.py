"""Pseudonyms against the standard library, and the key's way: from its file to the workers, nowhere else."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from equipoise.errors import SettingsError
from equipoise.quality.pseudonym import KNOWN_PUBLISHED_SHA256, key_id, pseudonyms, read_key

KEY = b"a private key of 28 bytes..."
DEMO_KEY = Path(__file__).parents[3] / "conf" / "demo.key"


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    path = tmp_path / "secret.key"
    path.write_bytes(KEY + b"\n")
    return str(path)


def test_is_hmac_sha256_of_the_id(spark: SparkSession, key_file: str) -> None:
    ids = ["1", "user-000123", "Zoë", "1", None]
    frame = spark.createDataFrame([(i,) for i in ids], "raw STRING")
    got = [r[0] for r in frame.select(pseudonyms(key_file, published_key=False)(F.col("raw"))).collect()]
    want = [None if i is None else hmac.new(KEY, i.encode(), hashlib.sha256).hexdigest()[:32] for i in ids]
    assert got == want
    assert len({g for g in got if g}) == 3


def test_the_key_is_in_no_plan(spark: SparkSession, key_file: str) -> None:
    frame = spark.range(3).select(pseudonyms(key_file, published_key=False)(F.col("id").cast("string")).alias("user_id"))
    plans = frame._jdf.queryExecution().toString()
    assert "user_id" in plans
    assert KEY.decode() not in plans
    assert KEY.hex() not in plans


def test_a_key_is_long_enough_and_there(tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_text("fifteen bytes..\n")
    with pytest.raises(SettingsError, match=r"15 bytes, expected at least 16; make one with: openssl rand -hex 32"):
        read_key(str(short), published_key=False)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_key(str(tmp_path / "none"), published_key=False)


def test_a_published_key_is_only_for_demos(tmp_path: Path) -> None:
    assert len(read_key(str(DEMO_KEY), published_key=True)) == 64
    with pytest.raises(SettingsError, match="this key is published"):
        read_key(str(DEMO_KEY), published_key=False)
    without_mark = tmp_path / "copied"
    without_mark.write_bytes(read_key(str(DEMO_KEY), published_key=True))
    with pytest.raises(SettingsError, match="this key is published"):
        read_key(str(without_mark), published_key=False)
    assert hashlib.sha256(without_mark.read_bytes()).hexdigest() in KNOWN_PUBLISHED_SHA256


def test_a_key_has_a_name_that_tells_keys_apart() -> None:
    assert key_id(KEY) != key_id(KEY + b"x")
    assert KEY.hex() not in key_id(KEY)
