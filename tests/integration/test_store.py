"""The store: replacing slices, idempotence, contracts, conflicts."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from equipoise.errors import ConflictError, ContractError, StoreError
from equipoise.store import Only, Store, is_kept, log, registration_sql
from equipoise.tables import CATALOGUE
from equipoise.tables.packing import CELL_VALUES

NAME = "feature.sequences"
DAY = date(2017, 11, 6)


def sequences(spark: SparkSession, users: int, as_of: date = DAY, text: str = "milk") -> DataFrame:
    return spark.range(users).select(
        F.concat(F.lit("u"), F.col("id")).alias("user_id"),
        F.lit(as_of).alias("as_of"),
        F.lit(text).alias("behaviour_text"),
        F.array(F.lit("i1")).alias("item_ids"),
        F.array(F.lit("purchase")).alias("event_types"),
        F.array(F.lit(3)).alias("age_days"),
        F.array(F.lit("MILK")).alias("prior_categories"),
        F.array(F.lit(1.0)).alias("prior_weights"),
        F.array(F.lit("MILK")).alias("cell_categories"),
        F.array([F.lit(1.0).cast("float")] * len(CELL_VALUES)).alias("cells"),
    )


def put(store: Store, frame: DataFrame, fingerprint: str, as_of: date = DAY) -> bool:
    return store.replace(frame, NAME, {"as_of": as_of}, fingerprint=fingerprint, job="test").skipped


def test_a_corrected_rerun_replaces_its_slice_and_no_other(spark: SparkSession, store: Store) -> None:
    other = date(2017, 10, 9)
    put(store, sequences(spark, 3, other), "other", other)
    put(store, sequences(spark, 10), "first")
    assert store.read(NAME).filter(F.col("as_of") == F.lit(DAY)).count() == 10
    assert not put(store, sequences(spark, 20), "corrected")
    counts = {r["as_of"]: r["count"] for r in store.read(NAME).groupBy("as_of").count().collect()}
    assert counts == {other: 3, DAY: 20}


def test_the_same_fingerprint_changes_nothing_and_an_older_one_writes_again(spark: SparkSession, store: Store) -> None:
    put(store, sequences(spark, 10), "a")
    version = store.version(NAME)
    assert put(store, sequences(spark, 10), "a")
    assert store.version(NAME) == version
    assert not put(store, sequences(spark, 11), "b")
    assert not put(store, sequences(spark, 10), "a"), "going back to earlier inputs is a change, not a repeat"
    assert store.read(NAME).count() == 10


def test_single_days_are_replaced_and_the_others_stay(spark: SparkSession, store: Store) -> None:
    name, days = "feature.daily_counts", [date(2017, 3, d) for d in (1, 2, 3)]

    def rows(value: float, *of: date) -> DataFrame:
        return spark.createDataFrame([("u", d, "MILK", "view", value, 0.0, 0.0) for d in of], CATALOGUE[name].struct_type())

    def write(frame: DataFrame, mark: str, *of: date, upon: int) -> None:
        store.replace(frame, name, {}, fingerprint=mark, job="test", only=Only("event_date", of, upon))

    def there() -> dict[date, float]:
        return {r["event_date"]: r["events"] for r in store.read(name).collect()}

    first = store.replace(rows(1.0, *days), name, {}, fingerprint="first", job="test").version
    write(rows(2.0, days[1]), "second", days[1], days[2], upon=first)
    assert there() == {days[0]: 1.0, days[1]: 2.0}, "the third day has no rows any more"
    second = store.rows_version(name)
    assert (store.rows_version(name, last=False), store.fingerprint(name, {})) == (first, "second")
    with pytest.raises(ContractError, match=r"1 rows lie outside the slice .*days of event_date"):
        write(rows(3.0, *days[:2]), "third", days[1], upon=second or 0)
    with pytest.raises(ConflictError, match=f"another run changed the table since version {first}"):
        write(rows(3.0, days[0]), "third", days[0], upon=first)


def test_many_slices_are_known_by_one_look_at_the_log(spark: SparkSession, store: Store) -> None:
    days = [DAY, date(2017, 10, 9), date(2017, 9, 11), date(2017, 8, 14)]
    put(store, sequences(spark, 2), "first")
    put(store, sequences(spark, 0, days[1]), "empty", days[1])
    put(store, sequences(spark, 2, days[2]), "other", days[2])
    first = store.rows_version(NAME)
    put(store, sequences(spark, 3), "second")
    slices: list[dict[str, object]] = [{"as_of": d} for d in days]
    assert store.fingerprints(NAME, slices) == ["second", None, "other", None]
    assert store.rows_version(NAME, at=first) == first != store.rows_version(NAME)
    spark.sql(f"DELETE FROM delta.`{store.path(NAME)}` WHERE user_id = 'u1'")
    assert store.fingerprints(NAME, slices) == [None] * 4


def test_what_the_caller_keeps_is_kept_once_and_not_let_go(
    spark: SparkSession, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[DataFrame] = []
    classic = type(spark.range(1))
    plain = classic.persist
    monkeypatch.setattr(classic, "persist", lambda self, *a: held.append(self) or plain(self, *a))
    put(store, sequences(spark, 2), "a")
    assert len(held) == 1
    mine = sequences(spark, 3).persist()
    put(store, mine, "b")
    made = mine.withColumn("behaviour_text", F.upper("behaviour_text"))
    store.replace(made, NAME, {"as_of": DAY}, fingerprint="c", job="test", kept=True)
    assert len(held) == 2 and is_kept(mine) and not is_kept(made)
    assert {r["behaviour_text"] for r in store.read(NAME).collect()} == {"MILK"}
    mine.unpersist()


def test_a_row_deleted_by_hand_is_written_again(spark: SparkSession, store: Store) -> None:
    put(store, sequences(spark, 10), "a")
    spark.sql(f"DELETE FROM delta.`{store.path(NAME)}` WHERE user_id = 'u3'")
    assert not put(store, sequences(spark, 10), "a")
    assert store.read(NAME).count() == 10


def test_contract_errors_name_columns_keys_and_counts_and_write_nothing(spark: SparkSession, store: Store) -> None:
    put(store, sequences(spark, 2), "a")
    version = store.version(NAME)
    with pytest.raises(ContractError, match="missing column item_ids"):
        put(store, sequences(spark, 2).drop("item_ids"), "b")
    with pytest.raises(ContractError, match=r"column age_days is string, expected array<int>"):
        put(store, sequences(spark, 2).withColumn("age_days", F.lit("x")), "b")
    doubled = sequences(spark, 2).unionByName(sequences(spark, 1))
    with pytest.raises(ContractError, match=r"1 keys \(user_id, as_of\) occur more than once, such as .*'u0'"):
        put(store, doubled, "b")
    nulls = sequences(spark, 2).withColumn("behaviour_text", F.lit(None).cast("string"))
    with pytest.raises(ContractError, match="2 rows have no behaviour_text"):
        put(store, nulls, "b")
    with pytest.raises(ContractError, match="2 rows lie outside the slice"):
        put(store, sequences(spark, 2, date(2017, 1, 1)), "b")
    assert store.version(NAME) == version


def test_tables_are_created_as_the_catalogue_says(spark: SparkSession, store: Store) -> None:
    store.create("gold.user_segments")
    detail = spark.sql(f"DESCRIBE DETAIL delta.`{store.path('gold.user_segments')}`").collect()[0]
    assert detail["properties"]["delta.enableDeletionVectors"] == "false"
    assert "deletionVectors" not in detail["tableFeatures"]
    assert detail["partitionColumns"] == ["as_of"]
    schema = store.read("gold.user_segments").schema
    wanted = CATALOGUE["gold.user_segments"]
    assert [(f.name, f.nullable) for f in schema] == [(c.name, c.nullable) for c in wanted.columns]
    assert schema["expected_spend"].metadata["comment"].endswith("Null: the source has no amounts.")


def test_a_table_of_an_earlier_version_gets_the_columns_it_lacks(
    spark: SparkSession, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of other slices stay as they were, with null in what they never had; the written slice has all."""
    now, before = CATALOGUE[NAME], tuple(c for c in CATALOGUE[NAME].columns if c.name not in ("cells", "age_days"))
    monkeypatch.setitem(CATALOGUE, NAME, replace(now, columns=before))  # type: ignore[arg-type]
    put(store, sequences(spark, 3).drop("cells", "age_days"), "earlier")
    monkeypatch.setitem(CATALOGUE, NAME, now)  # type: ignore[arg-type]
    later = date(2017, 12, 4)
    put(store, sequences(spark, 2, later), "later", later)
    found = {
        r["as_of"]: (r["n"], r["aged"], r["named"])
        for r in store.read(NAME)
        .groupBy("as_of")
        .agg(F.count(F.lit(1)).alias("n"), F.count("age_days").alias("aged"), F.count("item_ids").alias("named"))
        .collect()
    }
    assert found == {DAY: (3, 0, 3), later: (2, 2, 2)}
    assert set(store.read(NAME).columns) == set(now.column_names)
    version = store.version(NAME)
    store.create(NAME)
    assert store.version(NAME) == version, "it grows once"
    with pytest.raises(ContractError, match="2 rows have no age_days"):
        put(store, sequences(spark, 2, later).withColumn("age_days", F.lit(None).cast("array<int>")), "bad", later)


