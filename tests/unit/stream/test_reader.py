from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from equipoise.errors import StreamError
from equipoise.stream import IDENTITY_COLUMNS, LEARNER_COLUMNS, Batch, ExampleStream, Widths
from equipoise.stream import reader as reader_module
from equipoise.stream.reader import order_seed
from tests.unit.stream.made import WIDTHS, write


def read(files: list[str], *, rank: int = 0, world_size: int = 1, batch_size: int = 4, **more: Any) -> list[Batch]:
    settings: dict[str, Any] = {"seed": 1, "epoch": 0, "columns": LEARNER_COLUMNS + IDENTITY_COLUMNS, "drop_last": False, **more}
    with ExampleStream(files, rank=rank, world_size=world_size, batch_size=batch_size, widths=WIDTHS, **settings) as stream:
        return list(stream)


def users(batches: list[Batch]) -> list[int]:
    return [int.from_bytes(bytes(u.tolist()), "little") for b in batches for u in b["user_id"]]


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
@pytest.mark.parametrize("sizes", [[10, 10, 10, 10, 10, 10], [3, 17, 1, 8, 30]])
def test_ranks_never_overlap_and_together_see_every_row_once(tmp_path: Path, world_size: int, sizes: list[int]) -> None:
    files = write(tmp_path, sizes, groups_per_file=2)
    seen = [users(read(files, rank=r, world_size=world_size)) for r in range(world_size)]
    assert sorted(u for s in seen for u in s) == list(range(sum(sizes)))


def test_every_value_belongs_to_its_row(tmp_path: Path) -> None:
    for batch in read(write(tmp_path, [9, 14])):
        for row, user in enumerate(users([batch])):
            length = 1 + user % 6
            assert batch["mask"][row].sum() == length
            assert batch["tokens"][row, :length].tolist() == [user * 10 + k for k in range(length)]
            assert batch["prior"][row].tolist() == [user, 0, 0, 0, 0]
            np.testing.assert_allclose(batch["features"][row], [user, user + 0.1, user + 0.2], rtol=1e-6)
            assert batch["label_counts"][row].tolist() == [user % 3] * 5
            assert (batch["label_value"][row], batch["label_spend"][row]) == (user % 3, user / 4)
            assert batch["cut_day"][row] == 17000 + user % 7


def test_order_is_a_pure_function_of_seed_and_epoch(tmp_path: Path) -> None:
    files = write(tmp_path, [20] * 6)
    orders = {(s, e): users(read(files, seed=s, epoch=e)) for s in (1, 2) for e in (0, 1)}
    again = {(s, e): users(read(files, seed=s, epoch=e)) for s in (1, 2) for e in (0, 1)}
    assert orders == again
    assert len({tuple(o) for o in orders.values()}) == 4


