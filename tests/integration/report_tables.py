"""A small invented night, written through the store: enough rows that every section of the report has something to say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from equipoise.feedback.table import from_counts
from equipoise.recommend.candidates import TOLD
from equipoise.store import Store
from equipoise.store.ledger import Entry
from equipoise.tables import CATALOGUE
from equipoise.tables.feature import H_FEATURES
from equipoise.tables.vocabulary import EVENT_TYPES, SEGMENTS

AS_OF = date(2017, 11, 6)
MODEL = "3f9a27c1d0b84e55"
CATEGORIES = (
    "SOFT DRINKS",
    "FLUID MILK PRODUCTS",
    "BEEF",
    "CHEESE",
    "FROZEN PIZZA",
    "BAG SNACKS",
    "BAKED BREAD/BUNS/ROLLS",
    "YOGURT",
    "LUNCHMEAT",
    "TROPICAL FRUIT",
    "VEGETABLES - SHELF STABLE",
    "COLD CEREAL",
    "ICE CREAM/MILK/SHERBTS",
    "EGGS",
    "SALAD MIX",
    "CANDY - PACKAGED",
    "BABY FOODS",
    "DOG FOODS",
    "GREETING CARDS",
    "UNKNOWN",
)
RFM = ("Champions", "Loyal", "Potential", "At risk", "Lost")
Records = list[dict[str, Any]]
METHODS = ("fine-tuned", "frozen encoder", "ema_dirichlet", "ema_popularity", "population")


@dataclass(frozen=True)
class Sizes:
    """How much to invent."""

    users: int = 30
    windows: int = 4
    items: int = 60
    places: int = 6
    explore: int = 2


def write_night(
    store: Store, spark: Any, sizes: Sizes = Sizes(), seed: int = 1, *, model: str = MODEL, evaluation: bool = True
) -> None:
    """Every table that the report reads, for AS_OF."""
    rng = np.random.default_rng(seed)
    users = [f"{rng.integers(0, 16**8):08x}{i:024x}" for i in range(sizes.users)]
    tastes = rng.dirichlet(0.25 + 6.0 / (1 + np.arange(len(CATEGORIES))), sizes.users)
    frames = {
        "silver.items": _items(sizes),
        "silver.events": _events(users, sizes, rng),
        "feature.category_shares": _windows(users, tastes, sizes, rng),
        "feature.user_profile": _profiles(users, rng),
        "gold.user_interests": _interests(users, tastes, rng),
        "gold.user_segments": _segments(users, rng),
        "gold.user_category_values": _category_values(users),
        "gold.segment_transitions": _segment_moves(),
        "gold.segment_profiles": _portraits(sizes),
        "gold.interest_migration": _moves(users, sizes, rng),
        "gold.category_transitions": _flows(tastes, rng),
        "gold.user_profiles": _people(users),
        "gold.audiences": _audience(users),
        "gold.audience_summary": _audiences(),
        "gold.exploration_response": _responses(rng),
        "gold.exploration_budgets": _budgets(users),
        "gold.user_item_values": _values(users, sizes),
        "gold.policy_estimates": _policies(),
        "gold.balance": _balance(),
        "gold.rule_effects": _rule_effects(users),
        "gold.item_rules": _item_rules(),
        "gold.recommendations": _lists(users, tastes, sizes, rng),
        "gold.evaluation": _evaluation(rng) if evaluation else [],
        "ops.monitors": _monitors(),
        "ops.feedback": _feedback(users),
    }
    slice_of = {"as_of": AS_OF, "source": "invented", "settled_by": AS_OF}
    for name, records in frames.items():
        table = CATALOGUE[name]
        of_model = None if name in ("gold.interest_migration", "gold.item_rules") else model
        stamps = {**slice_of, "run_id": f"run-{name}", "model_id": of_model, "synthetic": False}
        rows = [tuple((stamps | record)[c] for c in table.column_names) for record in records]
        frame = spark.createDataFrame(rows, table.struct_type())
        store.replace(frame, name, {k: slice_of[k] for k in table.slice_by}, fingerprint=f"{name}{seed}{model}", job="test")
    write_ops(store, spark)


def _responses(rng: np.random.Generator) -> list[dict[str, Any]]:
    names = ["(all)", *CATEGORIES]
    expected = rng.uniform(1.0, 30.0, size=(4, len(names)))
    counts = pd.DataFrame(
        [
            (segment, c, int(10 * e), e, int(rng.poisson(1.5 * e)))
            for segment, row in zip(("O", "interest", "buy"), expected[1:, 1:], strict=True)
            for c, e in zip(CATEGORIES, row, strict=True)
        ],
        columns=["segment", "category", "trials", "expected", "responses"],
    )
    return [{str(k): v for k, v in r.items()} for r in from_counts(counts, 10.0).to_dict("records")]


def _feedback(users: list[str]) -> list[dict[str, Any]]:
    at = datetime(2017, 10, 2, 12, tzinfo=UTC)
    told = {"item_id": "item-0001", "category": CATEGORIES[0], "shown_ts": at}
    return [
        told
        | {"exposure_id": f"{n:032x}", "user_id": u, "rank": n % 10 + 1, "slot": "explore" if n % 10 > 7 else "exploit"}
        | {"reason_code": "unseen_category" if n % 10 > 7 else "bought_before"}
        | {"propensity": 0.3 if n % 10 > 7 else 1.0, "expected_response": 0.1 if n % 10 > 7 else None, "responded": n % 3 == 0}
        | {"outcome": ("buy", "look", "ignore")[n % 3], "outcome_ts": at if n % 3 < 2 else None}
        for n, u in enumerate(users)
    ]


def _monitors() -> Records:
    """Two weeks of volume, the last day too small; and a job that took its time."""
    ends = {"usual": 1000.0, "warn_low": 700.0, "warn_high": 1400.0, "fail_low": 500.0, "fail_high": 2000.0}
    told: Records = []
    for n in range(14, 0, -1):
        value, status = (400.0, "fail") if n == 1 else (1000.0 + 10 * n, "ok")
        seen = {"day": AS_OF - timedelta(days=n), "value": value, "status": status, "message": f"{value:,.0f} events"}
        told += [ends | seen | {"monitor": m, "subject": "all", "asks_training": False} for m in ("volume", "category_mix")]
    none = dict.fromkeys(ends)
    last = {"day": AS_OF - timedelta(days=1), "status": "unknown", "message": "no earlier runs", "asks_training": False}
    return [*told, none | last | {"monitor": "duration", "subject": "score_users", "value": 12.0}]


def _policies() -> list[dict[str, Any]]:
    """The published draw brings less than the others."""
    told = {"lists": 400, "places": 790}
    values = {"share": 0.02, "thompson": 0.04, "ucb": 0.05}
    return [
        told
        | {"draw": d, "estimator": e, "published": d == "share", "value": v, "ci_low": 0.8 * v, "ci_high": 1.2 * v}
        | {"effective_places": None if e == "logged" else 300.0, "unsupported": None if e == "logged" else 0.1}
        for d, own in values.items()
        for e, v in {"logged": 0.02, "ips": own, "snips": own, "dr": own}.items()
    ]


def _balance() -> list[dict[str, Any]]:
    told = {"users": 300, "expected_dcg": 1.0}
    return [
        told | {"calibration": n / 10, "accuracy_loss": 0.1 * (n / 10) ** 2, "kl_bits": 4.0 - n / 5, "chosen": n == 3}
        for n in range(10)
    ]


def _rule_effects(users: list[str]) -> list[dict[str, Any]]:
    """Two rules: one took two places from every third user, one a place from the first."""
    told = {"slot": "exploit", "p_next_trip": 0.3}
    rows = [(u, f"x{r}", r, "never_brands", "OLD MILL") for u in users[::3] for r in (1, 3)] + [
        (users[0], "y", 2, "gave_way", None)
    ]
    return [told | dict(zip(("user_id", "item_id", "rank", "rule", "rule_key"), row, strict=True)) for row in rows]


def _item_rules() -> list[dict[str, Any]]:
    """On either level two things that are in 100 of 400 baskets each, 60 of them the same; and a third from both."""
    a, b, c = CATEGORIES[:3]
    told = {"baskets": 400, "baskets_consequent": 100, "p_adjusted": 1e-9}
    pair = {"baskets_antecedent": 100, "baskets_both": 60, "support": 0.15, "confidence": 0.6, "lift": 2.4, "leverage": 0.0875}
    both = {"baskets_antecedent": 60, "baskets_both": 30, "support": 0.075, "confidence": 0.5, "lift": 2.0, "leverage": 0.0375}
    rules = [
        ([a], b, pair | {"conviction": 1.875}),
        ([b], a, pair | {"conviction": 1.875}),
        ([a, b], c, both | {"conviction": 1.5}),
    ]
    return [
        told | {"level": level, "antecedent": sorted(x), "consequent": y} | numbers
        for level in ("product_type", "category")
        for x, y, numbers in rules
    ]


def _budgets(users: list[str]) -> list[dict[str, Any]]:
    told = {"segment": "buy", "entropy_bits": 2.0, "evidence": 9.0, "trials": 4, "expected": 0.5, "responses": 1}
    return [{"user_id": u, **told, "ratio": 1.1, "factor": 1.0, "slots": 1 + n % 3} for n, u in enumerate(users)]


def write_ops(store: Store, spark: Any) -> None:
    """Ledger of a night and the ingest's quality metrics: 1,000 rows in, 3 set aside."""
    seconds = {
        "ingest_events": 41,
        "build_features": 55,
        "finetune_encoder": 128,
        "score_users": 47,
        "segment_users": 12,
        "track_migration": 14,
        "collect_feedback": 9,
        "recommend_items": 33,
    }
    at = datetime(2026, 11, 1, 3, 0, tzinfo=UTC)
    entries = []
    for job, took in seconds.items():
        as_of = None if job == "ingest_events" else AS_OF
        end = at + timedelta(seconds=took)
        rows_out = {f"gold.{job}": 1000}
        entries.append(Entry(f"run-{job}", 1, job, as_of, "0" * 64, "c0de", {}, {}, rows_out, at, end, "done", None))
        at = end
    frame = spark.createDataFrame([tuple(vars(e).values()) for e in entries], CATALOGUE["ops.runs"].struct_type())
    store.append(frame, "ops.runs", fingerprint="ledger", job="test")
    metrics = [
        ("transactions", "rows_in", 1000.0, "ok"),
        ("transactions", "rows_good", 997.0, "ok"),
        ("transactions", "rows_quarantined", 3.0, "warn"),
    ]
    metrics += [
        ("transactions", f"rule:{r}", v, s)
        for r, v, s in (
            ("duplicate", 2.0, "fail"),
            ("time_missing", 1.0, "fail"),
            ("quantity_outlier", 17.0, "warn"),
            ("user_missing", 0.0, "ok"),
        )
    ]
    rows = [("run-ingest_events", *m) for m in metrics]
    store.append(
        spark.createDataFrame(rows, CATALOGUE["ops.quality_metrics"].struct_type()),
        "ops.quality_metrics",
        fingerprint="metrics",
        job="test",
    )


