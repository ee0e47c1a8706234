"""build_features night by night against everything counted anew: the same tables, whatever came, went or broke in between."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from equipoise.job.features import COUNTED, DAILY, EXAMPLES, LATEST, SHARES, STATE, TRENDS
from equipoise.job.run import run
from equipoise.store import Store
from tests.integration.test_features_job import TOML, fill, job
from tests.pipeline import frame_differences
from tests.small_models import tiny_bert
from tests.unit.features.world import Event, day, event, random_events, user

BOUNDARY = day("05-22")
"""Windows of 28 days from 2 January: with as_of here the cuts of the examples move, and no window is open."""

FIRST, DAYS = day("01-03"), 170
LOG = random_events(4, FIRST, DAYS, 500, users=14)
BEGUN = BOUNDARY + timedelta(days=5)
"""As-of of the night that many tests go on from."""

Frames = dict[str, Any]
"""Table → its rows of one as-of, in order."""

Counted = dict[tuple[tuple[Event, ...], date, tuple[str, ...]], Frames]
"""Events, as-of and flags → what counting everything anew makes of them."""


class Nights:
    """A warehouse that goes on from night to night, and beside it one that counts everything anew: once for the same events,
    as-of and flags, whatever test asks."""

    def __init__(self, spark: SparkSession, folder: Path, counted: Counted) -> None:
        self.spark, self.folder, self.counted = spark, folder, counted
        self.encoder = tiny_bert(folder / "bert")
        self.mine, self.theirs = (Store(spark, str(folder / name)) for name in ("mine", "theirs"))
        self.loaded: dict[str, list[Event]] = {}

    def go_on_from(self, other: Nights) -> None:
        """Begins where the other one's warehouse is: it is copied."""
        shutil.copytree(other.mine.root, self.mine.root)
        self.loaded[self.mine.root] = other.loaded[other.mine.root]

    def run(self, store: Store, log: list[Event], as_of: date, *flags: str) -> str:
        """What the job said; the events are written anew only where they differ."""
        root = Path(store.root)
        if self.loaded.get(store.root) != log:
            fill(self.spark, root, log, f"{hash(tuple(log))}")
            self.loaded[store.root] = list(log)
        settings = self.folder / f"{root.name}.toml"
        settings.write_text(TOML.format(warehouse=root, encoder=self.encoder))
        module = job()
        asked = () if any("features.incremental" in flag for flag in flags) else ("--features.incremental=true",)
        argv = ["--settings", str(settings), "--as-of", str(as_of), *asked, *flags]
        with redirect_stderr(io.StringIO()) as told:
            code = run(module.JOB, module.run, argv, Path("build_features.py"))
        assert code == 0, told.getvalue()
        return told.getvalue()

    def alone(self, log: list[Event], as_of: date, *flags: str) -> str:
        """Goes on in the one warehouse."""
        return self.run(self.mine, [e for e in log if e[5] < as_of + timedelta(days=3)], as_of, *flags)

    def night(self, log: list[Event], as_of: date, *flags: str) -> str:
        """Goes on in one warehouse and counts anew in the other; the tables must be the same."""
        seen = [e for e in log if e[5] < as_of + timedelta(days=3)]  # some of the days to come are there already
        said = self.alone(log, as_of, *flags)
        due = self.anew(seen, as_of, *flags)
        assert [d for name in due for d in frame_differences(name, self.rows(self.mine, name, as_of), due[name])] == []
        return said

    def anew(self, log: list[Event], as_of: date, *flags: str) -> Frames:
        """Every table as counted anew."""
        asked = tuple(log), as_of, flags
        if asked not in self.counted:
            said = self.run(self.theirs, log, as_of, *flags, "--features.incremental=false")
            assert "everything is counted anew: features.incremental is off" in said
            self.counted[asked] = {name: self.rows(self.theirs, name, as_of) for name in (*COUNTED, *EXAMPLES)}
        return self.counted[asked]

    def rows(self, store: Store, name: str, as_of: date) -> Any:
        frame = store.read(name)
        mine = frame.filter(F.col("as_of") == F.lit(as_of)) if "as_of" in frame.columns else frame
        keys = [
            c for c in ("user_id", "event_date", "window_end", "cut", "cut_day", "category", "event_type", "event_id", "item_id")
        ]
        return mine.orderBy(*[c for c in keys if c in mine.columns]).toPandas()

    def versions(self) -> dict[str, int | None]:
        return {n: self.mine.version(n) for n in (DAILY, SHARES, LATEST, *EXAMPLES)}


@pytest.fixture(scope="module")
def counted() -> Counted:
    """Nothing yet."""
    return {}


