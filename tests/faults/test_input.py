"""Logs as they come on bad days: late, shuffled, doubled, empty, with other columns, with numbers that are none, with one user
who is a third of everything. What is lost or doubled is counted against a clean log; what cannot be read is not written."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from equipoise.features.daily import daily_counts
from equipoise.features.shares import category_shares, decayed_weights
from equipoise.store import Store
from tests.faults.conftest import Tell
from tests.integration.test_ingest_dirty import GOOD, HEADER, job, shop

pytestmark = pytest.mark.slow
SHARE = 0.2
Lines = list[bytes]


def landed(store: Store) -> list[str]:
    """Every row of silver.events."""
    return sorted(str(r) for r in store.read("silver.events").collect())


@dataclass
class Place:
    """A shop's folder and its warehouse."""

    folder: Path
    store: Store

    def ingest(self, lines: Lines, header: bytes = HEADER, share: float = SHARE) -> int:
        argv = shop(self.folder, lines, share)
        log = self.folder / "events.csv"
        log.write_bytes(log.read_bytes().replace(HEADER, header, 1))
        return job(argv)

    def rules(self) -> list[list[str]]:
        return sorted(list(r["rules"]) for r in self.store.read("ops.quarantine").collect())


@pytest.fixture
def place(store: Store, tmp_path: Path) -> Place:
    return Place(tmp_path, store)


