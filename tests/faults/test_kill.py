"""kill -9 at random moments, then a rerun: the tables are those of an unkilled run, row for row."""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.conftest import KILLS
from tests.pipeline import JOBS, SMALL, differences, must, submit

pytestmark = pytest.mark.slow
KILLED = ("ingest_events", "score_users", "value_items", "recommend_items")
MOMENTS = 3
UNREAD = ("mine_associations", "track_migration", "profile_users", "build_audiences")
"""What they write is read by no job up to the last that is killed."""


@dataclass
class Reference:
    """An unkilled run: the warehouse before and after each job that is to be killed, and the job's seconds."""

    before: dict[str, Path] = field(default_factory=dict)
    after: dict[str, Path] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reference]:
    root = tmp_path_factory.mktemp("kill")
    warehouse = root / "warehouse"
    warehouse.mkdir()
    found = Reference()
    for job in (j for j in JOBS[: JOBS.index(KILLED[-1]) + 1] if j not in UNREAD):
        if job in KILLED:
            found.before[job] = Path(shutil.copytree(warehouse, root / f"before_{job}"))
        found.seconds[job] = must(submit(job, warehouse, *SMALL)).seconds
        if job in KILLED:
            found.after[job] = Path(shutil.copytree(warehouse, root / f"after_{job}"))
    yield found


@pytest.mark.parametrize("moment", range(MOMENTS))
@pytest.mark.parametrize("job", KILLED)
def test_a_killed_job_run_again_leaves_the_tables_of_an_unkilled_run(
    spark: SparkSession,
    reference: Reference,
    job: str,
    moment: int,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    # The later half of a run is where tables are written; a kill before the first write proves little.
    share = random.Random(f"{job}{moment}").uniform(0.4, 0.95)
    seconds = reference.seconds[job]
    for attempt in range(4):  # where the machine had more to do during the unkilled run, this one may end before the kill
        warehouse = Path(shutil.copytree(reference.before[job], tmp_path / f"warehouse-{attempt}"))
        killed = submit(job, warehouse, *SMALL, kill_after=share * seconds)
        if killed.code != 0:
            break
        seconds = min(share * seconds, killed.seconds)
    assert killed.code == -signal.SIGKILL
    again = must(submit(job, warehouse, *SMALL))
    assert differences(spark, warehouse, reference.after[job]) == []
    said = "skipped" if "skipped: run" in again.output else "ran"
    record_property(KILLS, f"| {job} | {killed.seconds:.1f} s | {share:.0%} | {said} |")
