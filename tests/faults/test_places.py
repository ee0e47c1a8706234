"""Places that cannot be written, a clock that goes back, the same job twice at once, a lock that a kill left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from equipoise import clock
from equipoise.errors import StoreError
from equipoise.job import Context
from equipoise.job.lock import slice_lock
from equipoise.job.run import run
from equipoise.store import Store, ledger
from tests.faults.conftest import Tell
from tests.integration.test_ingest_dirty import GOOD, shop
from tests.integration.test_job import JOB, TOML
from tests.integration.test_store import sequences
from tests.pipeline import ROOT, Ended, differences, environment, must

pytestmark = pytest.mark.slow
NOBODY = 65534


def toy(folder: Path, root: Path, *flags: str, users: int = 4) -> int:
    (folder / "toy.toml").write_text(TOML.format(warehouse=root))

    def body(ctx: Context) -> None:
        ctx.replace("feature.sequences", sequences(ctx.spark, users).drop("as_of"), {"as_of": ctx.as_of})

    return run(JOB, body, ["--settings", str(folder / "toy.toml"), "--as-of", "2017-11-06", *flags], Path("toy.py"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, which may be mounted read-only."""
    place = tmp_path / "disk"
    place.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(place)]
    mounted = subprocess.run(line, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no right to mount a disk: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def remount(place: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(place)], check=True)


@pytest.mark.parametrize("where", ["the warehouse", "a layer"])
def test_a_disk_that_is_read_only(
    spark: SparkSession, disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], tell: Tell, where: str
) -> None:
    root = disk / "warehouse" if where == "the warehouse" else tmp_path / "warehouse"
    if where == "a layer":
        root.mkdir()
        (root / "feature").symlink_to(disk)
    remount(disk, "ro")
    capsys.readouterr()
    assert toy(tmp_path, root) == 1
    told = capsys.readouterr().err.partition("failed: ")[2].splitlines()[0]
    assert "Read-only file system" in told or "Mkdirs failed" in told or "cannot be written" in told, told
    assert str(root) in told or "feature.sequences" in told, told
    remount(disk, "rw")
    assert toy(tmp_path, root) == 0
    rows = Store(spark, str(root)).read("feature.sequences").count()
    said = told.replace(str(root), "…").replace(str(disk), "…")[:200]
    tell(f"{where} on a disk that is read-only", 1, 4 - rows, max(0, rows - 4), "–", f"`{said}`")
    assert rows == 4


def test_a_folder_that_this_user_may_not_write(tmp_path: Path, tell: Tell) -> None:
    """As somebody who is not root: a child of this process, for root may write everywhere."""
    root = tmp_path / "warehouse"
    root.mkdir(mode=0o755)
    for folder in (tmp_path, *tmp_path.parents):
        if folder != Path("/") and folder.stat().st_uid == os.getuid() and str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        if os.getuid() == 0:
            os.setuid(NOBODY)
        else:
            root.chmod(0o555)
        try:
            with slice_lock(str(root), "job", "2017-11-06"):
                said = "it was let in"
        except StoreError as error:
            said = str(error)
        except BaseException as error:  # a child must not go on as a test
            said = repr(error)
        os.write(writing, said.encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    assert said.startswith(f"the warehouse {str(root)!r} cannot be written: [Errno 13] Permission denied")
    assert list(root.iterdir()) == []
    tell("a warehouse that this user may not write to", 1, 0, 0, "–", f"`{said.replace(str(root), '…')[:120]}`")


def test_a_clock_that_goes_back(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tell: Tell) -> None:
    """A day back between two runs: what is written and what is skipped does not hang on it."""
    root, true_now = tmp_path / "warehouse", clock.now
    assert toy(tmp_path, root) == 0
    for module in ("equipoise.job.run.now", "equipoise.store.ledger.now"):
        monkeypatch.setattr(module, lambda: true_now() - timedelta(days=1))
    store = Store(spark, str(root))
    version = store.version("feature.sequences")
    assert toy(tmp_path, root) == 0
    assert store.version("feature.sequences") == version, "the same again is skipped"
    assert toy(tmp_path, root, "--windows.days", "7", users=6) == 0
    assert store.read("feature.sequences").count() == 6
    assert toy(tmp_path, root, "--windows.days", "7", users=6) == 0
    runs = store.read("ops.runs").collect()
    assert sorted((r["attempt"], r["status"]) for r in runs) == [(1, "done"), (1, "done"), (2, "skipped"), (2, "skipped")]
    assert ledger.now() < true_now()
    tell("a clock that goes back a day between runs", 4, 0, 0, "–", "–")


def submitted(folder: Path) -> subprocess.Popen[str]:
    """ingest_events in a process of its own, as a scheduler starts it."""
    line = ["spark-submit", "--properties-file", "conf/spark/local.conf", "--load-spark-defaults", "--driver-memory", "1g"]
    line += ["jobs/ingest_events.py", "--settings", str(folder / "shop.toml")]
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(line, cwd=ROOT, env=environment(), start_new_session=True, **pipe)  # type: ignore[call-overload,no-any-return]


def ended(process: subprocess.Popen[str]) -> Ended:
    said, _ = process.communicate(timeout=900)
    return Ended(process.returncode, said, 0.0)


def test_the_same_job_twice_at_once_and_a_lock_left_by_a_kill(spark: SparkSession, tmp_path: Path, tell: Tell) -> None:
    for name in ("alone", "both"):
        (tmp_path / name).mkdir()
        shop(tmp_path / name, GOOD, 0.2)
    shutil.copy(tmp_path / "alone" / "secret.key", tmp_path / "both" / "secret.key")
    root, lock = tmp_path / "both" / "warehouse", tmp_path / "both" / "warehouse" / "_locks" / "ingest_events__shop.lock"

    killed = submitted(tmp_path / "both")
    while not lock.exists() and killed.poll() is None:
        time.sleep(0.05)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert lock.exists() and killed.returncode == -signal.SIGKILL

    first, second = (ended(p) for p in [submitted(tmp_path / "both") for _ in range(2)])
    done, refused = sorted((first, second), key=lambda e: e.code)
    must(done)
    must(refused, 1)
    assert "ingest_events shop: another run works on this slice (process" in refused.output
    must(ended(submitted(tmp_path / "alone")))
    wrong = differences(spark, root, tmp_path / "alone" / "warehouse")
    rows = Store(spark, str(root)).read("silver.events").count()
    counts = 1, max(0, len(GOOD) - rows), max(0, rows - len(GOOD)), "–"
    tell("the same job twice at once", *counts, "exit 1: `another run works on this slice`")
    tell("a lock that a kill left behind", *counts, "nothing: the kernel let go of it")
    assert wrong == []
