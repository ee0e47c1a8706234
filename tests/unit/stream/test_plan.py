from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from equipoise.errors import StreamError
from equipoise.stream import plan, require_steps
from tests.unit.stream.made import table, write

CASES = [
    # sizes, groups per file, ranks, batch → rows per rank, steps; counted by hand
    ([10, 10, 10, 10], 1, 2, 4, (20, 20), 5),
    ([10, 10, 10], 1, 2, 4, (20, 10), 2),  # the third file falls to rank 0, so rank 1 sets the pace
    ([1000, 10, 1000], 1, 2, 10, (2000, 10), 1),  # the shape that made distributed runs hang
    ([8, 8], 2, 2, 4, (8, 8), 2),  # four groups of 4: 0 and 2 to rank 0
    ([7], 1, 1, 2, (7,), 3),
]


@pytest.mark.parametrize(("sizes", "groups", "ranks", "batch", "rows", "steps"), CASES)
def test_rows_and_steps(
    tmp_path: Path, sizes: list[int], groups: int, ranks: int, batch: int, rows: tuple[int, ...], steps: int
) -> None:
    made = plan(write(tmp_path, sizes, groups_per_file=groups), ranks, batch)
    assert made.rows_per_rank == rows
    assert made.steps == steps == require_steps(made)
    assert made.rows == sum(sizes)


def test_every_group_has_one_rank(tmp_path: Path) -> None:
    made = plan(write(tmp_path, [5] * 7), 3, 1)
    dealt = [g for r in range(3) for g in made.assigned(r)]
    assert sorted(dealt, key=lambda g: g.path) == list(made.groups)


def test_order_of_the_list_does_not_matter(tmp_path: Path) -> None:
    files = write(tmp_path, [5, 6, 7])
    assert plan(files[::-1], 2, 1) == plan(files, 2, 1)


def test_refusals_say_what_and_the_way_out(tmp_path: Path) -> None:
    files = write(tmp_path / "a", [5, 5])
    (tmp_path / "b#c").mkdir()
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"no parquet")
    marked = write(tmp_path / "b#c", [5])
    empty = tmp_path / "empty.parquet"
    pq.write_table(table(range(3)).slice(0, 0), empty)
    cases: list[tuple[list[str], str]] = [
        ([], "the file list is empty"),
        ([files[0], files[0]], "listed twice"),
        (["s3://bucket/x.parquet"], "not an absolute local path"),
        (["part.parquet"], "not an absolute local path"),
        ([str(tmp_path / "gone.parquet")], "not there"),
        (marked, "takes for part of a URL"),
        ([str(broken)], "not a readable Parquet file"),
        ([str(empty)], "without rows"),
    ]
    for wrong, text in cases:
        with pytest.raises(StreamError, match=text):
            plan(wrong, 1, 1)


@pytest.mark.parametrize("name", ["_common_metadata", "_metadata"])
def test_petastorm_metadata_beside_the_files_is_refused(tmp_path: Path, name: str) -> None:
    files = write(tmp_path, [5])
    (tmp_path / name).write_bytes(b"\x80\x04.")
    with pytest.raises(StreamError, match=f"{name}' lies beside the examples; Petastorm would unpickle"):
        plan(files, 1, 1)


def test_no_full_batch_on_some_rank_is_refused(tmp_path: Path) -> None:
    made = plan(write(tmp_path, [50, 3]), 2, 8)
    with pytest.raises(StreamError, match=r"rows per rank are \[50, 3\].*lower training.batch_size"):
        require_steps(made)
