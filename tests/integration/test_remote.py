"""Files on another file system: Hive's pfile, which is this machine's disk under another scheme, so that the answer is known."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from equipoise.errors import StoreError
from equipoise.spark.remote import changed_at, exists, local_copies, read_text, write_text


@pytest.fixture(scope="module", autouse=True)
def pfile(spark: SparkSession) -> None:
    spark._jsc.hadoopConfiguration().set("fs.pfile.impl", "org.apache.hadoop.fs.ProxyLocalFileSystem")


@pytest.mark.parametrize("scheme", ["", "file://", "pfile://"])
def test_text_is_written_whole_read_again_and_told_when_it_changed(scheme: str, tmp_path: Path, spark: SparkSession) -> None:
    path = tmp_path / "new folder" / "views.sql"
    there = f"{scheme}{path}"
    assert not exists(spark, there) and changed_at(spark, there) is None
    for text in ("a long first text", "größer"):
        write_text(spark, there, text)
        assert path.read_text(encoding="utf-8") == text == read_text(spark, there)
    assert [p.name for p in path.parent.iterdir() if not p.name.endswith(".crc")] == ["views.sql"]
    before = changed_at(spark, there)
    os.utime(path, (1, 1))
    assert exists(spark, there) and changed_at(spark, there) not in (None, before)


def test_copies_are_whole_in_order_and_fetched_once(tmp_path: Path, spark: SparkSession) -> None:
    far, near, here = tmp_path / "far", tmp_path / "near", tmp_path / "here.parquet"
    far.mkdir()
    here.write_bytes(b"mine")
    for name in ("a b.parquet", "c%20d.parquet"):
        (far / name).write_bytes(os.urandom(100_000))
    files = [f"pfile://{far}/{n}" for n in ("a b.parquet", "c%20d.parquet")]
    got = local_copies(spark, [files[1], str(here), files[0]], near)
    assert got == [str(near / "c%20d.parquet"), str(here), str(near / "a b.parquet")]
    originals = [far / "c%20d.parquet", here, far / "a b.parquet"]
    assert [Path(g).read_bytes() for g in got] == [f.read_bytes() for f in originals]
    (near / "c%20d.parquet").write_bytes(b"half")
    kept = (near / "a b.parquet").stat().st_mtime_ns
    assert local_copies(spark, files, near) == [str(near / "a b.parquet"), str(near / "c%20d.parquet")]
    assert (near / "c%20d.parquet").read_bytes() == (far / "c%20d.parquet").read_bytes(), (
        "a copy of another length is fetched again"
    )
    assert (near / "a b.parquet").stat().st_mtime_ns == kept
    assert sorted(p.name for p in near.iterdir()) == ["a b.parquet", "c%20d.parquet"]


def test_two_files_of_one_name_are_refused(tmp_path: Path, spark: SparkSession) -> None:
    with pytest.raises(StoreError, match="2 files have 1 names"):
        local_copies(spark, ["pfile:///a/x.parquet", "pfile:///b/x.parquet"], tmp_path)