@pytest.fixture(scope="module")
def good(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A log that came in order and once."""
    folder = tmp_path_factory.mktemp("good")
    made = Place(folder, Store(spark, str(folder / "warehouse")))
    assert made.ingest(GOOD) == 0
    return made


@pytest.fixture(scope="module")
def clean(good: Place) -> list[str]:
    """Its rows."""
    found = landed(good.store)
    assert len(found) == len(GOOD)
    return found


@pytest.fixture
def filled(place: Place, good: Place) -> Place:
    """A warehouse where that log is already."""
    shutil.copytree(good.store.root, place.store.root)
    return place


def counted(tell: Tell, fault: str, clean: list[str], found: list[str], said: str = "–") -> None:
    """A row of the table, and nothing lost or doubled."""
    lost, more = len(set(clean) - set(found)), len(found) - len(clean)
    tell(fault, 1, lost, max(0, more), "–", said)
    assert found == clean


def test_out_of_order(place: Place, clean: list[str], tell: Tell) -> None:
    assert place.ingest(random.Random(1).sample(GOOD, len(GOOD))) == 0
    counted(tell, "events out of order", clean, landed(place.store))


def test_late(place: Place, clean: list[str], tell: Tell) -> None:
    """Every third row comes a run later, when newer ones are there already."""
    assert place.ingest([r for n, r in enumerate(GOOD) if n % 3]) == 0
    assert len(landed(place.store)) < len(clean)
    assert place.ingest(GOOD) == 0
    counted(tell, "late events", clean, landed(place.store))


def test_a_day_twice(place: Place, clean: list[str], tell: Tell) -> None:
    day = [r for r in GOOD if b",2017-03-07T" in r]
    assert day and place.ingest([*GOOD, *day]) == 0
    assert place.rules() == [["duplicate"]] * len(day)
    counted(tell, "a day twice", clean, landed(place.store), f"{len(day)} rows in the quarantine as `duplicate`")


def test_an_empty_day(place: Place, clean: list[str], tell: Tell) -> None:
    """A file per day in a folder, one of them with nothing but its header."""
    argv = shop(place.folder, GOOD, SHARE)
    settings, folder = place.folder / "shop.toml", place.folder / "days"
    settings.write_text(settings.read_text().replace("/events.csv", "/days"))
    folder.mkdir()
    for name, rows in (("a", GOOD[:50]), ("b", []), ("c", GOOD[50:])):
        (folder / f"{name}.csv").write_bytes(b"\n".join([HEADER, *rows]) + b"\n")
    assert job(argv) == 0
    counted(tell, "an empty day", clean, landed(place.store))


def _each(change: Callable[[list[bytes]], list[bytes]]) -> Lines:
    return [b",".join(change(r.split(b","))) for r in GOOD]


NAMES = HEADER.split(b",")
SCHEMAS: dict[str, tuple[bytes, Lines, int, str]] = {
    "a column more": (b"shelf," + HEADER, _each(lambda r: [b"s1", *r]), 0, ""),
    "columns in another order": (b",".join(NAMES[::-1]), _each(lambda r: r[::-1]), 0, ""),
    "a column gone": (b",".join(NAMES[:5] + NAMES[6:]), _each(lambda r: r[:5] + r[6:]), 1, "no column 'paid' for our amount"),
    "a column renamed": (
        HEADER.replace(b"qty", b"qty_sold"),
        GOOD,
        1,
        "no column 'qty' for our quantity; did you mean 'qty_sold'?",
    ),
    "a column in other letters": (
        HEADER.replace(b"sku", b"SKU"),
        GOOD,
        1,
        "no column 'sku' for our item_id; did you mean 'SKU'?",
    ),
    "a column of another type": (HEADER, _each(lambda r: [*r[:4], b"one", *r[5:]]), 3, "value_unreadable 100"),
}
"""Header, lines, exit code, what is said."""


@pytest.mark.parametrize("change", SCHEMAS)
def test_another_schema(filled: Place, clean: list[str], capsys: pytest.CaptureFixture[str], tell: Tell, change: str) -> None:
    header, lines, code, said = SCHEMAS[change]
    before = filled.store.version("silver.events")
    capsys.readouterr()
    assert filled.ingest(lines, header) == code
    told = capsys.readouterr().err
    assert said in told
    if code:
        assert filled.store.version("silver.events") == before, "what cannot be read whole is not written in part"
    counted(tell, change, clean, landed(filled.store), f"exit {code}: `{said}`" if code else "–")


ABSURD = ["amount_absurd", "amount_outlier"]
NUMBERS = {
    b"NaN": ABSURD,
    b"Infinity": ABSURD,
    b"-Infinity": ["amount_negative"],
    b"1e308": ABSURD,
    b"1e400": ABSURD,
    b"99999999999999999999": ABSURD,
    b"0x1F": ["value_unreadable"],
    b"1,5": ["broken_line"],
}
"""An amount, and the rules that it breaks; 1e400 is more than a double holds, and reads as infinity."""


def test_numbers_that_are_none(place: Place, clean: list[str], tell: Tell) -> None:
    bad = [b"cust-0001,sku-1,bought,2017-03-01T11:%02d:00Z,1,%s,x" % (n, amount) for n, amount in enumerate(NUMBERS)]
    assert place.ingest([*GOOD, *bad]) == 0
    assert place.rules() == sorted(NUMBERS.values())
    counted(tell, "NaN, ±inf, overflow and other amounts", clean, landed(place.store), "each in the quarantine with its rules")


def test_all_rows_bad(filled: Place, clean: list[str], capsys: pytest.CaptureFixture[str], tell: Tell) -> None:
    bad = _each(lambda r: [*r[:3], b"someday", *r[4:]])
    assert filled.ingest(bad) == 3
    assert "100 of 100 rows (100.00%): time_unreadable 100" in capsys.readouterr().err
    counted(tell, "every row bad", clean, landed(filled.store), "exit 3: `100 of 100 rows (100.00%): time_unreadable 100`")


EVENTS, USERS, CATEGORIES = 300_000, 3_000, 40
AS_OF, ORIGIN = date(2017, 11, 6), date(2017, 1, 2)
MOST_TIMES = 2.0
"""The time with the heavy user against the time without: on two cores, whoever has the heavy user's partition has at most two
thirds of all rows."""


def log_of(spark: SparkSession, heavy_share: float) -> DataFrame:
    """EVENTS events; user 0 has `heavy_share` of them, the others share the rest; saved as what ingest leaves."""
    own = F.pmod(F.xxhash64(F.lit("u"), "id"), F.lit(1000)) < F.lit(int(1000 * heavy_share))
    other = F.pmod(F.xxhash64(F.lit("o"), "id"), F.lit(USERS - 1)) + 1
    return spark.range(EVENTS, numPartitions=4).select(
        F.format_string("u%05d", F.when(own, F.lit(0)).otherwise(other)).alias("user_id"),
        F.format_string("i%d", F.pmod(F.xxhash64(F.lit("i"), "id"), F.lit(CATEGORIES))).alias("item_id"),
        F.lit("purchase").alias("event_type"),
        F.date_add(F.lit(ORIGIN), F.pmod(F.xxhash64(F.lit("d"), "id"), F.lit(280)).cast("int")).alias("event_date"),
        F.lit(1.0).alias("quantity"),
        F.lit(2.0).alias("amount"),
    )


def test_a_user_with_a_third_of_all_events(spark: SparkSession, tmp_path: Path, tell: Tell) -> None:
    categories = spark.createDataFrame(
        [(f"i{k}", f"c{k}", 1.0) for k in range(CATEGORIES)], "item_id STRING, category STRING, weight DOUBLE"
    )
    logs: dict[str, DataFrame] = {}
    for name, share in (("even", 0.0), ("heavy", 0.3)):
        log_of(spark, share).write.parquet(str(tmp_path / name))
        logs[name] = spark.read.parquet(str(tmp_path / name))
    seconds: dict[str, list[float]] = {"even": [], "heavy": []}
    for _ in range(3):  # in turns, so that whatever else the machine does falls on both
        for name, log in logs.items():
            started = time.monotonic()
            daily = daily_counts(log, categories)
            shares = category_shares(
                daily, origin=ORIGIN, window_days=28, as_of=AS_OF, event_weights={"purchase": 1.0}, half_life_days=60.0
            )
            decayed_weights(shares, cuts=[AS_OF], half_life_days=60.0).write.mode("overwrite").parquet(str(tmp_path / "out"))
            seconds[name].append(time.monotonic() - started)
    daily = daily_counts(logs["heavy"], categories)
    found = {r["user_id"]: r["n"] for r in daily.groupBy("user_id").agg(F.sum("events").alias("n")).collect()}
    pandas = logs["heavy"].toPandas()
    assert found == {u: float(n) for u, n in pandas["user_id"].value_counts().items()}
    assert 0.28 * EVENTS < found["u00000"] < 0.32 * EVENTS
    weights = spark.read.parquet(str(tmp_path / "out")).filter("user_id = 'u00000'").collect()
    mine = pandas[pandas["user_id"] == "u00000"]
    ages = mine["event_date"].map(lambda d: (AS_OF - d).days).to_numpy()
    due = 2.0 ** (-ages / 60.0)
    by_category = {f"c{i[1:]}": float(due[(mine["item_id"] == i).to_numpy()].sum()) for i in mine["item_id"].unique()}
    assert {r["category"]: pytest.approx(r["weight"], rel=1e-9) for r in weights} == by_category
    times = min(seconds["heavy"]) / min(seconds["even"])
    tell("a user with 30 % of all events", 3, 0, 0, "–", f"{times:.2f} times as long as without, in turns")
    assert times < MOST_TIMES
