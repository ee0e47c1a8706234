"""Writes that are cut off, answered wrongly, out of room or doubled: nothing is lost, nothing is there twice, and readers see one
whole night. EQUIPOISE_KILLS: how often a writer is killed, 10 unless said."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyspark
import pytest
from pyspark.sql import SparkSession

from equipoise.store import Store
from tests.conftest import ROOT
from tests.faults import nights
from tests.faults.conftest import Tell

pytestmark = pytest.mark.slow
PATHS = f"{ROOT}:{ROOT / 'lib'}"
KILLS = int(os.environ.get("EQUIPOISE_KILLS", "10"))
SPAN = 0.8
"""A writer is killed within so many times what the night took that made the tables too; a later one takes about half of that."""

LONGER = 1.15
"""So many times as long the next writer may live until one has published a night: the machine may have more to do now."""


def writer(warehouse: Path, last: int, *flags: str, **env: str) -> subprocess.Popen[str]:
    """A process of its own that writes nights up to `last`."""
    line = [sys.executable, "-m", "tests.faults.nights", str(warehouse), str(last), *flags]
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(line, cwd=ROOT, start_new_session=True, env=os.environ | {"PYTHONPATH": PATHS} | env, **pipe)  # type: ignore[call-overload,no-any-return]


def ended(process: subprocess.Popen[str]) -> str:
    """What a writer said; it must have ended well."""
    said, _ = process.communicate(timeout=900)
    assert process.returncode == 0, said[-3000:]
    return said


def fresh(spark: SparkSession, root: Path) -> Store:
    """The tables as somebody sees them who comes anew."""
    spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()  # type: ignore[union-attr]
    return Store(spark, str(root))


def ready(process: subprocess.Popen[str]) -> None:
    """Waits until a writer is about to begin."""
    assert process.stdout
    while (line := process.stdout.readline()) and line.strip() != "READY":
        pass
    assert line, "the writer ended before it began"


def test_a_killed_writer_run_again_leaves_the_tables_of_an_unkilled_one(spark: SparkSession, tmp_path: Path, tell: Tell) -> None:
    draw, root, mixed, reached, seen = random.Random(1), tmp_path / "warehouse", 0, [], None
    first = writer(root, 0)
    ready(first)
    started = time.monotonic()
    ended(first)
    span = SPAN * (time.monotonic() - started)
    for kill in range(1, KILLS + 1):
        process = writer(root, 10_000)
        ready(process)
        time.sleep(draw.uniform(0.05, 1.0) * span)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        store = fresh(spark, root)
        reached.append(nights.last_published(store))
        if len(set(reached)) == 1:
            span *= LONGER
        if (shown := store.version("ops.published")) != seen:  # else readers see the versions of the last look
            mixed, seen = mixed + bool(nights.mixed(store, 40)), shown
        if kill % 10 == 0:
            sys.stdout.write(f"{kill} of {KILLS} kills within {span:.1f} s, night {reached[-1]}, mixed {mixed}\n")
            sys.stdout.flush()
    last = reached[-1] + 1
    ended(writer(root, last))
    lost, doubled = nights.outcome(fresh(spark, root), last, 40)
    tell(f"kill -9 between and in the commits of {last + 1} nights of five tables", len(reached), lost, doubled, mixed, "–")
    assert (lost, doubled, mixed) == (0, 0, 0)
    assert len(set(reached)) > 1, "every kill came before the first night was published"


@pytest.fixture(scope="module")
def bad_line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Classes of a log store that fails, compiled here."""
    return compiled("LostAnswer", tmp_path_factory.mktemp("classes"))


def compiled(name: str, out: Path) -> Path:
    """A folder with the class of a log store that lies beside this file."""
    if shutil.which("javac") is None:
        pytest.skip(f"no javac: {name} is a class of its own; install a JDK in place of the JRE")
    jars = [*Path(pyspark.__file__).parent.glob("jars/hadoop-client-*.jar"), *(ROOT / ".jars").glob("delta-storage-*.jar")]
    path = ":".join(str(j) for j in jars)
    subprocess.run(["javac", "-cp", path, "-d", str(out), str(ROOT / "tests" / "faults" / f"{name}.java")], check=True)
    return out


def with_log(name: str, classes: Path) -> list[str]:
    """Flags of a writer whose log is of that class."""
    jars = ":".join(str(p) for p in (ROOT / ".jars").glob("delta-*.jar"))
    confs = (f"spark.delta.logStore.file.impl={name}", f"spark.driver.extraClassPath={classes}:{jars}")
    return [x for c in confs for x in ("--conf", c)]


def test_a_log_that_refuses_writes_and_loses_answers(spark: SparkSession, tmp_path: Path, bad_line: Path, tell: Tell) -> None:
    root, last = tmp_path / "warehouse", 9
    said = ended(writer(root, last, "--retries", "5", *with_log("LostAnswer", bad_line)))
    lost, doubled = nights.outcome(fresh(spark, root), last, 40)
    mixed = len(nights.mixed(fresh(spark, root), 40))
    told = re.findall(r"FAILED night \d+: (.*)", said)
    for kind, name in (("refused", "the log refuses a write"), ("lost", "a commit lands and its answer is lost")):
        times = len(re.findall(f"FAULT {kind}", said))
        assert times >= 3, said[-2000:]
        tell(name, times, lost, doubled, mixed, f"`{told[0]}`" if told and kind == "refused" else "–")
    assert (lost, doubled, mixed) == (0, 0, 0)
    assert all("the write failed; run again, nothing is written twice" in t for t in told)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no right to mount a small disk: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk(spark: SparkSession, small_disk: Path, tell: Tell) -> None:
    root = small_disk / "warehouse"
    process = writer(root, 10_000)
    said, _ = process.communicate(timeout=600)
    assert process.returncode != 0
    told = re.findall(r"FAILED night \d+: (.*)", said)
    assert told and "No space left on device" in said, said[-3000:]
    mixed = len(nights.mixed(fresh(spark, root), 40))
    reached = nights.last_published(fresh(spark, root))
    assert reached >= 1, "readers had nothing yet"
    subprocess.run(["mount", "-o", "remount,size=100m", str(small_disk)], check=True)
    ended(writer(root, reached + 2))
    lost, doubled = nights.outcome(fresh(spark, root), reached + 2, 40)
    tell(f"disk full at night {reached + 1}, then made larger", 1, lost, doubled, mixed, f"`{told[0]}`")
    assert (lost, doubled, mixed) == (0, 0, 0)


def test_two_writers_of_the_same_nights(spark: SparkSession, tmp_path: Path, tell: Tell) -> None:
    """Jobs have a lock of their own; the store has to do without."""
    root, last = tmp_path / "warehouse", 9
    both = [writer(root, last, "--retries", "20") for _ in range(2)]
    said = "".join(ended(p) for p in both)
    lost, doubled = nights.outcome(fresh(spark, root), last, 40)
    mixed = len(nights.mixed(fresh(spark, root), 40))
    told = re.findall(r"FAILED night \d+: (.*)", said)
    tell(
        "two writers of the same nights at once",
        last + 1,
        lost,
        doubled,
        mixed,
        f"{len(told)} times, such as `{told[0]}`" if told else "–",
    )
    assert (lost, doubled, mixed) == (0, 0, 0)
