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
from equipoise.segments.kmeans import clusters
from equipoise.segments.rfm import NAMES, rfm
from equipoise.segments.table import check_users, user_segments
from equipoise.store import Store
from equipoise.tables import CATALOGUE
from equipoise.tables.feature import H_FEATURES
from equipoise.tables.vocabulary import EVENT_TYPES, SEGMENTS
from tests.integration.test_job import TOML

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
    table = user_segments(profile_of(spark, frame), vectors, as_of=AS_OF, horizon_days=28, kmeans_seed=1)
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
    assert (found["model_id"] == "m1").all()


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
    assert check_users(profile, vectors_of(spark, users)) == 20
    with pytest.raises(
        ContractError, match=r"2 users of feature.user_profile are not in feature.user_vectors, such as u0000, u0001"
    ):
        check_users(profile, vectors_of(spark, users[2:]))
    with pytest.raises(ContractError, match=r"1 users of feature.user_vectors are not in feature.user_profile, such as nobody"):
        check_users(profile, vectors_of(spark, [*users, "nobody"]))
    with pytest.raises(ContractError, match="has no users at this as_of"):
        check_users(profile.limit(0), vectors_of(spark, ["x"]).limit(0))


def test_the_job_writes_its_slice_and_skips_the_second_time(spark: SparkSession, tmp_path: Path) -> None:
    settings = tmp_path / "toy.toml"
    settings.write_text(TOML.format(warehouse=tmp_path / "warehouse"))
    store = Store(spark, str(tmp_path / "warehouse"))
    frame = people(25)
    for name, rows in (
        ("feature.user_profile", profile_of(spark, frame)),
        ("feature.user_vectors", vectors_of(spark, list(frame["user_id"]))),
    ):
        store.replace(rows, name, {"as_of": AS_OF}, fingerprint="made", job="test")
    job = runpy.run_path(str(ROOT / "jobs" / "segment_users.py"))
    argv = ["--settings", str(settings), "--as-of", AS_OF.isoformat()]
    assert run(job["JOB"], job["run"], argv, ROOT / "jobs" / "segment_users.py") == 0
    table = store.read("gold.user_segments")
    assert table.count() == 25
    assert table.filter(F.col("synthetic") & (F.col("model_id") == "m1") & (F.col("as_of") == F.lit(AS_OF))).count() == 25
    version = store.version("gold.user_segments")
    assert run(job["JOB"], job["run"], argv, ROOT / "jobs" / "segment_users.py") == 0
    assert store.version("gold.user_segments") == version
