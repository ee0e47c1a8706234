"""Users that a model never trained on: the same figures for them, of that model and of one that knew them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from equipoise.evaluate.arrays import Ints
from equipoise.evaluate.names import HELD_OUT_SPLIT, UNSEEN
from equipoise.evaluate.table import Comparison, Method


def parts(whole: Comparison, held_out: Ints, known: str) -> list[Comparison]:
    """The comparison without models that had users held out; and with them on those users alone, where there are such models.

    Args:
        held_out: numbers of the users held out.
        known: the method that trained on everybody, from which differences are taken there.
    """
    kept = tuple(m for m in whole.methods if not m.name.endswith(UNSEEN))
    tested = replace(whole, methods=kept)
    rows = np.flatnonzero(np.isin(whole.unit, held_out))
    if len(kept) == len(whole.methods) or not len(rows) or whole.baseline is None:
        return [tested]
    taken = tuple(Method(m.name, tuple(tuple(one.take(rows) for one in run) for run in m.runs), m.seeds) for m in whole.methods)
    return [tested, Comparison(whole.task, whole.origin, whole.unit[rows], taken, known, HELD_OUT_SPLIT)]
