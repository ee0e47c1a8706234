"""Rules from counted itemsets, with their measures and a bound against chance; no Spark in it.

N baskets, n(X) of them with all of X; a rule A → b says that baskets with A tend to hold b.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import gammaln

from equipoise.errors import ContractError

Itemset = tuple[str, ...]
"""Names, sorted."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
COUNTS = ("baskets", "baskets_antecedent", "baskets_consequent", "baskets_both")
MEASURES = ("support", "confidence", "lift", "leverage", "conviction", "p_adjusted")
NEGLIGIBLE = 1e-17
"""Part of a tail beyond which no term changes it in double precision."""


@dataclass(frozen=True)
class Bounds:
    """Which rules are kept; see settings [associations]."""

    min_confidence: float
    min_lift: float
    max_items: int
    max_rules: int
    level: float


def rules(counts: Mapping[Itemset, int], baskets: int, bounds: Bounds) -> pd.DataFrame:
    """One row per rule that keeps the bounds: antecedent, consequent, COUNTS and MEASURES; the highest leverage first.

    Args:
        counts: baskets with each frequent itemset of up to max_items + 1 names, all their subsets among them.
        baskets: N.
    """
    found = [(a, b, n) for items, n in counts.items() if 1 < len(items) <= bounds.max_items + 1 for a, b, n in _splits(items, n)]
    table = pd.DataFrame(found, columns=["antecedent", "consequent", "baskets_both"])
    table["baskets"] = baskets
    table["baskets_antecedent"] = [counts[a] for a in table["antecedent"]]
    table["baskets_consequent"] = [counts[(b,)] for b in table["consequent"]]
    table = _measured(table.astype(dict.fromkeys(COUNTS, np.int64)))
    told = table[(table["confidence"] >= bounds.min_confidence) & (table["lift"] >= bounds.min_lift)]
    names = sum(len(items) == 1 for items in counts)
    told = told.assign(p_adjusted=_adjusted(told, counts, baskets, names, bounds.max_items))
    sure = told[told["p_adjusted"] <= bounds.level]
    ordered = sure.sort_values(["leverage", "antecedent", "consequent"], ascending=[False, True, True])
    return ordered.head(bounds.max_rules).reset_index(drop=True)[["antecedent", "consequent", *COUNTS, *MEASURES]]


def _splits(items: Itemset, n: int) -> Iterator[tuple[Itemset, str, int]]:
    for i, b in enumerate(items):
        yield items[:i] + items[i + 1 :], b, n


def _measured(table: pd.DataFrame) -> pd.DataFrame:
    """With support, confidence (Agrawal et al. 1993), lift, leverage (Piatetsky-Shapiro 1991) and conviction (Brin et al. 1997).

    Each is one division of whole numbers, exact below 2^53, so equal counts give equal bits. conviction is
    (1 − P(b)) ÷ (1 − confidence), NaN where confidence is 1.
    """
    whole, a, b, both = (table[c].to_numpy(dtype=np.float64) for c in COUNTS)
    missed = a - both
    conviction = np.divide((whole - b) * a, whole * missed, out=np.full(len(table), np.nan), where=missed > 0)
    return table.assign(
        support=both / whole,
        confidence=both / a,
        lift=both * whole / (a * b),
        leverage=(both * whole - a * b) / (whole * whole),
        conviction=conviction,
    )


