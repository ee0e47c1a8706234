"""Audiences: the best set against brute force, who is left out, look-alikes of a planted list, and the job's tables."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date, timedelta
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession

from equipoise.audiences import goals, lookalike
from equipoise.audiences.campaigns import contacted
from equipoise.audiences.choose import Summary, Terms, affordable, chosen, ranked, state, summary_frame, summed
from equipoise.audiences.goals import LeftOut, World
from equipoise.audiences.plan import Learning, Plan, built, ids_of
from equipoise.errors import SettingsError
from equipoise.segments.history import PACKED
from equipoise.settings.marketing import Audiences, Campaign
from equipoise.tables import CATALOGUE
from equipoise.tables.feature import H_FEATURES

AS_OF = date(2017, 11, 6)
ROOT = Path(__file__).resolve().parents[2]
STAMPS = {"as_of", "run_id", "model_id", "synthetic"}
ANYBODY = LeftOut((), {}, (), None, 28)


def priced(spark: SparkSession, worth: list[float]) -> DataFrame:
    rows = [(f"u{n}", 0.5, w, "made") for n, w in enumerate(worth)]
    return spark.createDataFrame(rows, "user_id string, p_response double, worth double, reason string")


@pytest.mark.parametrize("seed", range(6))
def test_the_set_is_the_best_of_all_inside_the_budget(spark: SparkSession, seed: int) -> None:
    rng = np.random.default_rng(seed)
    worth = [float(w) for w in rng.uniform(0, 2, 7).round(2)]
    cost, least = float(rng.choice([0.0, 0.7, 1.0])), int(rng.integers(1, 4))
    terms = Terms(float(rng.uniform(0, 5)), cost, 1.5, least)
    found = [r["user_id"] for r in chosen(ranked(priced(spark, worth), terms), terms).collect()]
    profit = {f"u{n}": 1.5 * w - cost for n, w in enumerate(worth)}
    allowed = [
        (sum(profit[u] for u in group), group)
        for size in range(8)
        for group in combinations(profit, size)
        if size * cost <= terms.budget + 1e-9 and all(profit[u] > 0 for u in group)
    ]
    best = max(allowed, key=lambda pair: pair[0])
    expected = best[1] if len(best[1]) >= least else ()
    assert sorted(found) == sorted(expected)
    total, profitable, curve = summed(ranked(priced(spark, worth), terms))
    status, _ = state(total, profitable, terms)
    assert (status == "ok") == bool(expected)
    assert (total, profitable) == (7, sum(p > 0 for p in profit.values()))
    assert curve[-1] == (1.0, 7, pytest.approx(sum(profit.values())))
    ordered = sorted(profit.values(), reverse=True)
    for share, users, summed_profit in curve:
        assert summed_profit == pytest.approx(sum(ordered[:users]))
        assert users >= share * 7 - 1


def test_states_say_what_bounds_an_audience() -> None:
    terms = Terms(10.0, 3.0, 1.0, 2)
    assert affordable(terms) == 3
    assert affordable(Terms(0.3, 0.1, 1.0, 1)) == 3, "three times .1 is .3"
    assert math.isinf(affordable(Terms(0.0, 0.0, 1.0, 1)))
    assert state(0, 0, terms)[0] == "no eligible user"
    assert state(9, 0, terms) == ("no profitable user", "no contact is expected to bring more than it costs (3)")
    assert state(9, 5, Terms(2.0, 3.0, 1.0, 1))[0] == "budget below one contact"
    assert state(9, 1, terms) == ("group too small", "1 users would be contacted, fewer than min_group = 2")
    assert state(9, 5, terms)[1] == "3 of 9 users: the budget ends there"
    assert state(9, 3, terms)[1] == "3 of 9 users: all whom a contact is expected to pay for"


@pytest.fixture(scope="module")
def world(spark: SparkSession) -> World:
    """Forty users; the first ten are alike in profile and vector."""
    rng = np.random.default_rng(1)
    users = [f"u{n:02d}" for n in range(40)]
    profile = [(u, *map(float, rng.gamma(2, 5, len(H_FEATURES)) * (4 if n < 10 else 1))) for n, u in enumerate(users)]
    vectors = [(u, [float(x) for x in rng.normal(size=4) + (2 if n < 10 else 0)]) for n, u in enumerate(users)]
    segments = [(u, "O" if n < 4 else "buy", 28, float(n), 1 + n % 5) for n, u in enumerate(users)]
    stated = [(u, {"age": "65+" if n % 10 == 5 else "25-34"}) for n, u in enumerate(users) if n != 39]
    events = [
        (u, "expose", AS_OF - timedelta(days=d), "c1") for u, d in (("u10", 3), ("u10", 4), ("u11", 3), ("u12", 40), ("u12", 41))
    ]
    interests = [(u, "MILK", 0.1 * (n % 10), 0.02 * n) for n, u in enumerate(users)] + [("u01", "NEW", None, 0.5)]
    return World(
        AS_OF,
        spark.createDataFrame(events, "user_id string, event_type string, event_date date, campaign_id string"),
        spark.createDataFrame(stated, "user_id string, attributes map<string,string>"),
        spark.createDataFrame(
            segments, "user_id string, segment string, horizon_days int, expected_spend double, value_tier int"
        ),
        spark.createDataFrame(interests, "user_id string, category string, visit_probability double, observed_share double"),
        spark.createDataFrame(profile, "user_id string, " + ", ".join(f"{name} double" for name, _ in H_FEATURES)),
        spark.createDataFrame(vectors, "user_id string, vector array<float>"),
        spark.createDataFrame([], "user_id string"),
    )


def test_who_is_left_out_is_counted_by_the_first_cause(world: World) -> None:
    left_out = LeftOut(("O",), {"age": ("65+",), "unknown": ("x",)}, ("u05", "u20", "nobody"), 2, 28)
    found, out = goals.eligible(world, left_out)
    assert out == {"segment": 4, "attribute": 4, "file": 1, "frequency": 1}
    mine = {r["user_id"] for r in found.collect()}
    assert len(mine) == 30
    assert not mine & {"u00", "u05", "u15", "u20", "u10"}
    assert {"u11", "u12", "u39"} <= mine, "one exposure, exposures long ago, no attributes"
    assert goals.eligible(world, ANYBODY)[1] == {}


def test_a_planted_list_is_found_again(world: World) -> None:
    at = lookalike.columns(world.profile, world.vectors)
    seed = world.segments.filter("user_id < 'u10'").select("user_id")
    model = lookalike.learnt(lookalike.sample(at, seed, lookalike.Drawn.of(10, 40, 1000), 1), 1)
    scores = {r["user_id"]: r["p_response"] for r in lookalike.likeness(at, model).collect()}
    assert min(scores[f"u{n:02d}"] for n in range(10)) > max(scores[f"u{n:02d}"] for n in range(10, 40))
    told = goals.like(world, [f"u{n:02d}" for n in range(10)] + ["nobody"], learn_users=1000, seed=1)
    assert told.users is not None
    assert told.users.count() == 30, "those of the list are known already"
    assert told.facts["learnt_from"] == 10
    few = goals.like(world, ["u00", "x", "y"], learn_users=1000, seed=1)
    assert few.users is None
    assert few.why == "1 known users in the seed list (2 ids are unknown), expected 10 at least, and others"


def test_a_large_seed_is_sampled_too(world: World) -> None:
    at, seed = lookalike.columns(world.profile, world.vectors), world.segments.filter("user_id < 'u20'").select("user_id")
    drawn = lookalike.Drawn.of(20, 40, 10)
    rows = lookalike.sample(at, seed, drawn, 1)
    assert drawn == lookalike.Drawn(0.5, 0.25)
    assert 4 <= rows["is_seed"].sum() <= 16 and 1 <= (~rows["is_seed"]).sum() <= 10
    assert set(rows.loc[rows["is_seed"], "user_id"]) <= {f"u{n:02d}" for n in range(20)}


def test_a_campaign_is_as_large_among_the_users_drawn_as_earlier_ones(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Earlier campaigns are counted among them: one of four users, of ten drawn ones, contacts two."""
    asked: list[int] = []

    def told(of: DataFrame, model: object, *, day: int, size: int) -> DataFrame:
        asked.append(size)
        return of.selectExpr("user_id", "0.5D p_response", "0L contacts", "0L answers", "0D days_since_answer", "0D trips_28d")

    monkeypatch.setattr(goals, "fit", lambda *_: object())
    monkeypatch.setattr(goals, "responses", told)
    ddl = ", ".join(f"{name} {kind}" for name, kind in PACKED.items())
    one = [1.0]
    days = [(f"u{n:02d}", [17_000], *[one] * (len(PACKED) - 2)) for n in range(40)]
    whole = replace(world, packed=world.segments.sparkSession.createDataFrame(days, ddl))
    for most in (10, 1000):
        goals.respond(whole, response_days=28, learn_users=most, share=0.25, seed=1)
    assert asked == [2, 10]