def _items(sizes: Sizes) -> Records:
    names = [CATEGORIES[i % len(CATEGORIES)] for i in range(sizes.items)]
    rows = [
        {
            "item_id": f"i{i}",
            "title": f"{c.title()} no. {i}",
            "category_1": "GROCERY",
            "category_2": c,
            "category_3": c,
            "brand": None,
            "text": c.lower(),
        }
        for i, c in enumerate(names)
    ]
    return rows


def _events(users: list[str], sizes: Sizes, rng: np.random.Generator) -> Records:
    rows = []
    for i, user in enumerate(users):
        for k in range(4):
            day = AS_OF - timedelta(days=int(rng.integers(-20, 280)))
            rows.append(
                {
                    "event_id": f"e{i}-{k}",
                    "user_id": user,
                    "item_id": f"i{rng.integers(sizes.items)}",
                    "event_type": "purchase" if k else "redeem",
                    "event_ts": datetime(day.year, day.month, day.day, 12, tzinfo=UTC),
                    "event_date": day,
                    "quantity": 1.0,
                    "amount": 2.5,
                    **dict.fromkeys(("dwell_ms", "basket_id", "campaign_id", "store_id", "channel", "rating", "text")),
                }
            )
    return rows


def _windows(users: list[str], tastes: np.ndarray, sizes: Sizes, rng: np.random.Generator) -> Records:
    rows = []
    drift = rng.normal(0, 0.35, (sizes.windows, len(CATEGORIES))).cumsum(axis=0)
    for w in range(sizes.windows):
        end = AS_OF - timedelta(days=28 * (sizes.windows - 1 - w))
        for user, taste in zip(users, tastes, strict=True):
            mean = taste * np.exp(drift[w]) + 1e-6
            counts = rng.multinomial(25, mean / mean.sum())
            share = counts / counts.sum()
            rows += [
                {
                    "user_id": user,
                    "window_end": end,
                    "window_days": 28,
                    "category": CATEGORIES[c],
                    "weight": float(counts[c]),
                    "share": float(share[c]),
                    "events": float(counts[c]),
                    "closed": True,
                }
                for c in np.flatnonzero(counts)
            ]
    return rows


