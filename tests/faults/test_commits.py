"""A night that stands still, and one that is killed, at each of its commits in turn: readers see yesterday or today, whole."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.faults import nights
from tests.faults.conftest import Tell
from tests.faults.test_writes import compiled, ended, fresh, with_log, writer

pytestmark = pytest.mark.slow
ROWS = 40
TABLES = (nights.SEQUENCES, nights.TRENDS, nights.METRICS, nights.ITEMS, nights.SPEC, "ops.published")
"""In the order of a night's commits."""

KILLED_AT = (*(("before", name) for name in TABLES), ("after", "ops.published"))
"""What lies between two commits is seen before the second: the first has landed, the files of the second are there."""

Place = tuple[str, str]


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled("HeldLog", tmp_path_factory.mktemp("classes"))


class Held:
    """A writer that stands still at every commit."""

    def __init__(self, root: Path, last: int, classes: Path, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self.process = writer(root, last, *with_log("HeldLog", classes), FAULTS_FOLDER=str(folder))

    def places(self) -> Iterator[Place]:
        """Each place where it stands; it goes on when the next is asked for, and ends after the last."""
        assert self.process.stdout
        for line in self.process.stdout:
            if found := re.match(r"AT (\d+) (before|after) (\S+)", line):
                yield found.group(2), found.group(3)
                (self._folder / f"go-{found.group(1)}").touch()

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


def seen(spark: SparkSession, root: Path, today: int) -> list[str]:
    """What readers see now that is neither the night before, whole, nor today's."""
    store = fresh(spark, root)
    shown, wrong = nights.through_views(store, spark, ROWS)
    said = nights.last_published(store)
    odd = [] if len(shown) == 1 and {*shown, said} <= {today - 1, today} else [f"views {shown}, published {said}, today {today}"]
    return [*odd, *wrong, *nights.mixed(store, ROWS)]


def test_a_night_stands_and_is_killed_at_each_commit(spark: SparkSession, tmp_path: Path, classes: Path, tell: Tell) -> None:
    root, stood, half = tmp_path / "warehouse", set[Place](), 0
    ended(writer(root, 0))
    for number, target in enumerate(KILLED_AT):
        today = nights.last_published(fresh(spark, root)) + 1
        held = Held(root, 10_000, classes, tmp_path / f"go-{number}")
        for place in held.places():
            if place not in stood:
                half += bool(seen(spark, root, today))
                stood.add(place)
            if place == target:
                break
            today += place == ("after", "ops.published")
        else:
            pytest.fail(f"the writer ended before {target}")
        held.kill()
        half += bool(seen(spark, root, today))
    last = nights.last_published(fresh(spark, root)) + 1
    ended(writer(root, last))
    lost, doubled = nights.outcome(fresh(spark, root), last, ROWS)
    tell("readers while a night stands before and after each commit", len(stood), lost, doubled, half, "–")
    tell("kill -9 before each commit of a night, and after the last", len(KILLED_AT), lost, doubled, half, "–")
    assert stood == {(when, name) for when in ("before", "after") for name in TABLES}
    assert (lost, doubled, half) == (0, 0, 0)


def test_readers_of_versions_that_do_not_belong_together_are_told_apart(spark: SparkSession, tmp_path: Path) -> None:
    """That the check above can fail: one view of the day before among those of today."""
    root = tmp_path / "warehouse"
    ended(writer(root, 1))
    assert seen(spark, root, 1) == []
    file = root / "views.sql"
    text = file.read_text()
    version = re.search(r"feature\.example_spec VERSION AS OF (\d+)", text)
    assert version
    file.write_text(text.replace(version.group(0), f"feature.example_spec VERSION AS OF {int(version.group(1)) - 1}"))
    assert seen(spark, root, 1) == ["feature.example_spec at night 1"]
