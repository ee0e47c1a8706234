"""Files of a table that are damaged on the disk: whoever reads them stops, names the file and the way out, and writes nothing;
the way out, taken as it is told, leads back to the same tables."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from equipoise.errors import StoreError
from equipoise.job import Context, Job
from equipoise.job.run import run
from equipoise.store import Store
from equipoise.store.damage import readable
from equipoise.tables import CATALOGUE
from tests.faults.conftest import Tell
from tests.integration.test_job import TOML
from tests.integration.test_store import sequences

pytestmark = pytest.mark.slow
DATED, WHOLE, CUT = "feature.sequences", "feature.example_spec", "ops.published"
"""A table with a folder per slice, one that is a single slice, one whose slices share their folder."""

YESTERDAY, TODAY = "2017-11-05", "2017-11-06"
USERS = 500


def write(ctx: Context) -> None:
    """USERS rows of each table."""
    spark = ctx.spark
    ctx.replace(DATED, sequences(spark, USERS, text=f"milk of {ctx.as_of}").drop("as_of"), {"as_of": ctx.as_of})
    spec = [(k, f"c{k}", k / 7) for k in range(USERS)]
    ctx.replace(WHOLE, spark.createDataFrame(spec, CATALOGUE[WHOLE].struct_type()), {})
    named = [(ctx.as_of, f"table {k}", k, "r") for k in range(USERS)]
    ctx.replace(CUT, spark.createDataFrame(named, CATALOGUE[CUT].struct_type()), {"as_of": ctx.as_of})


def read(ctx: Context) -> None:
    """Per table a row that hangs on every value of every column of this date."""
    rows = [_digest(ctx.at_as_of(n) if n != WHOLE else ctx.read(n), n) for n in (DATED, WHOLE, CUT)]
    found = [r for frame in rows for r in frame.collect()]
    made = [(ctx.as_of, r["table"], float(r["rows"]), r["first"], r["second"]) for r in found]
    trends = ctx.spark.createDataFrame(made, "window_end DATE, category STRING, a DOUBLE, b DOUBLE, c DOUBLE")
    names = CATALOGUE["feature.category_trends"].column_names
    ctx.replace(
        "feature.category_trends",
        trends.withColumn("as_of", F.lit(ctx.as_of)).select("as_of", "window_end", "category", "a", "b", "c").toDF(*names),
        {"as_of": ctx.as_of},
    )


def _digest(frame: DataFrame, name: str) -> DataFrame:
    columns = [c for c in CATALOGUE[name].column_names if c != "run_id"]
    mixed = F.xxhash64(*[F.to_json(F.struct(c)) for c in columns])
    halves = [
        F.sum(F.pmod(F.shiftright(mixed, s), F.lit(2**20)).cast("double")).alias(n) for n, s in (("first", 0), ("second", 20))
    ]
    return frame.agg(F.lit(name).alias("table"), F.count(F.lit(1)).alias("rows"), *halves)


WRITER = Job("writer", writes=(DATED, WHOLE, CUT), sections=("windows",))
READER = Job("reader", reads=(DATED, WHOLE, CUT), writes=("feature.category_trends",), sections=("windows",))


@dataclass
class Shop:
    """A warehouse, and the two jobs on it."""

    spark: SparkSession
    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "warehouse"

    @property
    def store(self) -> Store:
        self.spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()  # type: ignore[union-attr]
        return Store(self.spark, str(self.root))

    def run(self, job: Job, as_of: str = TODAY) -> int:
        settings = self.folder / "toy.toml"
        settings.write_text(TOML.format(warehouse=self.root))
        body = write if job is WRITER else read
        return run(job, body, ["--settings", str(settings), "--as-of", as_of], Path("toy.py"))

    def data_file(self, name: str) -> Path:
        """The file with today's rows."""
        version = self.store.version(name) or 0
        own = self.store.read(name).filter(F.col("as_of") == TODAY) if name == CUT else self.store.read(name, version)
        names = {r[0] for r in own.select(F.input_file_name()).distinct().collect()}
        return next(Path(n.removeprefix("file:")) for n in names if name != DATED or TODAY in n)

    def rows(self, name: str) -> list[str]:
        frame = self.store.read(name)
        return sorted(map(str, frame.drop("run_id").collect()))