def test_every_table_of_the_catalogue_can_be_created_and_registered(spark: SparkSession, store: Store) -> None:
    for name in CATALOGUE:
        store.create(name)
        assert store.version(name) == 0
    assert len(registration_sql(store.root)) == len(CATALOGUE) + len({n.split(".")[0] for n in CATALOGUE})


def test_a_check_stops_a_write(spark: SparkSession, store: Store) -> None:
    rows = [("r", 1, "job", None, "s", "c", {}, {}, {}, datetime(2017, 1, 1), None, "odd", None)]
    frame = spark.createDataFrame(rows, CATALOGUE["ops.runs"].struct_type())
    with pytest.raises(StoreError, match="status_known"):
        store.append(frame, "ops.runs", fingerprint="x", job="test")


def test_append_is_once(spark: SparkSession, store: Store) -> None:
    rows = [("r", 1, "job", None, "s", "c", {}, {}, {}, datetime(2017, 1, 1), None, "done", None)]
    frame = spark.createDataFrame(rows, CATALOGUE["ops.runs"].struct_type())
    assert not store.append(frame, "ops.runs", fingerprint="x", job="test").skipped
    assert store.append(frame, "ops.runs", fingerprint="x", job="test").skipped
    assert store.read("ops.runs").count() == 1


def test_upsert_replaces_by_key_and_keeps_the_rest(spark: SparkSession, store: Store) -> None:
    put(store, sequences(spark, 3), "a")
    changed = sequences(spark, 4).filter("user_id in ('u2', 'u3')").withColumn("behaviour_text", F.lit("tea"))
    store.upsert(changed, NAME)
    got = {r["user_id"]: r["behaviour_text"] for r in store.read(NAME).collect()}
    assert got == {"u0": "milk", "u1": "milk", "u2": "tea", "u3": "tea"}


def test_reading_at_a_version_sees_the_past(spark: SparkSession, store: Store) -> None:
    put(store, sequences(spark, 3), "a")
    version = store.version(NAME)
    put(store, sequences(spark, 5), "b")
    assert store.read(NAME, version).count() == 3
    assert store.files(NAME, version or 0) != store.files(NAME, store.version(NAME) or 0)


def test_a_write_that_did_not_become_the_live_one_is_a_conflict(
    spark: SparkSession, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, sequences(spark, 3), "a")
    # Another writer took the same txnVersion first: the format then drops ours without a word.
    monkeypatch.setattr(log, "transaction_version", lambda *_: 0)
    with pytest.raises(ConflictError, match="another run wrote this slice"):
        put(store, sequences(spark, 5), "b")


def test_unknown_tables_are_refused_by_name(store: Store) -> None:
    with pytest.raises(StoreError, match=r"gold\.nothing: not in the catalogue"):
        store.read("gold.nothing")
    with pytest.raises(StoreError, match="run the job that writes it first"):
        store.read("gold.user_segments")
