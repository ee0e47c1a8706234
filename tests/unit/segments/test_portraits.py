"""Portraits: what sets a segment apart, and names that are unique, made of its own numbers, and said plainly."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from equipoise.segments.portraits import FEATURES, PHRASES, Portrait, described


def counted(users: pd.DataFrame, likes: dict[str, dict[str, float]] | None = None) -> list[Portrait]:
    """Portraits of users with segmentation, segment, spend and FEATURES; likes: segment → category → summed share."""
    x = users[list(FEATURES)].astype(float)
    logs = np.log1p(x.clip(lower=0))
    once = users["segmentation"] == users["segmentation"].iloc[0]
    whole = {f"mean_{f}": x[once][f].mean() for f in FEATURES} | {f"log_{f}": logs[once][f].mean() for f in FEATURES}
    whole |= {f"sd_{f}": logs[once][f].std(ddof=0) for f in FEATURES}
    rows = []
    for (segmentation, segment), part in users.groupby(["segmentation", "segment"], sort=True):
        means = {f"mean_{f}": x.loc[part.index, f].mean() for f in FEATURES}
        means |= {f"log_{f}": logs.loc[part.index, f].mean() for f in FEATURES}
        spend = part["spend"].sum(min_count=1)
        rows.append(
            {
                "segmentation": segmentation,
                "segment": segment,
                "users": len(part),
                "spend": spend,
                "p_buy": 0.5,
                "churn": None,
                **means,
            }
        )
    shares = [
        {"segmentation": r["segmentation"], "segment": r["segment"], "category": c, "share": v}
        for r in rows
        for c, v in (likes or {}).get(str(r["segment"]), {}).items()
    ]
    frame = pd.DataFrame(shares, columns=["segmentation", "segment", "category", "share"])
    base = frame.groupby("category", as_index=False)["share"].sum()
    return described(pd.DataFrame(rows), whole, frame, base)


def people(number: int, segmentation: str = "kmeans_cluster", seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({f: rng.gamma(2, 10, number) for f in FEATURES})
    return frame.assign(
        segmentation=segmentation, segment=[str(1 + i % 3) for i in range(number)], spend=rng.gamma(1, 50, number)
    )


def test_a_planted_trait_is_the_first_and_gives_the_name() -> None:
    frame = people(300)
    frame.loc[frame["segment"] == "2", "trips_112d"] *= 6
    frame.loc[frame["segment"] == "3", "spend_112d"] /= 9
    one, two, three = counted(frame)
    assert two.features[0].feature == "trips_112d"
    assert two.name.startswith("frequent")
    assert three.name.startswith("small-spending")
    trips = np.log1p(frame["trips_112d"])
    assert two.features[0].effect == pytest.approx((trips[frame["segment"] == "2"].mean() - trips.mean()) / trips.std(ddof=0))
    assert "trips_112d" in two.description
    assert f"{frame.loc[frame['segment'] == '2', 'trips_112d'].mean():.1f}" in two.description
    assert sum(p.users for p in (one, two, three)) == 300
    assert sum(p.spend_share or 0.0 for p in (one, two, three)) == pytest.approx(1.0)


def test_a_named_trait_tells_a_segment_apart_better_than_any_other_feature_does() -> None:
    frame = people(600, seed=4)
    frame.loc[frame["segment"] == "1", "recency_days"] += 40
    frame.loc[frame["segment"] == "2", "categories_112d"] /= 4
    for portrait in counted(frame):
        member = (frame["segment"] == portrait.segment).to_numpy()
        apart = {f: abs(roc_auc_score(member, frame[f]) - 0.5) for f in FEATURES}
        first, rest = portrait.features[0].feature, [t.feature for t in portrait.features[1:]]
        if abs(portrait.features[0].effect) >= 0.5:
            assert apart[first] > max(apart[f] for f in rest), "without the named one the segment is told worse"


def test_names_are_unique_and_say_when_nothing_is_apart() -> None:
    frame = people(90)
    frame[list(FEATURES)] = 3.0
    found = counted(frame)
    assert [p.name for p in found] == ["average users (1)", "average users (2)", "average users (3)"]
    whole = counted(frame.assign(segment="1"))
    assert [p.name for p in whole] == ["average users"]
    assert whole[0].user_share == 1.0
    assert all(t.effect == 0.0 for t in whole[0].features)


def test_phrases_with_a_preposition_stand_behind_the_noun() -> None:
    frame = people(300)
    mine = frame["segment"] == "2"
    frame.loc[mine, "categories_112d"] /= 30
    frame.loc[mine, "spend_112d"] /= 20
    assert counted(frame)[1].name == "small-spending users of few categories"
    assert set(PHRASES) <= set(FEATURES)


def test_interest_groups_are_called_by_what_they_like_more_than_others() -> None:
    likes = {"1": {"MILK": 30.0, "BABY FOODS": 20.0}, "2": {"MILK": 30.0, "CAT FOOD": 20.0}, "3": {"MILK": 30.0, "BEER": 0.01}}
    found = counted(people(30, "interest_group"), likes)
    assert found[0].name.startswith("baby foods")
    assert found[1].name.startswith("cat food")
    assert found[0].categories[0].category == "BABY FOODS"
    share, usual = 20 / 50, 20 / 130.01
    assert found[0].categories[0].lift == pytest.approx((share + 0.005) / (usual + 0.005))
    assert "baby foods × " in found[0].description


def test_without_amounts_and_with_refunds_there_are_numbers_or_nulls() -> None:
    frame = people(30).assign(spend=np.nan)
    assert all(p.expected_spend is None and p.spend_share is None for p in counted(frame))
    assert "of expected spend" not in counted(frame)[0].description
    frame["spend_28d"] = -4.0
    assert all(np.isfinite(t.effect) for p in counted(frame) for t in p.features)
    nothing = counted(people(30).assign(spend=0.0))
    assert all(p.expected_spend == 0.0 and p.spend_share is None for p in nothing)