@pytest.fixture(scope="module")
def same_code() -> Iterator[None]:
    """Even while somebody edits the library."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("equipoise.job.run.code_version", lambda _: "the same code")
        yield


@pytest.fixture(scope="module")
def begun(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, counted: Counted, same_code: None) -> Nights:
    """After a first night, within a window."""
    made = Nights(spark, tmp_path_factory.mktemp("begun"), counted)
    assert "everything is counted anew: no earlier night is known" in made.alone(LOG, BEGUN)
    return made


@pytest.fixture
def nights(spark: SparkSession, tmp_path: Path, counted: Counted, same_code: None) -> Nights:
    return Nights(spark, tmp_path, counted)


@pytest.mark.slow
def test_a_night_counts_what_it_brought_and_a_rerun_nothing(nights: Nights, begun: Nights) -> None:
    as_of = BEGUN
    nights.go_on_from(begun)
    before = nights.versions()
    said = nights.night(LOG, as_of + timedelta(days=1))
    assert f"goes on from the night of {as_of}: 1 days differ ({as_of})" in said
    assert "feature.examples: kept, nothing that it is made from has changed" in said
    changed = {n for n, v in nights.versions().items() if v != before[n]}
    assert changed == {DAILY, SHARES, LATEST}
    since = nights.versions()
    again = nights.run(nights.mine, nights.loaded[nights.mine.root], as_of + timedelta(days=1))
    assert "skipped: run" in again and nights.versions() == since
    days = nights.mine.read(DAILY).filter(F.col("event_date") == F.lit(as_of)).agg(F.round(F.sum("events"))).collect()[0][0]
    assert days == sum(e[5] == as_of for e in LOG), "the day's events, counted from the log itself"


@pytest.mark.slow
def test_many_nights_over_a_boundary(nights: Nights) -> None:
    said = [nights.alone(LOG, BOUNDARY - timedelta(days=2))]
    said += [nights.night(LOG, BOUNDARY + timedelta(days=n)) for n in (-1, 0, 1)]
    assert ["counted anew" in s for s in said] == [True, False, False, False]
    assert ["feature.examples: kept" in s for s in said] == [False, True, False, True], "cuts move with the boundary"
    nights.night(LOG, BOUNDARY + timedelta(days=9))  # nights were missed
    closed = nights.mine.read(SHARES).filter("closed").agg(F.max("window_end")).collect()[0][0]
    assert closed == BOUNDARY


@pytest.mark.slow
def test_events_that_come_late_go_or_are_corrected(nights: Nights) -> None:
    as_of = BOUNDARY + timedelta(days=10)
    nights.alone(LOG, as_of)
    who = LOG[0][1]
    near, far = as_of - timedelta(days=4), as_of - timedelta(days=20)  # in the open window; in a closed one
    late = [*LOG, event(who, "a1", "purchase", near, amount=5.0, n=900), event(user("newcomer"), "b1", "view", near, n=901)]
    said = nights.night(late, as_of)
    assert "1 days differ" in said and "feature.examples: kept" in said
    untouched = closed_windows(nights, as_of)
    late.append(event(who, "c1", "purchase", far, amount=7.0, n=902))
    said = nights.night(late, as_of + timedelta(days=1))
    assert "2 days differ" in said and "feature.examples:" in said and "feature.examples: kept" not in said
    assert {e for e, m in closed_windows(nights, as_of + timedelta(days=1)).items() if m != untouched[e]} == {BOUNDARY}
    newest = max((e for e in late if e[1] == who and e[5] < as_of and e[2] and e[3] != "expose"), key=lambda e: (e[4], e[0]))
    gone = [e for e in late if e != newest]
    assert "goes on" in nights.alone(gone, as_of + timedelta(days=1))
    other = next(e for e in reversed(gone) if near <= e[5] < as_of and e[3] == "purchase")
    corrected = [(*e[:7], 999.0) if e == other else e for e in gone]
    assert "goes on" in nights.night(corrected, as_of + timedelta(days=1))


def closed_windows(nights: Nights, as_of: date) -> dict[date, tuple[Any, ...]]:
    """Window end → what is in it, of the windows that are closed."""
    rows = nights.mine.read(SHARES).filter("closed").orderBy("window_end", "user_id", "category").collect()
    return {end: tuple(r for r in rows if r["window_end"] == end) for end in {r["window_end"] for r in rows}}


@pytest.mark.slow
def test_what_cannot_be_gone_on_from_is_counted_anew_and_said(nights: Nights, begun: Nights) -> None:
    """Compared at the end alone: what is counted anew is counted by the same code on both sides."""
    as_of = BEGUN
    nights.go_on_from(begun)
    old = [*LOG, event(LOG[0][1], "a1", "purchase", as_of - timedelta(days=29), amount=5.0, n=900)]
    said = nights.alone(old, as_of)
    assert "anew: 1 days differ more than features.late_days = 28 days before the last as_of" in said
    other = nights.alone(old, as_of, "--interests.half_life_days=30")
    assert "anew: settings, code or tokenizer are not those of the night" in other
    nights.alone(old, as_of, "--features.incremental=false")
    assert f"anew: the night of {as_of} was counted with features.incremental off" in nights.alone(old, as_of)
    nights.spark.sql(f"DELETE FROM delta.`{nights.mine.path(DAILY)}` WHERE category = 'CHEESE'")
    assert "anew: feature.daily_counts is at version" in nights.night(old, as_of + timedelta(days=1))
    shutil.rmtree(nights.mine.path(LATEST))
    assert "anew: feature.latest_events is at version None" in nights.alone(old, as_of + timedelta(days=2))
    shutil.rmtree(nights.mine.path(STATE))
    assert "anew: no earlier night is known" in nights.alone(old, as_of + timedelta(days=3))


@pytest.mark.slow
def test_backwards_and_forwards_again(nights: Nights, begun: Nights) -> None:
    as_of = BEGUN
    nights.go_on_from(begun)
    for shift in (-8, 1):  # the first lies before the boundary
        assert "goes on from the night of" in nights.night(LOG, as_of + timedelta(days=shift))
    assert "anew: " in nights.alone(LOG, as_of - timedelta(days=40))


def cut_short(nights: Nights, as_of: date, stop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A night whose process is gone once the table `stop` is written."""
    plain = Store.replace

    def dies(self: Store, frame: Any, name: str, values: Any, **more: Any) -> Any:
        written = plain(self, frame, name, values, **more)
        if name == stop:
            raise KeyboardInterrupt
        return written

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Store, "replace", dies)
        nights.alone(LOG, as_of)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [DAILY, LATEST, TRENDS, "feature.examples"])
