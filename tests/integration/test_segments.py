"""Segments: fifths and names against pandas, clusters against planted groups, the table against its contract, and the job."""

from __future__ import annotations

import runpy
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from equipoise.errors import ContractError
from equipoise.job.run import run
from equipoise.segments.categories import category_values
from equipoise.segments.history import EPOCH, MEASURES, History, day_number, packed
from equipoise.segments.kmeans import clusters
from equipoise.segments.rfm import NAMES, rfm
from equipoise.segments.signals import SIGNALS, known_at, signals_at
from equipoise.segments.table import check_users, user_segments
from equipoise.segments.valued import How, by_cells, by_language, learnt, sampled, told
from equipoise.store import Store
from equipoise.tables import CATALOGUE
from equipoise.tables.feature import H_FEATURES
from equipoise.tables.vocabulary import EVENT_TYPES, SEGMENTS
from tests.integration.test_job import TOML
from tests.unit.segments.test_worth import planted as planted_history

AS_OF = date(2017, 11, 6)
ROOT = Path(__file__).resolve().parents[2]


def people(n: int, seed: int = 1, *, amounts: bool = True) -> pd.DataFrame:
    """feature.user_profile as pandas, with many equal values."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({name: rng.integers(0, 50, n).astype(float) for name, _ in H_FEATURES})
    frame["recency_days"] = rng.integers(1, 8, n).astype(float)
    frame["frequency"] = rng.integers(1, 9, n).astype(float)
    frame["monetary"] = np.round(rng.gamma(2, 50, n), 2) if amounts else np.nan
    for name in EVENT_TYPES:
        frame[f"n_{name}"] = rng.integers(0, 3, n)
    frame["user_id"] = [f"u{i:04d}" for i in rng.permutation(n)]
    frame["as_of"] = AS_OF
    return frame


def profile_of(spark: SparkSession, frame: pd.DataFrame) -> DataFrame:
    return _typed(spark, frame, "feature.user_profile")


def vectors_of(spark: SparkSession, users: list[str], seed: int = 2, *, amounts: bool = True) -> DataFrame:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet([1, 1, 2], len(users))
    frame = pd.DataFrame(
        {
            "user_id": users,
            "as_of": AS_OF,
            "model_id": "m1",
            "vector": [[1.0]] * len(users),
            "category_probabilities": [[1.0]] * len(users),
            "visit_probabilities": [[1.0]] * len(users),
            "p_o": p[:, 0],
            "p_interest": p[:, 1],
            "p_buy": p[:, 2],
            "expected_spend": np.round(rng.gamma(2, 30, len(users)), 1) if amounts else np.nan,
        }
    )
    return _typed(spark, frame, "feature.user_vectors")


def _typed(spark: SparkSession, frame: pd.DataFrame, name: str) -> DataFrame:
    columns = CATALOGUE[name].column_names
    rows = [
        tuple(None if v is np.nan or v != v else v for v in row) for row in frame[columns].astype(object).itertuples(index=False)
    ]
    return spark.createDataFrame(rows, CATALOGUE[name].struct_type())


def fifths(values: pd.Series) -> pd.Series:
    """Fifths of an ordering without ties."""
    return 1 + (5 * (values.rank(method="first").astype(int) - 1)) // len(values)


def test_rfm_is_fifths_with_ties_told_apart_by_behaviour(spark: SparkSession) -> None:
    frame = people(203)
    found = rfm(profile_of(spark, frame)).toPandas().set_index("user_id")
    frame["recent"] = -frame["recency_days"]
    for score, order in (
        ("r", ["recent", "frequency", "monetary", "user_id"]),
        ("f", ["frequency", "monetary", "recent", "user_id"]),
        ("m", ["monetary", "frequency", "recent", "user_id"]),
    ):
        ordered = frame.sort_values(order).reset_index(drop=True)
        expected = pd.Series(1 + 5 * np.arange(203) // 203, index=ordered["user_id"])
        assert (found[score] == expected.reindex(found.index)).all(), score
        assert found[score].value_counts().between(40, 41).all()
    assert (found["rfm_cell"] == found["r"].astype(str) + "-" + found["f"].astype(str) + "-" + found["m"].astype(str)).all()
    for row in found.itertuples():
        r_values, f_values = NAMES[str(row.rfm_segment)]
        assert row.r in r_values
        assert row.f in f_values


def test_without_amounts_cell_and_name_are_null_and_clusters_are_not(spark: SparkSession) -> None:
    profile = profile_of(spark, people(40, amounts=False))
    found = rfm(profile).toPandas()
    assert found[["m", "rfm_cell", "rfm_segment"]].isna().all().all()
    assert found["r"].between(1, 5).all()
    grouped = clusters(profile, 3, 1).join(profile.select("user_id", "frequency"), "user_id").toPandas()
    assert sorted(grouped["kmeans_cluster"].unique()) == [1, 2, 3]
    assert grouped.groupby("kmeans_cluster")["frequency"].mean().is_monotonic_increasing


def planted(spark: SparkSession) -> DataFrame:
    """Three groups far apart: 30 small, 20 middle, 10 large spenders."""
    frame = people(60)
    group = np.repeat([0, 1, 2], [30, 20, 10])
    rng = np.random.default_rng(5)
    frame["recency_days"] = np.array([90.0, 20.0, 2.0])[group] + rng.random(60)
    frame["frequency"] = np.array([2.0, 15.0, 90.0])[group] + rng.integers(0, 2, 60)
    frame["monetary"] = np.array([20.0, 400.0, 9000.0])[group] + rng.random(60)
    frame["user_id"] = [f"g{g}_{n:02d}" for n, g in enumerate(group)]
    return profile_of(spark, frame.sample(frac=1.0, random_state=3))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_planted_groups_are_found_and_numbered_by_spend(spark: SparkSession, seed: int) -> None:
    found = clusters(planted(spark), 3, seed).toPandas()
    assert (found["user_id"].str[1].astype(int) + 1 == found["kmeans_cluster"]).all()


def test_clusters_are_nearest_centres_and_do_not_hang_on_row_order(spark: SparkSession) -> None:
    from sklearn.cluster import KMeans

    frame = people(150, seed=9)
    found = clusters(profile_of(spark, frame), 3, 1).toPandas().set_index("user_id")["kmeans_cluster"]
    again = clusters(profile_of(spark, frame.sample(frac=1.0, random_state=1)).repartition(5), 3, 1).toPandas()
    pd.testing.assert_series_equal(found.sort_index(), again.set_index("user_id")["kmeans_cluster"].sort_index())
    x = np.log1p(frame.set_index("user_id")[["recency_days", "frequency", "monetary"]])
    x = (x - x.mean()) / x.std(ddof=0)
    labels = found.reindex(x.index)
    inertia = sum(((x[labels == c] - x[labels == c].mean()) ** 2).sum().sum() for c in (1, 2, 3))
    best = KMeans(3, n_init=20, random_state=0).fit(x).inertia_
    assert inertia <= 1.15 * best, "a local optimum near the best of twenty starts"


def test_fewer_users_than_clusters_are_not_clustered(spark: SparkSession) -> None:
    assert clusters(profile_of(spark, people(2)), 3, 1).toPandas()["kmeans_cluster"].isna().all()


def made(spark: SparkSession, n: int = 61, *, amounts: bool = True) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    frame = people(n, amounts=amounts)
    vectors = vectors_of(spark, sorted(frame["user_id"]), amounts=amounts)
    worth = by_language(vectors).withColumn("value_model", F.lit("language"))
    groups = worth.limit(n // 2).select("user_id", F.lit(3).alias("interest_group"))
    how = {"as_of": AS_OF, "horizon_days": 28, "threshold": 99.5, "kmeans_seed": 1}
    table = user_segments(profile_of(spark, frame), worth, groups, **how)  # type: ignore[arg-type]
    return frame.set_index("user_id"), vectors.toPandas().set_index("user_id"), table.toPandas().set_index("user_id")


def test_the_segment_is_the_most_probable_and_tiers_are_fifths(spark: SparkSession) -> None:
    frame, vectors, found = made(spark)
    assert sorted(found.index) == sorted(frame.index)
    best = vectors[["p_o", "p_interest", "p_buy"]].to_numpy().argmax(axis=1)
    assert (found["segment"].reindex(vectors.index) == np.array(SEGMENTS)[best]).all()
    ordered = vectors.reset_index().sort_values(["expected_spend", "user_id"])["user_id"]
    expected = pd.Series(1 + 5 * np.arange(61) // 61, index=ordered)
    assert (found["value_tier"] == expected.reindex(found.index)).all()
    assert found.loc[vectors["expected_spend"].idxmax(), "value_tier"] == 5
    assert (found["horizon_days"] == 28).all()
    assert (found["buy_threshold"] == 99.5).all()
    assert (found["interest_group"] == 3).sum() == found["interest_group"].notna().sum() == 30


def test_a_tie_of_probabilities_falls_to_the_first_segment(spark: SparkSession) -> None:
    from equipoise.segments.table import most_probable

    rows = [(0.4, 0.4, 0.2), (0.2, 0.4, 0.4), (0.4, 0.2, 0.4), (0.1, 0.2, 0.7)]
    frame = spark.createDataFrame(rows, "p_o double, p_interest double, p_buy double")
    assert [r[0] for r in frame.select(most_probable()).collect()] == ["O", "interest", "O", "buy"]


def test_the_reason_can_be_written_again_from_the_profile(spark: SparkSession) -> None:
    frame, vectors, found = made(spark)
    for user, row in found.iterrows():
        mine, p = frame.loc[user], vectors.loc[user]
        act = "purchase" if mine["n_purchase"] else "event"
        probability = f"{max(p['p_o'], p['p_interest'], p['p_buy']):.3f}"
        last = f"last {act} {mine['recency_days']:.0f} days before 2017-11-06"
        often = f"{act} on {mine['frequency']:.0f} of {mine['tenure_days']:.0f} days, {mine['monetary']:.2f} spent"
        assert row["reason"] == f"{row['segment']} with probability {probability} in 28 days: {last}, {often}"


def test_a_source_without_amounts_has_no_money_columns(spark: SparkSession) -> None:
    _, _, found = made(spark, 30, amounts=False)
    assert found[["expected_spend", "value_tier", "rfm_cell", "rfm_segment"]].isna().all().all()
    assert found["kmeans_cluster"].notna().all()
    assert not found["reason"].str.contains("spent").any()


def test_a_user_without_a_vector_stops_the_job_with_count_and_examples(spark: SparkSession) -> None:
    frame = people(20)
    users = sorted(frame["user_id"])
    profile = profile_of(spark, frame)
    vectors = vectors_of(spark, users)
    assert check_users(profile, vectors) == (20, "m1")
    two = vectors.withColumn("model_id", F.when(F.col("user_id") == users[3], F.lit("m0")).otherwise(F.col("model_id")))
    with pytest.raises(ContractError, match=r"rows of 2 models \(m0, m1\), expected one"):
        check_users(profile, two)
    with pytest.raises(
        ContractError, match=r"2 users of feature.user_profile are not in feature.user_vectors, such as u0000, u0001"
    ):
        check_users(profile, vectors_of(spark, users[2:]))
    with pytest.raises(ContractError, match=r"1 users of feature.user_vectors are not in feature.user_profile, such as nobody"):
        check_users(profile, vectors_of(spark, [*users, "nobody"]))
    with pytest.raises(ContractError, match="has no users at this as_of"):
        check_users(profile.limit(0), vectors_of(spark, ["x"]).limit(0))


def daily_of(spark: SparkSession, at: History) -> DataFrame:
    """feature.daily_counts of a history whose days are purchases, split over two categories."""
    rows = [
        (str(at.users[u]), date.fromordinal(EPOCH.toordinal() + int(d)), c, "purchase", float(n) / 2, float(s) / 2)
        for u, d, n, s in zip(at.user, at.day, at.lines, at.spend, strict=True)
        for c in ("A", "B")
    ]
    ddl = "user_id string, event_date date, category string, event_type string, events double, amount double"
    return spark.createDataFrame(rows, ddl)


@pytest.fixture(scope="module")
def bought() -> History:
    at, _ = planted_history(60, 200)
    return History(at.users, at.user, at.day + day_number(AS_OF) - 200, *(getattr(at, name) for name in MEASURES))


def interests_of(spark: SparkSession, users: list[str]) -> DataFrame:
    """gold.user_interests of categories A (.5), B (.2) and one that the model does not know."""
    frame = pd.DataFrame([(u, c, v) for u in users for c, v in (("A", 0.5), ("B", 0.2), ("NEW", None))])
    frame.columns = pd.Index(["user_id", "category", "visit_probability"])
    for name in ("observed_share", "predicted_share", "target_share", "evidence"):
        frame[name] = 0.5
    made = frame.assign(rank=1, is_predicted_top=False, reason="made", as_of=AS_OF, run_id="r", model_id="m1", synthetic=True)
    return _typed(spark, made, "gold.user_interests")


def test_categories_are_bought_as_often_as_in_earlier_windows_shrunk_twice(spark: SparkSession) -> None:
    origin = date(2017, 9, 11)  # two closed windows before AS_OF
    rows = [
        ("u1", "2017-09-12", "A", "click"), ("u1", "2017-09-13", "A", "purchase"), ("u1", "2017-10-10", "A", "cart"),
        ("u2", "2017-10-20", "A", "click"), ("u2", "2017-09-20", "B", "purchase"), ("u2", "2017-09-21", "B", "view"),
        ("u2", "2017-09-01", "B", "click"), ("u2", "2017-11-06", "B", "click"), ("u2", "2017-09-20", "(none)", "click"),
    ]  # fmt: skip
    daily = spark.createDataFrame(
        [(u, date.fromisoformat(d), c, t, 1.0) for u, d, c, t in rows],
        "user_id string, event_date date, category string, event_type string, events double",
    )
    given = interests_of(spark, ["u1", "u2", "u3"])
    table = category_values(given, daily, as_of=AS_OF, origin=origin, window_days=28)
    assert set(table.columns) == set(CATALOGUE["gold.user_category_values"].column_names) - {"as_of", "run_id", "synthetic"}
    found = table.toPandas().set_index(["user_id", "category"])
    assert len(found) == 6, "NEW is not known to the model"
    base = 2 / 4  # windows with a purchase of those with anything: u1 A, u1 A, u2 A, u2 B
    rate = {"A": (1 + 5 * base) / (3 + 5), "B": (1 + 5 * base) / (1 + 5)}
    own = {("u1", "A"): (1, 2), ("u2", "A"): (0, 1), ("u2", "B"): (1, 1)}
    for (user, category), row in found.iterrows():
        bought, acted = own.get((user, category), (0, 0))
        acts = {"A": 0.5, "B": 0.2}[category]
        assert row["p_buy"] == pytest.approx(acts * (bought + 5 * rate[category]) / (acted + 5))
        assert row["p_o"] == pytest.approx(1 - acts)
        assert row[["p_o", "p_interest", "p_buy"]].sum() == pytest.approx(1.0)
    empty = category_values(given, daily.limit(0), as_of=AS_OF, origin=origin, window_days=28).toPandas()
    assert empty["p_buy"].to_list() == pytest.approx((empty["p_interest"]).to_list())


def test_what_spark_tells_of_everybody_is_what_the_model_says(spark: SparkSession, bought: History) -> None:
    daily = daily_of(spark, bought)
    later = daily.limit(40).withColumn("event_date", F.date_add(F.lit(AS_OF), 3))  # nothing after as_of may count
    days = packed(daily.unionByName(later), as_of=AS_OF, trip_types=["purchase"])
    history = sampled(days, 60, 1_000, seed=1)
    known = known_at(bought, day_number(AS_OF))
    assert list(history.users) == list(bought.users[known])
    np.testing.assert_allclose(signals_at(history, day_number(AS_OF)), signals_at(bought, day_number(AS_OF))[known], rtol=1e-5)
    how = How(
        as_of=day_number(AS_OF), horizon_days=28, churn_days=56, ladder="spend", amounts=True, cuts=3,
        threshold_cuts=(day_number(AS_OF) - 100,), seed=1,
    )  # fmt: skip
    worth = learnt(history, how)
    found = told(days, worth.model, how.as_of, worth.stays, worth.reference).toPandas().sort_values("user_id", ignore_index=True)
    x = signals_at(history, how.as_of)
    said = worth.model.told(x)
    np.testing.assert_allclose(found[["p_o", "p_interest", "p_buy"]], said.p, rtol=1e-6)
    np.testing.assert_allclose(found["expected_spend"], said.spend, rtol=1e-6)
    np.testing.assert_allclose(found["recency_days"], x[:, SIGNALS.index("recency")])
    assert found["churn_risk"].between(0, 1).all()
    score = worth.model.explained.log_odds
    for driven, difference in zip(found["drivers"], score(x) - score(worth.reference[None])[0], strict=True):
        assert sum(d["log_odds"] for d in driven) == pytest.approx(difference)
        sizes = [abs(d["log_odds"]) for d in driven]
        assert sizes == sorted(sizes, reverse=True)
    profile = spark.createDataFrame(found[["user_id", "recency_days", "frequency", "monetary"]])
    mine = by_cells(profile, worth.cells).toPandas().sort_values("user_id", ignore_index=True)
    np.testing.assert_allclose(mine[["p_o", "p_interest", "p_buy"]], worth.cells.told(x).p, rtol=1e-9)
    np.testing.assert_allclose(mine["expected_spend"], worth.cells.told(x).spend, rtol=1e-9)


def test_the_job_writes_its_slice_and_skips_the_second_time(spark: SparkSession, tmp_path: Path, bought: History) -> None:
    settings = tmp_path / "toy.toml"
    settings.write_text(TOML.format(warehouse=tmp_path / "warehouse"))
    store = Store(spark, str(tmp_path / "warehouse"))
    users = list(bought.users[known_at(bought, day_number(AS_OF))])
    frame = people(len(users)).assign(user_id=users)
    for name, rows, values in (
        ("feature.user_profile", profile_of(spark, frame), {"as_of": AS_OF}),
        ("feature.user_vectors", vectors_of(spark, users), {"as_of": AS_OF}),
        ("gold.user_interests", interests_of(spark, users), {"as_of": AS_OF}),
        ("feature.daily_counts", daily_of(spark, bought).withColumn("quantity", F.col("events")), {}),
    ):
        store.replace(rows, name, values, fingerprint="made", job="test")
    job = runpy.run_path(str(ROOT / "jobs" / "segment_users.py"))
    argv = ["--settings", str(settings), "--as-of", AS_OF.isoformat(), "--windows.origin", "2017-04-24"]
    assert run(job["JOB"], job["run"], argv, ROOT / "jobs" / "segment_users.py") == 0
    table = store.read("gold.user_segments").toPandas()
    assert sorted(table["user_id"]) == users
    assert table["synthetic"].all()
    assert (table["model_id"] == "m1").all()
    assert (table["as_of"] == AS_OF).all()
    assert table["value_model"].isin(["behaviour", "rfm_cells"]).all()
    moved = store.read("gold.segment_transitions").toPandas()
    assert moved["retold"].all()
    assert moved[moved["segmentation"] == "segment"]["users"].sum() == len(users)
    told = store.read("gold.segment_profiles").toPandas()
    assert told[told["segmentation"] == "interest_group"]["users"].sum() == len(users)
    assert store.read("gold.user_category_values").count() == 2 * len(users)
    version = store.version("gold.user_segments")
    assert run(job["JOB"], job["run"], argv, ROOT / "jobs" / "segment_users.py") == 0
    assert store.version("gold.user_segments") == version
    assert run(job["JOB"], job["run"], [*argv, "--segments.value_model", "language"], ROOT / "jobs" / "segment_users.py") == 0
    assert (store.read("gold.user_segments").toPandas()["value_model"] == "language").all()
