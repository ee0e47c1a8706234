"""The search for secrets finds what was planted: in text, in names, in compressed and nested Parquet, in what a process said."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.leaks import leaks

KEY = "5ec2e7"


@pytest.mark.parametrize(
    "plant",
    [
        lambda f: (f / "a.json").write_text(f'{{"key": "{KEY}"}}'),
        lambda f: (f / f"part-{KEY}").write_text(""),
        lambda f: (f / "weights.safetensors").write_bytes(b"\0" * 99 + KEY.encode()),
        lambda f: pq.write_table(pa.table({"n": [1], "t": [[{"deep": [f"x {KEY}"]}]]}), f / "rows.parquet", compression="zstd"),
        lambda f: pq.write_table(pa.table({"b": [KEY.encode()] * 500}), f / "rows.parquet", compression="snappy"),
        lambda f: pq.write_table(pa.table({"m": pa.array([[("k", KEY)]], pa.map_(pa.string(), pa.string()))}), f / "m.parquet"),
    ],
)
def test_what_is_planted_is_found(plant: object, tmp_path: Path) -> None:
    folder = tmp_path / "left"
    folder.mkdir()
    pq.write_table(pa.table({"t": ["nothing"]}), folder / "clean.parquet")
    assert leaks([folder], {}, {"the key": KEY}) == []
    plant(folder)  # type: ignore[operator]
    assert leaks([folder], {}, {"the key": KEY, "another": "n0ne"})[0].startswith("the key in ")


def test_a_place_may_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "stderr").write_text(f"launched with {KEY}")
    assert leaks([tmp_path / "stderr"], {}, {"the key": KEY}) == [f"the key in {tmp_path / 'stderr'}"]


def test_what_a_process_said_is_searched_too() -> None:
    assert leaks([], {"it": f"failed: {KEY}"}, {"the key": KEY, "a user": r"user-\d{6}"}) == ["the key in what it said"]