def test_cut_short_after_any_table_and_run_again(
    nights: Nights, begun: Nights, monkeypatch: pytest.MonkeyPatch, stop: str
) -> None:
    """After each table the process is gone; then the same night again, or the night after it."""
    if stop in EXAMPLES:
        as_of = BOUNDARY
        nights.alone(LOG, as_of - timedelta(days=1))
    else:
        as_of = BEGUN + timedelta(days=1)
        nights.go_on_from(begun)
    cut_short(nights, as_of, stop, monkeypatch)
    assert "goes on from the night of" in nights.night(LOG, as_of)


@pytest.mark.slow
def test_another_night_after_one_that_was_cut_short(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    as_of = BOUNDARY + timedelta(days=6)
    nights.alone(LOG, as_of)
    cut_short(nights, as_of + timedelta(days=1), SHARES, monkeypatch)
    assert "anew: feature.daily_counts is at version" in nights.night(LOG, as_of)


def test_days_are_told_apart(spark: SparkSession) -> None:
    from equipoise.features.days import day_marks, touched
    from tests.unit.features.world import events, item_categories, items

    one, two, three = day("03-01"), day("03-02"), day("03-03")
    log = [
        event("u", "a1", "view", one),
        event("v", "b1", "view", two),
        event("v", None, "search", two),
        event("w", "d1", "cart", three),
    ]

    def marks(rows: Sequence[Event], **frames: Any) -> Any:
        texts = frames.get("items", items(spark)).withColumn("text", F.lower("title"))
        return day_marks(events(spark, rows), texts, frames.get("categories", item_categories(spark)))

    plain = marks(log)
    assert {d: m.events for d, m in plain.items()} == {one: 1, two: 2, three: 1}
    assert touched(plain, marks(log[::-1])) == [], "in any order"
    assert touched(plain, marks(log[1:])) == [one] and touched({}, plain) == [one, two, three]
    swapped = [(*log[0][:6], None, 5.0), *log[1:]]
    assert touched(marks([(*log[0][:6], 5.0, None), *log[1:]]), marks(swapped)) == [one], (
        "a null moved from one column to the next"
    )
    moved = item_categories(spark).withColumn("weight", F.when(F.col("item_id") == "d1", 0.5).otherwise(F.col("weight")))
    assert touched(plain, marks(log, categories=moved)) == [three]
    renamed = items(spark).withColumn("title", F.when(F.col("item_id") == "b1", "another").otherwise(F.col("title")))
    words = marks(log, items=renamed)
    assert touched(plain, words) == [] and [d for d in plain if words[d].worded != plain[d].worded] == [two]