def test_rows_are_mixed_across_row_groups(tmp_path: Path) -> None:
    order = users(read(write(tmp_path, [100] * 4)))
    firsts = {u // 100 for u in order[:20]}
    assert firsts == {0, 1, 2, 3}


@pytest.mark.parametrize("buffer_rows", [1, 7, 64, 10_000])
def test_a_small_buffer_loses_nothing(tmp_path: Path, buffer_rows: int) -> None:
    batches = read(write(tmp_path, [11, 5, 23, 2]), buffer_rows=buffer_rows)
    assert sorted(users(batches)) == list(range(41))
    assert [len(b["label_value"]) for b in batches] == [4] * 10 + [1]


def test_drop_last_gives_the_same_steps_on_all_ranks(tmp_path: Path) -> None:
    files = write(tmp_path, [40, 9, 40])
    counts = [[len(b["label_value"]) for b in read(files, rank=r, world_size=2, drop_last=True)] for r in (0, 1)]
    assert counts == [[4, 4], [4, 4]]


def test_skipping_batches_leaves_the_rest_unchanged(tmp_path: Path) -> None:
    files = write(tmp_path, [13, 13, 13])
    whole = read(files, buffer_rows=16)
    rest = read(files, buffer_rows=16, skip_batches=5)
    assert users(rest) == users(whole[5:])


def test_ranks_beyond_the_row_groups_get_nothing(tmp_path: Path) -> None:
    files = write(tmp_path, [6, 6])
    seen = [users(read(files, rank=r, world_size=3)) for r in range(3)]
    assert [len(s) for s in seen] == [6, 6, 0]
    assert sorted(seen[0] + seen[1]) == list(range(12))


def test_only_needed_columns_are_read(tmp_path: Path) -> None:
    batch = read(write(tmp_path, [4]), columns=("features", "label_value"))[0]
    assert set(batch) == {"features", "label_value"}


def planted(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    real = reader_module.make_batch_reader

    class Lossy:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._inner = real(*args, **kwargs)
            for name in ("dataset", "schema", "stop", "join", "_workers_pool"):
                setattr(self, name, getattr(self._inner, name))

        def __iter__(self) -> Iterator[Any]:
            self._inner._results_queue_reader = self._results_queue_reader
            return change(iter([g for _, g in zip(range(4), self._inner, strict=False)]))

    monkeypatch.setattr(reader_module, "make_batch_reader", Lossy)


def test_a_lost_row_group_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def drop_one(groups: Iterator[Any]) -> Iterator[Any]:
        next(groups)
        yield from groups

    planted(monkeypatch, drop_one)
    files = write(tmp_path, [10] * 4)
    with pytest.raises(StreamError, match="rank 0 read 30 rows, but the footers of its 4 row groups hold 40"):
        read(files)
    with pytest.raises(StreamError, match="read 30 rows"):  # also where the steps of the epoch were all there
        read(files, drop_last=True, batch_size=20)


def test_a_repeated_row_group_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def repeat_one(groups: Iterator[Any]) -> Iterator[Any]:
        kept = list(groups)
        yield from [kept[0], kept[0], kept[1], kept[2]]

    planted(monkeypatch, repeat_one)
    with pytest.raises(StreamError, match="read 31 rows, but the footers of its 4 row groups hold 34"):
        read(write(tmp_path, [7, 7, 10, 10]), seed=1)


def test_closing_early_leaves_no_thread(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = threading.active_count()
    files = write(tmp_path, [50] * 8)
    with ExampleStream(files, rank=0, world_size=1, batch_size=4, seed=1, epoch=0, widths=WIDTHS, buffer_rows=8) as stream:
        next(iter(stream))
        with pytest.raises(StreamError, match="one stream is one epoch"):
            iter(stream)
    assert threading.active_count() == before
    assert capfd.readouterr().out == ""  # the reader's own exit prints to standard output


@pytest.mark.parametrize("name", ["with blank", "100%", "Käse"])
def test_paths_with_odd_characters(tmp_path: Path, name: str) -> None:
    assert sorted(users(read(write(tmp_path / name, [5, 5])))) == list(range(10))


def test_other_widths_are_refused(tmp_path: Path) -> None:
    files = write(tmp_path, [5])
    stream = ExampleStream(files, rank=0, world_size=1, batch_size=1, seed=1, epoch=0, widths=Widths(6, 9, 3))
    with stream, pytest.raises(StreamError, match="packed with other settings"):
        list(stream)


def test_missing_columns_are_named(tmp_path: Path) -> None:
    files = write(tmp_path, [5])
    with pytest.raises(StreamError, match=r"lack columns \['nothing'\]"):
        read(files, columns=("nothing", "label_value"))


def test_seeds_are_never_zero_and_differ_by_epoch() -> None:
    seeds = {order_seed(s, e) for s in range(50) for e in range(50)}
    assert min(seeds) >= 1
    assert len(seeds) == 2500


def test_dtypes(tmp_path: Path) -> None:
    batch = read(write(tmp_path, [4]), columns=LEARNER_COLUMNS)[0]
    whole = dict.fromkeys(("tokens", "mask", "items", "types", "label_value"), torch.int64) | {"label_spend": torch.float64}
    assert {k: v.dtype for k, v in batch.items()} == {
        **whole,
        **dict.fromkeys(("ages", "prior", "cells", "trends", "features", "label_counts"), torch.float32),
    }
