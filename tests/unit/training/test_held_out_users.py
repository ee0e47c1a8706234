"""Users held out of training: who they are, and that their examples are gone, all of them and nobody else's."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from equipoise.errors import ContractError
from equipoise.stream import ExampleStream, plan
from equipoise.training.held_out_users import HeldOut, rows_in, without
from equipoise.training.judge import COLUMNS
from tests.unit.training.recipes import WIDTHS, example_files

USERS = [f"{n:032x}" for n in range(4000)]


def test_a_share_of_the_users_by_a_seed_whoever_is_asked_with_them() -> None:
    held = HeldOut(0.2, 1).holds(USERS)
    assert held.mean() == pytest.approx(0.2, abs=0.02)
    np.testing.assert_array_equal(HeldOut(0.2, 1).holds(USERS[::-1]), held[::-1])
    np.testing.assert_array_equal(HeldOut(0.1, 1).holds(USERS) & ~held, np.zeros(len(USERS), dtype=bool))
    assert (HeldOut(0.2, 2).holds(USERS) != held).mean() > 0.2
    by_hand = int(hashlib.sha256(b"1 " + USERS[7].encode()).hexdigest()[:8], 16) / 16**8 < 0.2
    assert bool(held[7]) is by_hand


def test_their_examples_are_gone_and_the_files_stay_equal(tmp_path: Path) -> None:
    files = example_files(tmp_path / "all", [40, 40, 40], seed=1)
    held = HeldOut(0.3, 1)
    left = without(files, held, tmp_path / "left")
    tables = [pq.read_table(f) for f in left]
    assert len(left) == 3 and len({t.num_rows for t in tables}) == 1
    assert all(pq.read_metadata(f).num_row_groups == 1 for f in left)
    before = Counter(u for f in files for u in pq.read_table(f)["user_id"].to_pylist())
    after = Counter(u for t in tables for u in t["user_id"].to_pylist())
    wanted = {u: n for u, n in before.items() if not held.holds([u.hex()])[0]}
    assert set(after) <= set(wanted) and 0 <= sum(wanted.values()) - rows_in(left) < 3, "the rest that does not fill the files"
    assert rows_in(left) == sum(t.num_rows for t in tables) < rows_in(files)


def test_the_stream_reads_what_is_left(tmp_path: Path) -> None:
    left = without(example_files(tmp_path / "all", [40, 40], seed=1), HeldOut(0.3, 1), tmp_path / "left")
    assert plan(left, 2, 8).steps > 0
    with ExampleStream(
        left, rank=0, world_size=1, batch_size=16, seed=1, epoch=0, widths=WIDTHS, columns=COLUMNS, drop_last=False
    ) as stream:
        users = [bytes(u.numpy()).hex() for batch in stream for u in batch["user_id"]]
    assert len(users) == rows_in(left) and not HeldOut(0.3, 1).holds(users).any()


def test_too_few_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"held_out_users = 0.99 leaves .* examples for 2 files"):
        without(example_files(tmp_path / "all", [3, 3], seed=1), HeldOut(0.99, 1), tmp_path / "left")
