"""Calibrated lists as a minimum-cost flow (the idea: Abdollahpouri et al., WSDM 2023), one small programme per user.

Nodes and arcs of a user, capacity and cost; a flow of m units is sought at the least cost:

    source → group (brand)     most_per_brand (groups of one item where there is no bound)    0
    group → item i             1                                                              −(1 − λ) relevance_i
    item i → category c        x_i · w_ic                                                     0
    category c → sink          arcs between the knots of its convex cost                      λ (D_c(b) − D_c(a)) ÷ (b − a)

D_c(s) is the category's term of the divergence (`divergence.divergence_terms`) at the share s ÷ m; it is convex, so the arcs
fill up in the order of their knots, and at whole numbers of items the cost of the flow is the objective of
`rerank.rerank_user_block` with its sign turned: λ means the same. Where each item has one category all capacities are
whole, so are the flows of the linear programme, and the list is the best of all lists.

Where we depart from the paper: its arcs into the sink have capacities for quotas; ours have convex costs, so that λ prices a
deviation and any list is feasible. An item of several categories splits its unit in the parts of its weights (a flow with gains),
and no plain flow does that with whole items: x_i is then held to 0 or 1 by branch and bound (HiGHS through scipy's milp), and
costs between whole numbers are straight lines between KNOTS.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from equipoise.recommend.divergence import Divergence, divergence_bits, divergence_terms
from equipoise.recommend.interchange import added
from equipoise.recommend.rerank import Bound, each

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

KNOTS = (0.0, 0.125, 0.25, 0.5)
"""Below one item the cost falls steeply: it is followed at these parts of an item, then at whole items."""

MOST_NODES = 2_000
"""Branches tried for one user; a number, not a time, so that a list does not hang on the load of the machine."""

GAP = 1e-6
"""Relative gap at which the search for a user's list ends; HiGHS also takes costs within 1e-6 of each other for equal."""


def flow_user_block(
    chosen: Ints,
    relevance: Floats,
    categories: Ints,
    weights: Floats,
    target: Floats,
    *,
    calibration: float | Floats,
    alpha: float,
    bound: Bound | None = None,
    kind: Divergence = "kl",
) -> tuple[Ints, Floats]:
    """The lists (u, m) of the cheapest flows, places ascending, and what each item adds to the objective.

    A list is never worse than the one it starts from: that stays where the flow's is not better by 1e-9.

    Args:
        chosen: (u, m) places of feasible lists, such as the greedy ones.
        relevance, categories, weights, target, calibration, alpha, bound, kind: see `rerank.rerank_user_block`.
    """
    lists, lam = np.sort(chosen, axis=1), each(calibration, len(chosen))
    for user in range(len(lists)):
        told = relevance[user], categories[user], weights[user], target[user]
        group = None if bound is None else bound.group[user]
        most = 0 if bound is None else bound.most
        found = _cheapest(*told, lists.shape[1], float(lam[user]), alpha, kind, group, most)
        if found is None:
            continue
        now, then = (_worth(one, *told, float(lam[user]), alpha, kind) for one in (lists[user], found))
        if then > now + 1e-9:
            lists[user] = found
    return lists, added(lists, relevance, categories, weights, target, calibration=lam, alpha=alpha, kind=kind)


def _cheapest(
    relevance: Floats,
    categories: Ints,
    weights: Floats,
    target: Floats,
    length: int,
    calibration: float,
    alpha: float,
    kind: Divergence,
    group: Ints | None,
    most: int,
) -> Ints | None:
    """Places of the user's cheapest flow, ascending; None when HiGHS found no flow in MOST_NODES branches."""
    items = np.flatnonzero(np.isfinite(relevance))
    used, at = np.unique(categories[items], return_inverse=True)
    at = at.reshape(categories[items].shape)
    parts = np.zeros((len(used), len(items)))  # (categories, items) w
    np.add.at(parts, (at, np.arange(len(items))[:, None]), weights[items])
    knots = np.array([*KNOTS, *range(1, length + 1)])
    cost = divergence_terms(np.repeat(target[used, None], len(knots), 1), np.tile(knots / length, (len(used), 1)), alpha, kind)
    width = np.diff(knots)
    arcs = len(used) * len(width)
    costs = np.r_[-(1.0 - calibration) * relevance[items], (calibration * np.diff(cost, axis=1) / width).ravel()]
    through = sparse.hstack([sparse.csr_matrix(parts), -sparse.kron(sparse.eye(len(used)), np.ones((1, len(width))))])
    whole = np.r_[np.ones(len(items)), np.zeros(arcs)]
    rules = [LinearConstraint(through.tocsr(), 0.0, 0.0), LinearConstraint(whole, length, length)]
    if group is not None:
        numbers = np.unique(group[items][group[items] >= 0])
        members = sparse.csr_matrix((group[items][None] == numbers[:, None]).astype(np.float64))
        if len(numbers):
            rules.append(LinearConstraint(sparse.hstack([members, sparse.csr_matrix((len(numbers), arcs))]).tocsr(), 0.0, most))
    limits = Bounds(0.0, np.r_[np.ones(len(items)), np.tile(width, len(used))])
    options = {"mip_rel_gap": GAP, "node_limit": MOST_NODES}
    result = milp(costs, integrality=whole, bounds=limits, constraints=rules, options=options)
    return None if result.x is None else np.asarray(items[np.flatnonzero(result.x[: len(items)] > 0.5)])


def _worth(
    places: Ints,
    relevance: Floats,
    categories: Ints,
    weights: Floats,
    target: Floats,
    calibration: float,
    alpha: float,
    kind: Divergence,
) -> float:
    shares = np.zeros_like(target)
    np.add.at(shares, categories[places], weights[places] / len(places))
    bits = float(divergence_bits(target, shares, alpha, kind))
    return (1.0 - calibration) * float(relevance[places].sum()) - calibration * bits
