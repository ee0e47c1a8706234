"""gold.policy_estimates on Spark against the library on the same rows gathered by plain loops; what is left out, and why."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from equipoise.feedback.offpolicy import Logged, doubly_robust, ips, logged_mean, snips
from equipoise.recommend.block import parse
from equipoise.recommend.estimates import DRAWS, ESTIMATES, KEPT, estimates, fates, settled_places, tonights_chances
from equipoise.recommend.explore import Exploring, chances, ratios
from equipoise.recommend.table import recommendations, rows_for_blocks
from equipoise.tables import CATALOGUE
from tests.integration.recommend_world import AS_OF, POPULARITY, policy, rows_of, shop, values_of
from tests.integration.test_recommend import on_spark

LISTS = (date(2017, 9, 11), date(2017, 9, 18))
FEEDBACK = (
    "exposure_id string, as_of date, user_id string, item_id string, category string, slot string, propensity double, "
    "reason_code string, expected_response double, shown_ts timestamp, responded boolean, settled_by date"
)
LISTED = "as_of date, user_id string, item_id string, slot string, reason_code string, reason_value double"
Row = dict[str, Any]


def listed_then() -> list[Row]:
    """Three explored places of each user on two nights (the last of every third user's is the least known), and one that is
    not explored; categories that the user knows tonight are among them, as after an answer. One user is gone since."""
    rng = np.random.default_rng(5)
    names = [f"c{n}" for n in range(9)]
    out: list[Row] = []
    for day in LISTS:
        for n, user in enumerate([*sorted(shop().user_vectors), "gone"]):
            out.append({"as_of": day, "user_id": user, "item_id": "x9", "category": "c0", "slot": "exploit", "propensity": 1.0})
            out[-1] |= {"reason_code": "bought_before", "reason_value": 1.0, "expected_response": None}
            for m, c in enumerate(rng.permutation(names)[:3]):
                reason = "least_known" if m == 2 and n % 3 == 0 else "unseen_category"
                told = {"as_of": day, "user_id": user, "item_id": f"x{m}", "category": str(c), "slot": "explore"}
                told |= {"propensity": float(rng.uniform(0.1, 1.0)), "reason_code": reason}
                guess = float(rng.uniform(0.05, 0.6)) if rng.random() < 0.9 else None
                out.append(told | {"reason_value": float(rng.uniform(0.01, 0.2)), "expected_response": guess})
    return out


def settled() -> list[Row]:
    """Most of these places, with answers; one with propensity 0, one that comes twice, one of no list, one settled later."""
    rng = np.random.default_rng(6)
    places = [p for p in listed_then() if rng.random() < 0.8]
    at, told = datetime(2017, 10, 2, 12), date(2017, 10, 30)
    rows = [
        p | {"exposure_id": f"e{n:04d}", "shown_ts": at, "responded": bool(rng.random() < 0.4), "settled_by": told}
        for n, p in enumerate(places)
    ]
    drawn = [r for r in rows if r["reason_code"] == "unseen_category" and r["user_id"] != "gone"]
    drawn[0]["propensity"] = 0.0
    drawn[5]["settled_by"] = date(2018, 1, 1)
    again = drawn[10] | {"exposure_id": "f0001", "responded": not drawn[10]["responded"]}
    return [*rows, again, drawn[11] | {"exposure_id": "f0002", "item_id": "x7"}]


def frame(spark: SparkSession, rows: list[Row], ddl: str) -> DataFrame:
    names = [c.split()[0] for c in ddl.split(", ")]
    return spark.createDataFrame([tuple(r[c] for c in names) for r in rows], ddl)


def expected_fate(r: Row, twice: set[str]) -> str:
    if r["reason_code"] != "unseen_category":
        return "not drawn, but the least known"
    if r["propensity"] == 0.0:
        return "propensity not above 0 and at most 1"
    if r["exposure_id"] in twice:
        return "the same place twice"
    if r["item_id"] == "x7":
        return "not in a published list"
    return "user has no interests tonight" if r["user_id"] == "gone" else KEPT


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    return rows_for_blocks(on_spark(spark, shop()), policy(), POPULARITY, users=2000).persist()


@pytest.fixture(scope="module")
def listed(rows: DataFrame) -> DataFrame:
    return recommendations(rows, policy()).persist()


def plain(taken: dict[str, set[str]]) -> dict[tuple[str, str], tuple[float, ...]]:
    """draw, estimator → value, ends, lists, places, effective places and share without support."""
    kept = [r for r in settled() if r["slot"] == "explore" and r["settled_by"] <= AS_OF and expected_fate(r, {"f0001"}) == KEPT]
    then = {(p["as_of"], p["user_id"], p["item_id"]): p for p in listed_then()}
    told: dict[tuple[str, str], tuple[float, float]] = {}
    for r in sorted(kept, key=lambda r: (-r["as_of"].toordinal(), r["item_id"])):
        share = then[(r["as_of"], r["user_id"], r["item_id"])]["reason_value"]
        told.setdefault((r["user_id"], r["category"]), (r["expected_response"] or 0.0, share))
    made = rows_of(shop(), values_of(shop()), policy())
    for n, r in made[made["kind"] == "interest"].iterrows():
        if (r["user_id"], r["category"]) in told:
            made.loc[n, ["guess", "predicted"]] = told[(r["user_id"], r["category"])]  # type: ignore[index]
            made.loc[n, "seen"] = False  # type: ignore[index]
    block = parse(made)
    keys = sorted({(r["user_id"], r["as_of"]) for r in kept})
    users = sorted({u for u, _ in keys})
    reason = "unseen_category"
    drawn = sum((p["user_id"], p["as_of"]) in keys and p["reason_code"] == reason for p in then.values())
    out: dict[tuple[str, str], tuple[float, ...]] = {}
    for how in DRAWS:
        p: dict[tuple[str, str], float] = {}
        q: dict[tuple[str, str], float] = {}
        for name in users:
            u = block.users.index(name)
            way = Exploring(policy().explore_pool, policy().min_item_events, how, policy().explore_floor)
            slots = int(block.interests.slots[u])
            for c, value in chances(block, u, taken[name], slots, way, (policy().seed, name, AS_OF)).items():
                p[(name, block.categories[c])] = value
                q[(name, block.categories[c])] = min(1.0, float(block.interests.guess[u, c] * ratios(block, u).mean[c]))
        at = [(r["user_id"], r["category"]) for r in kept]
        log = Logged(
            np.array([keys.index((r["user_id"], r["as_of"])) for r in kept]),
            np.array([r["propensity"] for r in kept]),
            np.array([float(r["responded"]) for r in kept]),
            np.array([p.get(k, 0.0) for k in at]),
            len(keys),
            np.array([users.index(u) for u, _ in keys]),
        )
        shown = len(kept) / drawn
        slots_ = shown * float(np.mean([sum(v for (u, _), v in p.items() if u == name) for name, _ in keys]))
        direct = shown * np.array([sum(v * q[k] for k, v in p.items() if k[0] == name) for name, _ in keys])
        found = {"ips": ips(log), "snips": snips(log, slots_)}
        found["dr"] = doubly_robust(log, np.array([q.get(k, 0.0) for k in at]), direct)
        lacking = max(0.0, 1 - float(log.weight.sum()) / (slots_ * len(keys)))
        e = logged_mean(log)
        out[(how, "logged")] = (e.value, e.low, e.high, len(keys), len(kept), np.nan, np.nan)
        for name, e in found.items():
            out[(how, name)] = (e.value, e.low, e.high, len(keys), len(kept), log.effective, lacking)
    return out


def test_rows_are_those_of_the_library_on_the_same_places(spark: SparkSession, rows: DataFrame, listed: DataFrame) -> None:
    feedback, lists = frame(spark, settled(), FEEDBACK), frame(spark, listed_then(), LISTED)
    found, line = estimates(feedback, lists, rows, listed, policy())
    got = found.toPandas().set_index(["draw", "estimator"])
    taken = listed.filter("slot = 'exploit'").toPandas().groupby("user_id")["item_id"].agg(set).to_dict()
    expected = plain(taken)
    numbers = ["value", "ci_low", "ci_high", "lists", "places", "effective_places", "unsupported"]
    assert set(got.index) == set(expected)
    for key, told in expected.items():
        np.testing.assert_allclose(got.loc[key, numbers].to_numpy(float), told, rtol=1e-9, atol=1e-12, err_msg=str(key))
    assert set(got.index[got["published"]].get_level_values("draw")) == {"thompson"}
    assert len({round(expected[(d, "dr")][0], 9) for d in DRAWS}) == 3, "the draws differ"
    assert min(told[0] for told in expected.values()) > 0
    columns = [c for c in CATALOGUE["gold.policy_estimates"].column_names if c in found.columns]
    assert columns == found.columns == [c.split()[0] for c in ESTIMATES.split(", ")]
    assert "responses, tonight's draw thompson would have" in line


def test_every_place_is_kept_or_left_out_for_a_reason(spark: SparkSession, rows: DataFrame) -> None:
    places = settled_places(frame(spark, settled(), FEEDBACK), frame(spark, listed_then(), LISTED), rows, AS_OF).persist()
    counts = {r["fate"]: r["count"] for r in places.groupBy("fate").count().collect()}
    of = [r for r in settled() if r["slot"] == "explore" and r["settled_by"] <= AS_OF]
    expected = pd.Series([expected_fate(r, {"f0001"}) for r in of]).value_counts().to_dict()
    assert counts == expected
    assert len(expected) == 6
    assert all(f"{n} {why}" in fates(places) for why, n in expected.items() if why != KEPT)


def test_an_answer_does_not_take_a_category_out_of_the_pool(spark: SparkSession, rows: DataFrame, listed: DataFrame) -> None:
    """Whether the user knows the category tonight must not decide whether it could have been drawn."""
    feedback, lists = frame(spark, settled(), FEEDBACK), frame(spark, listed_then(), LISTED)
    places = settled_places(feedback, lists, rows, AS_OF)
    known = {(r["user_id"], r["category"]) for r in rows.filter("kind = 'interest' AND seen").collect()}
    asked = {(r["user_id"], r["category"]) for r in places.filter(F.col("fate") == KEPT).collect()}
    met = {(r["user_id"], r["category"]) for r in tonights_chances(rows, listed, places, policy()).collect()}
    assert len(known & asked & met) > 10
    assert not (known & met) - asked, "what was not shown and is known stays known"


def test_too_little_feedback_makes_no_rows(spark: SparkSession, rows: DataFrame, listed: DataFrame) -> None:
    lists = frame(spark, listed_then(), LISTED)
    one = [r for r in settled() if (r["user_id"], r["as_of"]) == ("u01", LISTS[0])]
    assert any(r["reason_code"] == "unseen_category" for r in one)
    for given in ([], one):
        found, line = estimates(frame(spark, given, FEEDBACK), lists, rows, listed, policy())
        assert found.count() == 0
        assert line.endswith("estimates need two users")
