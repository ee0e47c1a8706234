"""Times of every spelling against instants worked out by Python's zoneinfo."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from equipoise.errors import SettingsError
from equipoise.sources.times import end_of_day, local_date, parse_time

NEW_YORK = "America/New_York"


def parsed(spark: SparkSession, rows: list[object], type_: str, time_format: str) -> list[tuple[datetime | None, bool]]:
    """Instants (UTC, read as microseconds since 1970) and date_only; days end in New York, bare times are of Berlin."""
    frame = spark.createDataFrame([(n, r) for n, r in enumerate(rows)], f"n INT, v {type_}")
    time = parse_time(F.col("v"), frame.schema["v"].dataType, time_format, naive_zone="Europe/Berlin", zone=NEW_YORK)
    found = frame.select("n", F.unix_micros(time.event_ts).alias("t"), time.date_only.alias("d")).orderBy("n").collect()
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return [(None if r["t"] is None else epoch + timedelta(microseconds=r["t"]), r["d"]) for r in found]


def berlin(*at: int) -> datetime:
    return datetime(*at, tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)  # type: ignore[misc, arg-type]


def day_end(*day: int) -> datetime:
    following = datetime(*day, tzinfo=ZoneInfo(NEW_YORK)) + timedelta(days=1)  # type: ignore[misc, arg-type]
    return following.astimezone(UTC) - timedelta(microseconds=1)


def test_iso(spark: SparkSession) -> None:
    table: list[tuple[str, datetime | None, bool]] = [
        ("2017-07-04T10:00:00Z", datetime(2017, 7, 4, 10, tzinfo=UTC), False),
        ("2017-07-04 10:00:00+02:00", datetime(2017, 7, 4, 8, tzinfo=UTC), False),
        ("2017-07-04T10:00:00.25+0200", datetime(2017, 7, 4, 8, 0, 0, 250_000, tzinfo=UTC), False),
        ("2017-07-04T10:00:00", berlin(2017, 7, 4, 10), False),  # no zone: Berlin, summer
        ("2017-01-04 10:00", berlin(2017, 1, 4, 10), False),  # winter
        (" 2017-07-04 ", day_end(2017, 7, 4), True),
        ("2017-11-05", day_end(2017, 11, 5), True),  # 25 hours long in New York
        ("2017-13-05", None, True),  # spelled as a day
        ("12:30:00", None, False),  # Spark's cast alone would put it on today
        ("2017", None, False),
        ("yesterday", None, False),
        ("", None, False),
    ]
    assert parsed(spark, [t for t, _, _ in table], "STRING", "iso") == [(i, d) for _, i, d in table]


def test_epochs(spark: SparkSession) -> None:
    at = datetime(1997, 12, 4, 15, 55, 49, tzinfo=UTC)
    assert parsed(spark, ["881250949", "8.81250949E8", "x", "881250949000"], "STRING", "epoch_s") == [
        (at, False),
        (at, False),
        (None, False),
        (None, False),  # milliseconds: a year past 29000
    ]
    assert parsed(spark, [881250949000], "BIGINT", "epoch_ms") == [(at, False)]


def test_patterns(spark: SparkSession) -> None:
    assert parsed(spark, ["04/07/2017 23:10", "2017-07-04"], "STRING", "dd/MM/yyyy HH:mm") == [
        (berlin(2017, 7, 4, 23, 10), False),
        (None, False),
    ]
    assert parsed(spark, ["04.07.2017"], "STRING", "dd.MM.yyyy") == [(day_end(2017, 7, 4), True)]
    with_zone = parsed(spark, ["2017-07-04 10:00:00 +0200"], "STRING", "yyyy-MM-dd HH:mm:ss Z")
    assert with_zone == [(datetime(2017, 7, 4, 8, tzinfo=UTC), False)]
    with pytest.raises(SettingsError, match="has no year or no day"):
        parsed(spark, ["10:00"], "STRING", "HH:mm")


def test_typed_columns(spark: SparkSession) -> None:
    assert parsed(spark, [date(2017, 7, 4)], "DATE", "iso") == [(day_end(2017, 7, 4), True)]
    assert parsed(spark, [datetime(2017, 7, 4, 10)], "TIMESTAMP_NTZ", "iso") == [(berlin(2017, 7, 4, 10), False)]
    assert parsed(spark, ["2017-07-04", "04.07.2017"], "STRING", "date") == [(day_end(2017, 7, 4), True), (None, True)]


@pytest.mark.parametrize("day", [date(2017, 3, 12), date(2017, 11, 5), date(2017, 12, 31)])
def test_the_end_of_a_day_is_of_that_day(spark: SparkSession, day: date) -> None:
    end = end_of_day(F.lit(day), NEW_YORK)
    row = (
        spark.range(1)
        .select(local_date(end, NEW_YORK), local_date(end + F.expr("INTERVAL 1 MICROSECOND"), NEW_YORK))
        .collect()[0]
    )
    assert tuple(row) == (day, day + timedelta(days=1))
