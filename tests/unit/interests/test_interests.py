"""gold.user_interests against a plain numpy reference over random frames, and the unseen rule by a hand table."""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

AS_OF = date(2017, 11, 6)
DAILY = "user_id STRING, event_date DATE, category STRING, event_type STRING, events DOUBLE"
PREDICTIONS = "user_id STRING, category_probabilities ARRAY<FLOAT>, visit_probabilities ARRAY<FLOAT>"
OBSERVED = "user_id STRING, category STRING, evidence DOUBLE, observed_share DOUBLE"
SEEN = "user_id STRING, category STRING"

Rows = dict[tuple[str, str], dict[str, Any]]


def visit_of(share: float) -> float:
    """The probability of a visit that goes with a share here: any other number, as FLOAT."""
    return float(np.float32(1 - share / 2))


def reference(
    probabilities: dict[str, np.ndarray],
    weights: dict[str, dict[str, float]],
    seen: dict[str, set[str]],
    categories: list[str],
    top: int,
    half: float,
) -> Rows:
    """gold.user_interests of one user after the other, by sorting lists."""
    out: Rows = {}
    for user, p in probabilities.items():
        predicted = dict(zip(categories, p.tolist(), strict=True))
        own = {c: w for c, w in weights.get(user, {}).items() if w > 0}
        total = sum(own.values())
        order = sorted(predicted, key=lambda c: (-predicted[c], c))
        unseen = [c for c in order if c not in seen.get(user, set())]
        kept = set(order[:top]) | set(unseen[:top]) | set(own)
        w = total / (total + half)
        aim = {c: w * (own.get(c, 0.0) / total if total else 0.0) + (1 - w) * predicted.get(c, 0.0) for c in kept}
        target = {c: a / sum(aim.values()) for c, a in aim.items()}
        for rank, c in enumerate(sorted(kept, key=lambda c: (-target[c], c)), start=1):
            out[user, c] = {
                "rank": rank,
                "observed_share": own.get(c, 0.0) / total if total else 0.0,
                "predicted_share": predicted.get(c, 0.0),
                "visit_probability": visit_of(predicted[c]) if c in predicted else None,
                "is_predicted_top": c == order[0],
                "target_share": target[c],
                "evidence": own.get(c, 0.0),
            }
    return out


Case = tuple[dict[str, np.ndarray], dict[str, dict[str, float]], dict[str, set[str]], list[str], int, float]


def random_case(seed: int) -> Case:
    """Users with much, little and no behaviour; ties, categories out of vocabulary, seen without weight and the reverse."""
    rng = np.random.default_rng(seed)
    categories = [f"c{i:02d}" for i in rng.permutation(int(rng.integers(3, 25)))]
    names = [*categories, "x1", "x2"]
    probabilities, weights, seen = {}, {}, {}
    for i in range(40):
        logits = rng.integers(0, 4, len(categories)).astype(np.float64)  # few values, so that ties occur
        # Stored as FLOAT: the reference starts from what is stored.
        p = (np.exp(logits) / np.exp(logits).sum()).astype(np.float32).astype(np.float64)
        probabilities[f"u{i:02d}"] = p
        size = int(rng.integers(0, len(names)))
        chosen = rng.choice(names, size=size, replace=False) if i else []
        weights[f"u{i:02d}"] = {str(c): float(rng.choice([0.0, 0.1, 1.0, 30.0])) for c in chosen}
        seen[f"u{i:02d}"] = {str(c) for c in rng.choice(names, size=int(rng.integers(0, len(names))), replace=False)}
    weights["stranger"] = {categories[0]: 1.0}  # not scored, so not in the answer
    return probabilities, weights, seen, categories, int(rng.integers(1, 8)), float(rng.choice([0.5, 20.0]))


