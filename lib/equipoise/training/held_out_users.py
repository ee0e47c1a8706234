"""Users that a training leaves out, so that a model can be judged on people it never saw."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa  # before torch, or their bundled libraries clash (petastorm's troubleshooting page)
import pyarrow.parquet as pq

from equipoise.errors import ContractError
from equipoise.evaluate.arrays import Bools
from equipoise.models.package import ModelMeta

DIGITS = 8


@dataclass(frozen=True)
class HeldOut:
    """A share of all users, chosen by a hash of the seed and each user's pseudonym: the same ones at every as_of."""

    share: float
    seed: int

    def holds(self, users: Iterable[str]) -> Bools:
        """(n,) whether each of the users is held out."""
        digests = (hashlib.sha256(f"{self.seed} {user}".encode()).hexdigest()[:DIGITS] for user in users)
        return np.array([int(digest, 16) < self.share * 16**DIGITS for digest in digests], dtype=bool)


def without(files: Sequence[str], held: HeldOut, into: Path) -> list[str]:
    """As many files of examples as `files`, in their order and with equally many rows each, without the users held out.

    The last rows, fewer than there are files, go too: every rank has to have as many steps as the others.

    Raises:
        ContractError: when a file would be left without rows.
    """
    parts = [pq.read_table(f) for f in sorted(files)]
    # Row i of every file before row i + 1 of any: each file stays a fair mixture of users and cuts.
    whole = pa.concat_tables(parts)
    place = np.concatenate([np.arange(p.num_rows) for p in parts])
    kept = ~held.holds(u.hex() for u in whole["user_id"].to_pylist())
    order = np.argsort(place, kind="stable")
    order = order[kept[order]]
    each = len(order) // len(files)
    if not each:
        raise ContractError(
            f"training.held_out_users = {held.share} leaves {len(order):,} examples for {len(files)} files; lower it, or "
            "training.files_per_rank"
        )
    into.mkdir(parents=True, exist_ok=True)
    out = []
    for n in range(len(files)):
        path = into / f"part-{n:05d}.parquet"
        pq.write_table(whole.take(np.sort(order[n : each * len(files) : len(files)])), path, row_group_size=each)
        out.append(str(path))
    return out


def rows_in(files: Sequence[str]) -> int:
    """Rows of Parquet files, by their footers."""
    return sum(pq.read_metadata(f).num_rows for f in files)


def held_out_of(meta: ModelMeta) -> HeldOut | None:
    """Whom a published model did not train on; None: it saw everybody."""
    told = meta.settings.get("training", {})
    share = float(told.get("held_out_users", 0.0))
    return HeldOut(share, int(told["held_out_seed"])) if share else None