def _profiles(users: list[str], rng: np.random.Generator) -> Records:
    rows = []
    for user in users:
        features = {name: float(rng.integers(1, 90)) for name, _ in H_FEATURES}
        rows.append({"user_id": user, **features, "monetary": 100.0, **{f"n_{t}": 1 for t in EVENT_TYPES}})
    return rows


def _interests(users: list[str], tastes: np.ndarray, rng: np.random.Generator) -> Records:
    rows = []
    for user, taste in zip(users, tastes, strict=True):
        evidence_total = float(rng.lognormal(3.0, 1.4))
        seen = rng.random(len(CATEGORIES)) < 0.55
        observed = np.where(seen, taste, 0.0) / max(taste[seen].sum(), 1e-9)
        predicted = rng.dirichlet(0.2 + 20 * taste)
        trust = evidence_total / (evidence_total + 20.0)
        target = trust * observed + (1 - trust) * predicted
        target = target / target.sum()
        order = np.argsort(-target, kind="stable")
        rank = np.empty(len(order), dtype=int)
        rank[order] = np.arange(1, len(order) + 1)
        rows += [
            {
                "user_id": user,
                "category": CATEGORIES[c],
                "rank": int(rank[c]),
                "observed_share": float(observed[c]),
                "predicted_share": float(predicted[c]),
                "visit_probability": float(np.sqrt(predicted[c])),
                "is_predicted_top": bool(c == predicted.argmax()),
                "target_share": float(target[c]),
                "evidence": evidence_total * float(observed[c]),
                "reason": "own behaviour and model",
            }
            for c in range(len(CATEGORIES))
        ]
    return rows