def interests(spark: SparkSession, case: Case) -> DataFrame:
    from equipoise.interests.observed import observed_shares
    from equipoise.interests.table import user_interests

    probabilities, weights, seen, categories, top, half = case
    predicted = spark.createDataFrame([(u, p.tolist(), [visit_of(x) for x in p]) for u, p in probabilities.items()], PREDICTIONS)
    rows = [(u, c, w) for u, of in weights.items() for c, w in of.items()]
    observed = observed_shares(spark.createDataFrame(rows, "user_id STRING, category STRING, weight DOUBLE"))
    known = spark.createDataFrame([(u, c) for u, of in seen.items() for c in sorted(of)], SEEN)
    return user_interests(predicted, observed, known, categories=categories, top_predicted=top, evidence_half=half)


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_plain_reference(spark: SparkSession, seed: int) -> None:
    case = random_case(seed)
    got = interests(spark, case).collect()
    want = reference(*case)
    assert {(r.user_id, r.category) for r in got} == set(want)
    assert len(got) == len(want)
    for row in got:
        expected = want[row.user_id, row.category]
        for name, value in expected.items():
            assert row[name] == pytest.approx(value, abs=1e-12), (row, name)


@pytest.mark.parametrize("seed", [11])
def test_laws(spark: SparkSession, seed: int) -> None:
    """Targets sum to 1, ranks are 1..n, one top category, and the numbers in the reason are the row's own."""
    by_user: dict[str, list[Any]] = {}
    for row in interests(spark, random_case(seed)).collect():
        by_user.setdefault(row.user_id, []).append(row)
    for rows in by_user.values():
        assert sum(r.target_share for r in rows) == pytest.approx(1.0, abs=1e-9)
        assert sum(r.observed_share for r in rows) == pytest.approx(1.0 if any(r.evidence for r in rows) else 0.0, abs=1e-9)
        assert sorted(r["rank"] for r in rows) == list(range(1, len(rows) + 1))
        assert sum(r.is_predicted_top for r in rows) == 1
        total = sum(r.evidence for r in rows)
        for r in rows:
            numbers = [float(n.replace(",", "")) for n in re.findall(r"[\d,]+\.\d+", r.reason)]
            own = [100 * r.observed_share, r.evidence, total] if r.evidence else []
            model = [] if "does not know" in r.reason else [100 * r.predicted_share, 100 * r.visit_probability]
            assert numbers[:-1] == pytest.approx([*own, *model], abs=0.0051), r.reason


def test_reasons_read_as_they_should(spark: SparkSession) -> None:
    from equipoise.interests.table import user_interests

    predicted = spark.createDataFrame([("u", [0.5, 0.25, 0.25], [0.75, 0.5, 0.125])], PREDICTIONS)
    observed = spark.createDataFrame([("u", "milk", 15.0, 0.75), ("u", "old", 5.0, 0.25)], OBSERVED)
    seen = spark.createDataFrame([("u", "milk"), ("u", "tea")], SEEN)
    rows = user_interests(predicted, observed, seen, categories=["bread", "milk", "tea"], top_predicted=3, evidence_half=60.0)
    reasons = {r.category: r.reason for r in rows.collect()}
    trust = "own behaviour counts 25.00 %"
    unseen, known = f"{trust}; unseen: no purchase, cart, click or rate so far", f"{trust}; known to the user"
    own = "own behaviour 75.00 % (weight 15.00 of 20.00)"
    assert reasons == {
        "bread": f"no own behaviour; model expects 50.00 % and a visit with 75.00 %; {unseen}",
        "milk": f"{own}; model expects 25.00 % and a visit with 50.00 %; {known}",
        "old": f"own behaviour 25.00 % (weight 5.00 of 20.00); the model does not know this category; {unseen}",
        "tea": f"no own behaviour; model expects 25.00 % and a visit with 12.50 %; {known}",
    }