def test_plans_become_rows_and_summaries(spark: SparkSession, world: World) -> None:
    def plan(name: str, goal: str, terms: Terms, category: str = "", ids: tuple[str, ...] = (), out: LeftOut = ANYBODY) -> Plan:
        return Plan(name, goal, terms, out, category, ids)

    cheap = Terms(100.0, 1.0, 1.0, 1)
    plans = [
        plan("spend", "spend", Terms(5.0, 1.0, 0.5, 1)),
        plan("milk", "category", Terms(100.0, 0.5, 1.0, 1), "MILK"),
        plan("none", "category", cheap, "COAL"),
        plan("seed", "seed", cheap, ids=("a", "b")),
        plan("large", "spend", Terms(100.0, 1.0, 1.0, 99)),
        plan("nobody", "spend", cheap, out=LeftOut(("O", "interest", "buy"), {}, (), None, 28)),
    ]
    said: list[str] = []
    found = {s.audience_id: (r, s) for r, s in built(world, plans, Learning(56, 1000, 0.1, 1), said.append)}
    assert len(said) == len(plans)
    rows, summary = found["spend"]
    assert rows is not None
    assert [(r["user_id"], r["rank"], r["expected_profit"]) for r in rows.orderBy("rank").collect()] == [
        (f"u{n}", place, 0.5 * n - 1.0) for place, n in enumerate(range(39, 34, -1), start=1)
    ]
    assert (summary.reach, summary.cost, summary.expected_value) == (5, 5.0, 0.5 * sum(range(35, 40)))
    assert set(rows.columns) == set(CATALOGUE["gold.audiences"].column_names) - STAMPS
    milk, told = found["milk"]
    assert milk is not None
    assert {r["user_id"][-1] for r in milk.collect()} == {"6", "7", "8", "9"}
    assert told.expected_responses == pytest.approx(4 * (0.6 + 0.7 + 0.8 + 0.9))
    assert "visits milk with probability 0.900; " in milk.orderBy("rank").first()["reason"]  # type: ignore[index]
    states = {name: s.status for name, (r, s) in found.items() if r is None}
    assert states == {
        "none": "nothing to learn from", "seed": "nothing to learn from", "large": "group too small", "nobody": "no eligible user"
    }  # fmt: skip
    frame = summary_frame([s for _, s in found.values()], world.segments)
    assert set(frame.columns) == set(CATALOGUE["gold.audience_summary"].column_names) - STAMPS
    assert frame.count() == len(plans)
    assert Summary("a", "spend", "ok", "m", 0, {}).reach == 0