def _segments(users: list[str], rng: np.random.Generator) -> Records:
    p = rng.dirichlet((0.6, 0.9, 1.1), len(users))
    spend = 40 * p[:, 1] + 260 * p[:, 2] * rng.lognormal(0, 0.5, len(users))
    tier = 1 + np.argsort(np.argsort(spend, kind="stable"), kind="stable") * 5 // len(users)
    return [
        {
            "user_id": user,
            "segment": SEGMENTS[int(p[i].argmax())],
            "p_o": float(p[i, 0]),
            "p_interest": float(p[i, 1]),
            "p_buy": float(1 - p[i, 0] - p[i, 1]),
            "horizon_days": 28,
            "expected_spend": float(spend[i]),
            "value_tier": int(tier[i]),
            "value_model": "behaviour",
            "buy_threshold": 120.0,
            "churn_risk": float(p[i, 0]) / 2,
            "drivers": [{"driver": "trips", "log_odds": 0.7}],
            "rfm_cell": "5-4-5",
            "rfm_segment": RFM[min(int((1 - p[i, 2]) * 5), 4)],
            "kmeans_cluster": int(rng.integers(1, 6)),
            "interest_group": int(rng.integers(1, 4)),
            "reason": "recency and money",
        }
        for i, user in enumerate(users)
    ]