def test_unseen_by_a_hand_table(spark: SparkSession) -> None:
    from equipoise.interests.observed import seen_categories

    day = date(2017, 11, 5)
    rows = [
        ("u", day, "bought", "purchase", 1.0),
        ("u", day, "carted", "cart", 1.0),
        ("u", day, "clicked", "click", 1.0),
        ("u", day, "rated", "rate", 1.0),
        ("u", date(2016, 1, 1), "bought", "purchase", 2.0),  # twice, still one row
        ("u", day, "viewed", "view", 9.0),  # looking is not knowing
        ("u", day, "favoured", "favourite", 1.0),
        ("u", day, "(none)", "click", 1.0),  # no category at all
        ("u", AS_OF, "today", "purchase", 1.0),  # at as_of, so not before it
        ("u", date(2017, 12, 1), "later", "purchase", 1.0),
        ("v", day, "viewed", "purchase", 0.5),  # another user; half an item is enough
    ]
    got = seen_categories(spark.createDataFrame(rows, DAILY), as_of=AS_OF).collect()
    assert sorted((r.user_id, r.category) for r in got) == [
        ("u", "bought"),
        ("u", "carted"),
        ("u", "clicked"),
        ("u", "rated"),
        ("v", "viewed"),
    ]


def test_a_category_only_looked_at_is_unseen_and_observed(spark: SparkSession) -> None:
    """It is on the list of what exploration draws from although its observed share is not 0."""
    from equipoise.interests.table import user_interests

    predicted = spark.createDataFrame([("u", [0.6, 0.3, 0.1], [0.5, 0.5, 0.5])], PREDICTIONS)
    observed = spark.createDataFrame([("u", "viewed", 0.5, 1.0)], OBSERVED)
    seen = spark.createDataFrame([("u", "bought")], SEEN)
    out = user_interests(predicted, observed, seen, categories=["bought", "viewed", "new"], top_predicted=1, evidence_half=20.0)
    rows = {r.category: r for r in out.collect()}
    assert set(rows) == {"bought", "viewed"}  # top 1 by prediction, and viewed is the top 1 of the unseen (new is second)
    assert rows["viewed"].observed_share == 1.0
    assert "unseen" in rows["viewed"].reason
    assert "known to the user" in rows["bought"].reason


def capped(shares: list[float], most: float) -> list[float]:
    """Cut, deal out in proportion, and again until nothing stands above the cap."""
    cap, out = max(most, 1 / len(shares)), list(shares)
    fixed: set[int] = set()
    while above := [i for i, s in enumerate(out) if i not in fixed and s > cap + 1e-12]:
        fixed |= set(above)
        rest = sum(shares[i] for i in range(len(shares)) if i not in fixed)
        left = 1 - cap * len(fixed)
        out = [cap if i in fixed else shares[i] * left / rest for i in range(len(shares))]
    return out


@pytest.mark.parametrize("most", [0.5, 0.3, 0.12, 0.02])
def test_no_target_share_stands_above_the_cap(spark: SparkSession, most: float) -> None:
    from equipoise.interests.table import user_interests

    rng = np.random.default_rng(7)
    names = [f"c{i}" for i in range(9)]
    users = {f"u{i}": rng.dirichlet(np.full(9, 0.3)).astype(np.float32).tolist() for i in range(12)}
    users["flat"] = [1 / 9] * 9
    predicted = spark.createDataFrame([(u, p, p) for u, p in users.items()], PREDICTIONS)
    nobody = spark.createDataFrame([], OBSERVED), spark.createDataFrame([], SEEN)
    arguments = {"categories": names, "top_predicted": 9, "evidence_half": 20.0}
    plain = user_interests(predicted, *nobody, **arguments).toPandas()
    cut = user_interests(predicted, *nobody, **arguments, most_target_share=most).toPandas()
    changed = 0
    for user, before in plain.groupby("user_id"):
        before = before.sort_values("category")
        after = cut[cut["user_id"] == user].sort_values("category")
        expected = capped(before["target_share"].tolist(), most)
        np.testing.assert_allclose(after["target_share"], expected, atol=1e-9)
        assert after["target_share"].sum() == pytest.approx(1.0)
        assert after.sort_values("rank")["target_share"].is_monotonic_decreasing
        changed += not np.allclose(before["target_share"], after["target_share"])
    assert changed >= 3
