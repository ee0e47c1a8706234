"""What calibration is expected to cost, for every weight λ, from the values that the lists are made of: gold.balance.

The values are probabilities, so the accuracy of a list can be foretold before anybody has seen it: its expected DCG is
Σ p ÷ log2(place + 1). The weight can then be chosen by what it may cost, without labels and on the very night.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from equipoise.errors import ContractError
from equipoise.recommend.block import Block, parse
from equipoise.recommend.divergence import divergence_bits
from equipoise.recommend.lists import Policy, exploit, reachable, score
from equipoise.recommend.relevance import finite

WEIGHTS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9)
"""λ tried; close together where accuracy is worth something."""

SAMPLE_BLOCKS = 16
"""Blocks of users whose lists are made for every λ; with more users than they hold, these are a sample by hash."""

_OUT = "block INT, calibration DOUBLE, users BIGINT, expected DOUBLE, divergence DOUBLE"


def frontier(rows: DataFrame, policy: Policy, calibration: float | Literal["auto"], bound: float) -> pd.DataFrame:
    """gold.balance without stamps.

    Args:
        rows: see `table.rows_for_blocks`.
        calibration: a weight that is set, or auto: the largest of WEIGHTS whose accuracy_loss is at most `bound`.

    Raises:
        ContractError: when there are no users.
    """
    weights = WEIGHTS if calibration == "auto" else tuple(sorted({*WEIGHTS, calibration}))
    sample = rows.filter(F.col("block") < SAMPLE_BLOCKS)
    parts = sample.groupBy("block").applyInPandas(_points_of(policy, weights), _OUT).toPandas()
    if parts.empty:
        raise ContractError("no user has a row to make lists from, so balance costs nothing that could be measured")
    whole = parts.sort_values(["calibration", "block"]).groupby("calibration", as_index=False).sum()
    found = pd.DataFrame({"calibration": whole["calibration"], "users": whole["users"]})
    found["expected_dcg"] = whole["expected"] / whole["users"]
    most = found["expected_dcg"].iloc[0]
    found["accuracy_loss"] = 1.0 - found["expected_dcg"] / most if most > 0 else 0.0
    found["kl_bits"] = whole["divergence"] / whole["users"]
    taken = _within(found, bound) if calibration == "auto" else calibration
    return found.assign(chosen=found["calibration"] == taken)


def _within(found: pd.DataFrame, bound: float) -> float:
    """The largest weight before the first one that costs more than the bound."""
    above = found.loc[found["accuracy_loss"] > bound, "calibration"]
    inside = found.loc[found["calibration"] < (above.min() if len(above) else np.inf), "calibration"]
    return float(inside.max())


def told(found: pd.DataFrame) -> str:
    """A line about the weight that was chosen."""
    one = found[found["chosen"]].iloc[0]
    return (
        f"λ = {one['calibration']:g}: expected to cost {one['accuracy_loss']:.2%} of the DCG and to bring the lists from "
        f"{found['kl_bits'].iloc[0]:.3f} to {one['kl_bits']:.3f} bits from their targets"
    )


def prices(balance: DataFrame) -> tuple[float, dict[float, float]]:
    """λ of the lists of one as_of, and the expected accuracy_loss of every λ that was priced.

    Raises:
        ContractError: when gold.balance does not name exactly one.
    """
    rows = balance.select("calibration", "accuracy_loss", "chosen").collect()
    found = [float(r["calibration"]) for r in rows if r["chosen"]]
    if len(found) != 1:
        raise ContractError(
            f"gold.balance names {len(found)} weights at this as_of, expected 1; run recommend_items for it first"
        )
    return found[0], {float(r["calibration"]): float(r["accuracy_loss"]) for r in rows}


def _points_of(policy: Policy, weights: tuple[float, ...]) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def run(frame: pd.DataFrame) -> pd.DataFrame:
        number = int(frame["block"].iloc[0])
        return points(parse(frame), policy, weights).assign(block=number)[[c.split()[0] for c in _OUT.split(", ")]]

    return run


def points(block: Block, policy: Policy, weights: tuple[float, ...]) -> pd.DataFrame:
    """Per weight: calibration, users, and the sums over users of the expected DCG and of the divergence in bits.

    Both are of the places that do not explore; they do not hang on the draw.
    """
    lengths = policy.k - policy.slots(block)
    scored = score(block, lengths, policy.most_per_brand)
    candidates = scored.candidates
    value = np.append(finite(candidates.value), 0.0)  # place −1 is the end of a short list
    discount = 1.0 / np.log2(np.arange(2, int(lengths.max(initial=0)) + 2))
    target = reachable(block, candidates)
    out = []
    for weight in weights:
        chosen, _ = exploit(block, scored, replace(policy, calibration=weight), lengths)
        listed = np.zeros(len(candidates.user), dtype=bool)
        listed[chosen[chosen >= 0]] = True
        rows = np.flatnonzero(listed[candidates.of_row])
        shares = np.zeros_like(target)
        at = candidates.user[candidates.of_row[rows]], candidates.category_of_row[rows]
        np.add.at(shares, at, candidates.weight_of_row[rows])
        shares /= np.maximum((chosen >= 0).sum(axis=1), 1)[:, None]
        expected, divergence = (value[chosen] * discount).sum(), divergence_bits(target, shares, policy.alpha).sum()
        out.append((weight, len(block.users), float(expected), float(divergence)))
    return pd.DataFrame(out, columns=["calibration", "users", "expected", "divergence"])