def _segment_moves() -> Records:
    said = {"previous_as_of": AS_OF - timedelta(days=28), "retold": True}
    flows = [
        ("segment", "O", "O", 30, 50.0, 40.0),
        ("segment", "O", "buy", 5, 20.0, 400.0),
        ("segment", "buy", "buy", 20, 4000.0, 3900.0),
        ("value_tier", "4", "5", 6, 100.0, 180.0),
        ("interest_group", "1", "2", 9, 100.0, 120.0),
        ("interest_group", "(new)", "1", 2, None, 30.0),
    ]
    names = ("segmentation", "from_segment", "to_segment", "users", "previous_spend", "spend")
    rows = [{**said, **dict(zip(names, flow, strict=True))} for flow in flows]
    return [{**r, "value_change": (r["spend"] or 0.0) - (r["previous_spend"] or 0.0)} for r in rows]


def _people(users: list[str]) -> Records:
    """As many nulls as the table allows."""
    columns = CATALOGUE["gold.user_profiles"].columns
    usual = {"STRING": "made", "INT": 3, "BIGINT": 3, "DOUBLE": 0.5, "BOOLEAN": False}
    said = {c.name: None if c.nullable else usual.get(c.type, []) for c in columns} | {"attributes": {}, "segment": "O"}
    stamps = ("as_of", "run_id", "model_id", "synthetic")
    return [{k: v for k, v in said.items() if k not in stamps} | {"user_id": user} for user in users]


def _audience(users: list[str]) -> Records:
    said = {
        "audience_id": "spring",
        "p_response": 0.2,
        "expected_value": 2.0,
        "cost": 0.5,
        "expected_profit": 1.5,
        "reason": "made",
    }
    rows = [{**said, "user_id": user, "rank": n} for n, user in enumerate(users[:9], start=1)]
    return [*rows, {**said, "audience_id": "summer", "user_id": users[0], "rank": 1}]


def _audiences() -> Records:
    curve = [{"share": (n + 1) / 10, "users": 10 * (n + 1), "profit": 40.0 * n - 4.0 * n * n} for n in range(10)]
    empty = {"eligible": 0, "left_out": {}, "reach": 0, "cost": 0.0, "expected_responses": 0.0, "expected_value": 0.0}
    empty |= {"expected_profit": 0.0, "learnt_from": None, "propensity_auc": None, "seed_found": None}
    full = {
        "eligible": 100,
        "left_out": {"segment": 7},
        "reach": 9,
        "cost": 4.5,
        "expected_responses": 1.8,
        "expected_value": 18.0,
    }
    full |= {"expected_profit": 13.5, "curve": curve, "learnt_from": 400, "propensity_auc": 0.9, "seed_found": None}
    return [
        {"audience_id": "spring", "goal": "respond", "status": "ok", "message": "9 of 100 users", **full},
        {"audience_id": "winter", "goal": "spend", "status": "no eligible user", "message": "nobody", "curve": [], **empty},
    ]


