"""Rules by counting every itemset in every basket, with fractions and another library's test: slow and obvious."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations
from math import comb
from typing import NamedTuple

from scipy.stats import hypergeom

from equipoise.associations.rules import Bounds, Itemset

Baskets = Sequence[frozenset[str]]


class Told(NamedTuple):
    """Measures of one rule."""

    both: int
    support: float
    confidence: float
    lift: float
    leverage: float
    conviction: float | None
    p: float


def count(baskets: Baskets, items: Sequence[str]) -> int:
    return sum(set(items) <= basket for basket in baskets)


def frequent(baskets: Baskets, least: int, longest: int) -> dict[Itemset, int]:
    """Every itemset of up to `longest` names that at least `least` baskets hold."""
    names = sorted(set().union(*baskets))
    sets = [s for k in range(1, longest + 1) for s in combinations(names, k)]
    return {s: n for s in sets if (n := count(baskets, s)) >= least}


def rules(baskets: Baskets, least: int, bounds: Bounds) -> dict[tuple[Itemset, str], Told]:
    """Every rule within the bounds, whatever max_rules says."""
    known = frequent(baskets, least, bounds.max_items + 1)
    names, whole = sum(len(s) == 1 for s in known), len(baskets)
    found = {}
    for items, both in known.items():
        for b in items if len(items) > 1 else ():
            a = tuple(x for x in items if x != b)
            n_a, n_b = count(baskets, a), count(baskets, [b])
            confidence, p_b = Fraction(both, n_a), Fraction(n_b, whole)
            lift, leverage = confidence / p_b, Fraction(both, whole) - Fraction(n_a, whole) * p_b
            if float(confidence) < bounds.min_confidence or float(lift) < bounds.min_lift:
                continue
            p = 0.0
            for z in a:
                rest = [basket for basket in baskets if set(a) - {z} <= basket]
                hits = count(rest, [b])
                at_chance = both * len(rest) <= hits * n_a
                p = max(p, 1.0 if at_chance else float(hypergeom.sf(both - 1, len(rest), hits, n_a)))
            p = min(1.0, p * bounds.max_items * names * comb(names - 1, len(a)))
            conviction = None if confidence == 1 else float((1 - p_b) / (1 - confidence))
            if p <= bounds.level:
                found[a, b] = Told(both, both / whole, float(confidence), float(lift), float(leverage), conviction, p)
    return found
