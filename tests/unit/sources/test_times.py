"""Times of every spelling against instants worked out by Python's zoneinfo."""

from __future__ import annotations

import re
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
        ("2017-07-04 10:00:00 EST", datetime(2017, 7, 4, 15, tzinfo=UTC), False),  # names of zones are zones too
        ("2017-07-04 10:00:00.5 Europe/Athens", datetime(2017, 7, 4, 7, 0, 0, 500_000, tzinfo=UTC), False),
        ("2017-07-04T10:00:00 GMT+03:00", datetime(2017, 7, 4, 7, tzinfo=UTC), False),
        ("2017-07-04 10:00:00 UTC+3", datetime(2017, 7, 4, 7, tzinfo=UTC), False),
        ("2017-07-04 10:00:00 QQQ", None, False),
        (" 2017-07-04 ", day_end(2017, 7, 4), True),
        ("2017-11-05", day_end(2017, 11, 5), True),  # 25 hours long in New York
        ("2017-13-05", None, True),  # spelled as a day
        ("12:30:00", None, False),  # Spark's cast alone would put it on today
        ("2017", None, False),
        ("yesterday", None, False),
        ("", None, False),
    ]
    assert parsed(spark, [t for t, _, _ in table], "STRING", "iso") == [(i, d) for _, i, d in table]


def test_the_hours_at_which_clocks_change(spark: SparkSession) -> None:
    """An hour that happens twice is its first; one that does not happen is as long after midnight as it says it is."""
    table = [
        ("2017-10-29T02:30:00", datetime(2017, 10, 29, 0, 30, tzinfo=UTC)),  # summer time, the first of two
        ("2017-10-29T03:00:00", datetime(2017, 10, 29, 2, 0, tzinfo=UTC)),
        ("2017-03-26T02:30:00", datetime(2017, 3, 26, 1, 30, tzinfo=UTC)),  # clocks jump from 02:00 to 03:00
        ("2017-03-26T03:30:00", datetime(2017, 3, 26, 1, 30, tzinfo=UTC)),
    ]
    assert [i for i, _ in parsed(spark, [t for t, _ in table], "STRING", "iso")] == [i for _, i in table]
    assert all(berlin(*map(int, re.findall(r"\d+", t))) == i for t, i in table), "as zoneinfo says"


def test_a_day_begins_and_ends_where_its_zone_says(spark: SparkSession) -> None:
    """The first and last microsecond of the days of 23 and of 25 hours, and of zones half a day ahead and behind."""
    for zone in (NEW_YORK, "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu", "Australia/Lord_Howe"):
        for day in (date(2017, 3, 12), date(2017, 4, 2), date(2017, 11, 5), date(2017, 10, 1)):
            first = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)
            edges = [first - timedelta(microseconds=1), first, first + timedelta(hours=22, minutes=59)]
            micros = [(n, round(e.timestamp() * 1e6)) for n, e in enumerate(edges)]
            frame = spark.createDataFrame(micros, "n INT, t LONG").select(
                "n", local_date(F.timestamp_micros("t"), zone).alias("d")
            )
            assert [r["d"] for r in frame.orderBy("n").collect()] == [day - timedelta(days=1), day, day], zone


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