def _portraits(sizes: Sizes) -> Records:
    trait = {"feature": "trips_112d", "mean": 9.0, "population_mean": 4.0, "effect": 1.2}
    liked = {"category": CATEGORIES[0], "share": 0.3, "population_share": 0.1, "lift": 2.9}
    said = {"features": [trait], "categories": [liked], "p_buy": 0.4, "churn_risk": 0.1, "description": "made"}
    groups = [("interest_group", str(g), f"group of {CATEGORIES[g].lower()}", 3.0 * g) for g in (1, 2, 3)]
    return [
        {"segmentation": s, "segment": n, "name": name, "users": sizes.users // 3, "user_share": 1 / 3, "expected_spend": v,
         "spend_share": v / 18.0, **said}
        for s, n, name, v in groups
    ]  # fmt: skip


def _category_values(users: list[str]) -> Records:
    said = {"category": CATEGORIES[0], "horizon_days": 28, "segment": "O", "p_o": 0.6, "p_interest": 0.1, "p_buy": 0.3}
    return [{"user_id": user, **said} for user in users]


def _moves(users: list[str], sizes: Sizes, rng: np.random.Generator) -> Records:
    rows: Records = []
    for user in users:
        for w in range(sizes.windows):
            end = AS_OF - timedelta(days=28 * (sizes.windows - 1 - w))
            told = w > 0 and rng.random() < 0.9
            drift, noise = float(rng.beta(5, 5)), float(rng.beta(20, 20))
            lists = [[CATEGORIES[i]] if rng.random() < 0.1 else [] for i in rng.choice(len(CATEGORIES), 3, replace=False)]
            rows.append(
                {
                    "user_id": user,
                    "window_start": end - timedelta(days=28),
                    "window_end": end,
                    "days": 7,
                    "previous_start": end - timedelta(days=56) if w else None,
                    "previous_days": 7 if w else None,
                    "drift_js_bits": drift if w else None,
                    "noise_mean_bits": noise if told else None,
                    "noise_p95_bits": noise + 0.1 if told else None,
                    "migrated": drift > noise + 0.1 if told else None,
                    "change_point": w == 2 and user < "8" if w else None,
                    **dict(zip(("gained", "lost", "returning"), lists, strict=True)),
                }
            )
    return rows


def _flows(tastes: np.ndarray, rng: np.random.Generator) -> Records:
    share = tastes.mean(axis=0)
    rows: Records = []
    for segment in ("all", *SEGMENTS):
        for i, name in enumerate(CATEGORIES):
            p = 0.3 * np.eye(len(CATEGORIES))[i] + 0.7 * rng.dirichlet(100 * share)
            rows += [
                {
                    "segment": segment,
                    "from_category": name,
                    "to_category": CATEGORIES[j],
                    "probability": float(p[j]),
                    "population_share": float(share[j]),
                    "users": int(rng.integers(1, 30)),
                }
                for j in range(len(CATEGORIES))
            ]
    return rows


def _values(users: list[str], sizes: Sizes) -> Records:
    facts = {"horizon_days": 28, "segment": "O", "p_o": 0.9, "p_interest": 0.0, "p_buy": 0.1, "p_next_trip": 0.05}
    facts |= dict.fromkeys(TOLD)
    counts = {"source": "history", "sources": ["history"], "known_events": 1, "purchases": 1, "events": 1}
    return [{"user_id": user, "item_id": f"i{item}", **facts, **counts} for user in users for item in range(sizes.places)]