def test_contacts_are_first_exposures_with_their_answers(spark: SparkSession) -> None:
    day = date(1970, 1, 11)
    rows = [
        ("u", "expose", day, "b"), ("u", "expose", day - timedelta(days=3), "b"), ("u", "redeem", day - timedelta(days=4), "b"),
        ("u", "redeem", day + timedelta(days=2), "b"), ("u", "redeem", day + timedelta(days=1), "b"), ("u", "expose", day, "a"),
        ("u", "expose", day, None), ("v", "redeem", day, "a"), ("u", "redeem", day + timedelta(days=9), "a"),
    ]  # fmt: skip
    events = spark.createDataFrame(rows, "user_id string, event_type string, event_date date, campaign_id string")
    found = contacted(events, as_of=day + timedelta(days=5)).collect()
    assert [(r["user_id"], r["campaign"], r["contact_day"], r["answer_day"]) for r in found] == [
        ("u", ["b", "a"], [7, 10], [11, -1])
    ]


def test_settings_name_what_is_wrong(tmp_path: Path) -> None:
    usual = {"id": "a", "goal": "spend", "budget": 1.0, "cost_per_contact": 1.0}
    for wrong, message in (
        ({"goal": "category"}, "goal 'category' needs a category"),
        ({"goal": "seed"}, "goal 'seed' needs a seed_file"),
        ({"exclude_segments": ("x",)}, "unknown segments"),
    ):
        with pytest.raises(ValueError, match=message):
            Campaign(**{**usual, **wrong})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="campaign ids"):
        Audiences(campaigns=(Campaign(**usual), Campaign(**usual)))  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="no such file"):
        ids_of(str(tmp_path / "none.txt"))
    (tmp_path / "ids.txt").write_text("a\n\n b \n")
    assert ids_of(str(tmp_path / "ids.txt")) == ("a", "b")
