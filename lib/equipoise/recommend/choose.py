"""The ways to choose a list, by their names in recommend.rerank, behind one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from equipoise.recommend.divergence import Divergence
from equipoise.recommend.diverse import mmr_user_block, quota_user_block, xquad_user_block
from equipoise.recommend.flow import flow_user_block
from equipoise.recommend.interchange import interchange_user_block
from equipoise.recommend.rerank import Bound, rerank_user_block

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Told = tuple[Floats, Ints, Floats, Floats]
"""relevance, categories, weights, target as `rerank.rerank_user_block` wants them."""

Reranking = Literal["interchange", "greedy", "flow", "quota", "xquad", "mmr"]


class Way(NamedTuple):
    """How a list is chosen: the settings of the same names."""

    rerank: Reranking
    divergence: Divergence
    alpha: float


def choose(told: Told, way: Way, weight: Floats, lengths: Ints, bound: Bound | None) -> tuple[Ints, Floats]:
    """Lists of `lengths` (u,) by λ `weight` (u,): places (u, longest) and their gains, −inf where a list ends.

    What a gain is: of greedy, xquad and mmr the step's; of interchange and flow what the item adds to the objective; of quota
    the relevance. There must be room for the longest list among the places.
    """
    length = int(lengths.max(initial=0))
    if way.rerank == "quota":
        return quota_user_block(*told, lengths=lengths, calibration=weight, bound=bound)
    if way.rerank == "xquad":
        chosen, gains = xquad_user_block(*told, length=length, calibration=weight, bound=bound)
    elif way.rerank == "mmr":
        chosen, gains = mmr_user_block(*told, length=length, calibration=weight, bound=bound)
    else:
        chosen, gains = rerank_user_block(
            *told, length=length, calibration=weight, alpha=way.alpha, bound=bound, kind=way.divergence
        )
    # A step of the one-by-one choices does not ask how long the list will be: a shorter one is the beginning of a longer one.
    gains = np.where(np.arange(length) < lengths[:, None], gains, -np.inf)
    improve = _IMPROVED.get(way.rerank)
    return (chosen, gains) if improve is None else _improved(improve, chosen, gains, told, way, weight, bound)


_IMPROVED: dict[str, Callable[..., tuple[Ints, Floats]]] = {"interchange": interchange_user_block, "flow": flow_user_block}


def _improved(
    improve: Callable[..., tuple[Ints, Floats]],
    chosen: Ints,
    gains: Floats,
    told: Told,
    way: Way,
    weight: Floats,
    bound: Bound | None,
) -> tuple[Ints, Floats]:
    """The greedy lists made better, those of one length at a time."""
    held = np.isfinite(gains).sum(axis=1)
    for size in np.unique(held[held > 0]):
        mine = held == size
        part = tuple(x[mine] for x in told)
        limit = bound.of(mine) if bound else None
        how = {"calibration": weight[mine], "alpha": way.alpha, "bound": limit, "kind": way.divergence}
        chosen[mine, :size], gains[mine, :size] = improve(chosen[mine, :size], *part, **how)
    return chosen, gains