def _lists(users: list[str], tastes: np.ndarray, sizes: Sizes, rng: np.random.Generator) -> Records:
    rows = []
    for user, taste in zip(users, tastes, strict=True):
        items = rng.choice(sizes.items, sizes.places, replace=False, p=_item_weights(taste, sizes))
        for k, item in enumerate(items):
            explore = k >= sizes.places - sizes.explore
            category = CATEGORIES[item % len(CATEGORIES)]
            code = (
                "unseen_category" if explore else ("bought_before", "popular_in_category", "similar_text")[int(rng.integers(3))]
            )
            rows.append(
                {
                    "user_id": user,
                    "rank": k + 1,
                    "item_id": f"i{item}",
                    "category": category,
                    "slot": "explore" if explore else "exploit",
                    "score": 1.0 / (k + 1),
                    "relevance": 0.5,
                    "propensity": float(np.clip(rng.lognormal(-3, 0.8), 0.002, 1)) if explore else 1.0,
                    "expected_response": 0.08 if explore else None,
                    "source": "explore" if explore else "history",
                    "reason_code": code,
                    "reason_key": category,
                    "reason_value": 0.3,
                    "reason": f"{category.lower()} is new to you" if explore else "bought 3 times, last 5 days ago",
                }
            )
    return rows


def _item_weights(taste: np.ndarray, sizes: Sizes) -> np.ndarray:
    weights = np.array([taste[i % len(CATEGORIES)] + 1e-4 for i in range(sizes.items)])
    return weights / weights.sum()


def _evaluation(rng: np.random.Generator) -> Records:
    rows: list[dict[str, Any]] = []

    def add(
        task: str,
        method: str,
        metric: str,
        cutoff: int,
        value: float,
        width: float,
        group: str = "all",
        n: int = 2400,
        seeds: int | None = None,
    ) -> None:
        rows.append(
            {
                "task": task,
                "method": method,
                "metric": metric,
                "cutoff": cutoff,
                "split": "test",
                "origin": "2017-11-06",
                "user_group": group,
                "value": float(value),
                "ci_low": float(value - width),
                "ci_high": float(value + width),
                "n": n,
                "seeds": seeds,
                "resampled": None,
                "draws": None,
            }
        )

    bases = {
        "interests": {("kl_bits", 0): 2.1, ("ndcg", 10): 0.59, ("js_bits", 0): 0.43, ("log_loss", 0): 4.1},
        "value": {("auc", 0): 0.86, ("ap", 0): 0.55, ("ngini", 0): 0.78, ("brier", 0): 0.1},
        "items": {("ndcg", 10): 0.21, ("recall", 10): 0.16, ("recall_explore", 10): 0.01, ("ndcg_full", 10): 0.17},
    }
    for task, metrics in bases.items():
        for (metric, cutoff), base in metrics.items():
            for i, method in enumerate(METHODS):
                better = -1 if metric in ("kl_bits", "js_bits", "log_loss", "brier") else 1
                value = base * (1 - better * 0.03 * (i - 1) + float(rng.normal(0, 0.004)))
                add(task, method, metric, cutoff, value, 0.012 * base, seeds=1 if i < 2 else None)
                if method != METHODS[2]:
                    add(
                        task,
                        method,
                        f"{metric}_minus_{METHODS[2]}",
                        cutoff,
                        better * 0.03 * base * (1 - i),
                        0.008 * base,
                        seeds=1 if i < 2 else None,
                    )
                for g, n in (
                    ("age=19-24", 60),
                    ("age=25-34", 240),
                    ("age=35-44", 310),
                    ("age=45-54", 420),
                    ("income=50-74K", 300),
                    ("income=150K+", 85),
                ):
                    add(
                        task,
                        method,
                        metric,
                        cutoff,
                        value * (1 + float(rng.normal(0, 0.03))),
                        0.6 * base / np.sqrt(n),
                        g,
                        n,
                        1 if i < 2 else None,
                    )
    for weight in (0.0, 0.1, 0.3, 0.5, 0.7, 0.9):
        for slots in (0, 2):
            name = f"calibrated λ={weight:g} slots={slots}"
            add("balance", name, "ndcg", 10, 0.22 - 0.05 * weight**2 - 0.006 * slots, 0.006, seeds=1)
            add("balance", name, "kl_bits", 10, 0.8 * float(np.exp(-2.2 * weight)) + 0.03 * slots, 0.02, seeds=1)
            add("balance", name, "recall_explore", 10, 0.0005 + 0.005 * slots, 0.001, seeds=1)
    return rows