@pytest.fixture(scope="module")
def reference(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    shop = Shop(spark, tmp_path_factory.mktemp("reference"))
    for as_of in (YESTERDAY, TODAY):
        assert shop.run(WRITER, as_of) == 0
    return shop


@pytest.fixture(scope="module")
def undisturbed(reference: Shop, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Every table after a reader that met no damage."""
    folder = tmp_path_factory.mktemp("undisturbed")
    shutil.copytree(reference.root, folder / "warehouse")
    shop = Shop(reference.spark, folder)
    assert shop.run(READER) == 0
    return {name: shop.rows(name) for name in (DATED, WHOLE, CUT, "feature.category_trends")}


@pytest.fixture
def shop(reference: Shop, tmp_path: Path) -> Shop:
    shutil.copytree(reference.root, tmp_path / "warehouse")
    return Shop(reference.spark, tmp_path)


def cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def flipped(file: Path) -> None:
    """One bit in a page in the middle of the file."""
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 3] ^= 0x10
    file.write_bytes(whole)


def flipped_unseen(file: Path) -> None:
    """The same on a disk that keeps no checksums beside its files."""
    flipped(file)
    file.with_name(f".{file.name}.crc").unlink()


HARMS: dict[str, Callable[[Path], None]] = {
    "cut off": cut_off,
    "empty": emptied,
    "a flipped bit in a page": flipped,
    "the same without Hadoop's checksums beside it": flipped_unseen,
    "gone": Path.unlink,
}


@pytest.mark.parametrize("name", [DATED, WHOLE, CUT])
@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_data_file(
    shop: Shop, undisturbed: dict[str, list[str]], capsys: pytest.CaptureFixture[str], tell: Tell, harm: str, name: str
) -> None:
    file = shop.data_file(name)
    HARMS[harm](file)
    capsys.readouterr()
    assert shop.run(READER) == 1
    told = capsys.readouterr().err
    assert f"{name}: its file {str(file)!r} cannot be read, so nothing was written from it" in told
    assert "then run writer again" in told and "Traceback" not in told
    assert shop.store.version("feature.category_trends") is None or shop.store.read("feature.category_trends").isEmpty()
    ledger = shop.store.read("ops.runs").filter("job = 'reader'").collect()
    assert [r["status"] for r in ledger] == ["failed"] and file.name in ledger[0]["message"]
    if name == DATED:
        assert shop.run(READER, YESTERDAY) == 0, "another date does not read the file"
        shop.spark.sql(f"DELETE FROM delta.`{shop.store.path('feature.category_trends')}`")
    way_out = re.findall(r"^  ((?:DELETE|RESTORE) .*);$", told, re.MULTILINE)
    shop.spark.sql(way_out[0])
    assert [shop.run(WRITER), shop.run(READER)] == [0, 0]
    found = {table: shop.rows(table) for table in undisturbed}
    lost = sum(len(set(undisturbed[t]) - set(found[t])) for t in found)
    more = sum(len(found[t]) - len(undisturbed[t]) for t in found)
    said = told.partition("cannot be read")[0].partition("failed: ")[2].replace(str(shop.root), "…")
    tell(f"a data file of {name}: {harm}", 1, lost, max(0, more), 0, f"`{re.sub('part-[^.]*', 'part-…', said)}cannot be read`")
    assert found == undisturbed


def test_whoever_reads_files_without_spark_is_told_too(shop: Shop) -> None:
    """Training reads the files themselves, and pyarrow looks at no checksum."""
    store, version = shop.store, shop.store.version(DATED) or 0
    assert store.files(DATED, version)
    flipped(shop.data_file(DATED))
    with pytest.raises(StoreError, match="is not what it was when it was written"):
        store.files(DATED, version)


def torn(log: Path) -> None:
    newest = max(log.glob("*.json"))
    newest.write_bytes(newest.read_bytes()[:-40])


def empty_commit(log: Path) -> None:
    max(log.glob("*.json")).write_bytes(b"")


@pytest.mark.parametrize(("fault", "harm"), [("empty", empty_commit), ("cut off", torn)])
def test_a_newest_commit_that_is_not_whole(
    shop: Shop,
    undisturbed: dict[str, list[str]],
    capsys: pytest.CaptureFixture[str],
    tell: Tell,
    fault: str,
    harm: Callable[[Path], None],
) -> None:
    """To Delta an empty commit is one that changed nothing: what it brought would be missed by nobody."""
    log = shop.root / DATED.replace(".", "/") / "_delta_log"
    newest = max(log.glob("*.json")).name
    harm(log)
    (log / f".{newest}.crc").unlink(missing_ok=True)
    for job in (READER, WRITER):
        capsys.readouterr()
        assert shop.run(job) == 1
        told = capsys.readouterr().err
        assert f"{newest}, is empty or cut off" in told and "Traceback" not in told
    number = newest.removesuffix(".json")
    for name in (newest, f"{number}.crc"):
        for file in (log / name, log / f".{name}.crc"):
            file.unlink(missing_ok=True)
    assert [shop.run(WRITER), shop.run(READER)] == [0, 0]
    found = {table: shop.rows(table) for table in undisturbed}
    tell(f"the newest commit of {DATED}: {fault}", 1, 0, 0, 0, "exit 1: `the newest commit of …, is empty or cut off`")
    assert found == undisturbed


LOG_HARMS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "_last_checkpoint empty": ("_last_checkpoint", emptied),
    "_last_checkpoint cut off": ("_last_checkpoint", cut_off),
    "_last_checkpoint gone": ("_last_checkpoint", Path.unlink),
    "checkpoint cut off": ("*.checkpoint*.parquet", cut_off),
    "checkpoint empty": ("*.checkpoint*.parquet", emptied),
    "checkpoint with a flipped bit": ("*.checkpoint*.parquet", flipped),
    "checkpoint gone": ("*.checkpoint*.parquet", Path.unlink),
}


@pytest.fixture(scope="module")
def long_log(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of thirteen commits, the last of them after a checkpoint."""
    root = tmp_path_factory.mktemp("long") / "warehouse"
    store = Store(spark, str(root))
    for number in range(12):
        day = date(2017, 11, 6) - timedelta(days=number % 3)
        store.replace(sequences(spark, 5 + number, day), DATED, {"as_of": day}, fingerprint=f"f{number}", job="writer")
    return root


@pytest.mark.parametrize("fault", LOG_HARMS)
def test_a_damaged_checkpoint_of_a_log(spark: SparkSession, long_log: Path, tmp_path: Path, tell: Tell, fault: str) -> None:
    """Either the commits are read instead, or it is said; never other rows."""
    shutil.copytree(long_log, tmp_path / "warehouse")
    shop, (pattern, harm) = Shop(spark, tmp_path), LOG_HARMS[fault]
    log = shop.root / DATED.replace(".", "/") / "_delta_log"
    file = next(iter(sorted(log.glob(pattern))))
    harm(file)
    said = "nothing: the commits are read instead"
    try:
        with readable(shop.store):
            found = shop.rows(DATED)
    except StoreError as error:
        said = str(error).replace(str(shop.root), "…")[:120]
        assert f"{file.name}' of its log cannot be read" in str(error)
        for gone in (file, file.with_name(f".{file.name}.crc")):
            gone.unlink(missing_ok=True)
        found = shop.rows(DATED)
    due = Shop(spark, long_log.parent).rows(DATED)
    tell(f"log of {DATED}: {fault}", 1, len(set(due) - set(found)), max(0, len(found) - len(due)), 0, f"`{said}`")
    assert found == due
    day = date(2017, 11, 6)
    shop.store.replace(sequences(spark, 3, day), DATED, {"as_of": day}, fingerprint="after", job="writer")
    assert shop.store.read(DATED).filter(F.col("as_of") == F.lit(day)).count() == 3