def _adjusted(table: pd.DataFrame, counts: Mapping[Itemset, int], baskets: int, names: int, max_items: int) -> Floats:
    """Chance of such a rule where there is none, in all the search (Webb 2007, "Discovering significant patterns").

    Every name of the antecedent has to do something: p is the largest, over z in A, of the exact (Fisher) p that b is as
    frequent with z as it is, among the baskets with the rest of A. Then Bonferroni over all rules that could have been formed
    from the frequent names, in layers by length (Webb 2008, "Layered critical values for pattern discovery").
    """
    sizes = table["antecedent"].map(len).to_numpy(dtype=np.int64)
    out = np.zeros(len(table))
    with_a, both = table["baskets_antecedent"].to_numpy(), table["baskets_both"].to_numpy()
    for place in range(int(sizes.max(initial=0))):
        rows = np.flatnonzero(sizes > place)
        rest = [a[:place] + a[place + 1 :] for a in table["antecedent"].iloc[rows]]
        of_rest = np.array([counts[r] if r else baskets for r in rest], dtype=np.int64)
        rest_and_b = [tuple(sorted((*r, b))) for r, b in zip(rest, table["consequent"].iloc[rows], strict=True)]
        hits = np.array([counts[r] for r in rest_and_b], dtype=np.int64)
        out[rows] = np.maximum(out[rows], upper_tail(both[rows], of_rest, hits, with_a[rows]))
    searched = np.array([float(max_items * names * comb(max(names - 1, 0), int(k))) for k in sizes])
    bound: Floats = np.minimum(out * searched, 1.0)
    return bound


def upper_tail(k: Ints, population: Ints, hits: Ints, draws: Ints) -> Floats:
    """P(X ≥ k) of hypergeometric X: `draws` out of `population` with `hits` among them; 1 where k is not above the mean.

    Above the mean every term is smaller than the one before, so the sum ends early.
    """
    at, m, n, d = (np.asarray(v).astype(np.float64) for v in (k, population, hits, draws))
    above = at * m > n * d
    ways = _log_comb(n, at) + _log_comb(m - n, d - at) - _log_comb(m, d)
    first = np.exp(np.where(above, ways, 0.0))
    term, total = np.ones(len(at)), np.ones(len(at))
    last = np.where(above, np.minimum(n, d), at)
    x = at.copy()
    while np.any(on := (x < last) & (term > NEGLIGIBLE * total)):
        ratio = (n - x) * (d - x) / ((x + 1) * (m - n - d + x + 1))
        term = np.where(on, term * np.where(on, ratio, 0.0), term)
        total, x = np.where(on, total + term, total), np.where(on, x + 1, x)
    tail: Floats = np.where(above, np.minimum(first * total, 1.0), 1.0)
    return tail


def _log_comb(total: Floats, part: Floats) -> Floats:
    found: Floats = gammaln(total + 1) - gammaln(part + 1) - gammaln(total - part + 1)
    return found


def check(table: pd.DataFrame, bounds: Bounds, least: int) -> None:
    """Nothing, when every rule keeps the laws of its measures and the bounds it was asked for.

    Raises:
        ContractError: with each broken law, how many rules break it, and the first of them.
    """
    whole, a, b, both = (table[c] for c in COUNTS)
    pairs = list(zip(table["antecedent"], table["consequent"], strict=True))
    laws: Sequence[tuple[str, pd.Series[bool]]] = (
        (f"at least {least} baskets hold it", both >= least),
        ("baskets_both ≤ baskets of either side ≤ baskets", (both <= a) & (both <= b) & (a <= whole) & (b <= whole)),
        (f"{bounds.min_confidence:g} ≤ confidence ≤ 1", table["confidence"].between(bounds.min_confidence, 1.0)),
        (f"lift ≥ {bounds.min_lift:g}", table["lift"] >= bounds.min_lift),
        ("−¼ ≤ leverage ≤ ¼", table["leverage"].abs() <= 0.25),
        ("conviction is null where confidence is 1 and nowhere else", table["conviction"].isna() == (table["confidence"] == 1.0)),
        ("antecedent is sorted, without doubles", pd.Series([list(x) == sorted(set(x)) for x, _ in pairs], dtype=bool)),
        ("consequent is not in the antecedent", pd.Series([y not in x for x, y in pairs], dtype=bool)),
    )
    broken = [f"{law}: {(~kept).sum()} rules, such as {table[~kept].iloc[0].to_dict()}" for law, kept in laws if not kept.all()]
    if broken:
        raise ContractError("rules break their laws, so gold.item_rules stays as it was: " + "; ".join(broken))
