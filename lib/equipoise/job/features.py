"""One night of feature tables: what differs from the night before is counted, or, where that is not known, everything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from equipoise.features import build
from equipoise.features.daily import daily_counts, first_days, require_history
from equipoise.features.days import Day, day_marks, ends_of, inside, open_starts, touched, window_starts
from equipoise.features.sequences import latest
from equipoise.job.context import Context
from equipoise.job.identity import sha256
from equipoise.job.recipe import basis
from equipoise.store import Only
from equipoise.tables.nights import FEATURE_STATE

STATE = FEATURE_STATE.full_name
DAILY, SHARES, LATEST, TRENDS = (f"feature.{n}" for n in ("daily_counts", "category_shares", "latest_events", "category_trends"))
COUNTED = (DAILY, SHARES, LATEST, "feature.user_profile", "feature.sequences", TRENDS)
SPEC, ITEMS, TRAIN, VALIDATION = (f"feature.{n}" for n in ("example_spec", "example_items", "examples", "examples_validation"))
EXAMPLES = (SPEC, ITEMS, TRAIN, VALIDATION)


@dataclass(frozen=True)
class State:
    """The row of ops.feature_state."""

    run_id: str
    as_of: date
    basis: str
    examples: str
    tables: Mapping[str, int]
    days: Mapping[date, Day]


@dataclass
class Night:
    """One run of build_features."""

    ctx: Context
    recipe: build.Recipe
    _upon: dict[str, int] = field(default_factory=dict)
    _again: DataFrame | None = None
    """Users whose events are all looked at again, kept until their latest are written."""

    @cached_property
    def events(self) -> DataFrame:
        """silver.events before as_of."""
        return self.ctx.read("silver.events").filter(F.col("event_date") < F.lit(self.recipe.as_of))

    @cached_property
    def items(self) -> DataFrame:
        return self.ctx.read("silver.items")

    @cached_property
    def categories(self) -> DataFrame:
        return self.ctx.read("silver.item_categories")

    @cached_property
    def days(self) -> dict[date, Day]:
        return day_marks(self.events, self.items, self.categories)

    @cached_property
    def basis(self) -> str:
        """Everything but the events, the catalogue and as_of that decides a feature."""
        return basis(self.ctx.settings, self.ctx.settings_dir, self.ctx.code_version)

    @cached_property
    def examples_from(self) -> str:
        """What the examples are made from: the basis, their cuts, and every day before the last label window ends."""
        cuts, r = self.recipe.cuts, self.recipe
        until = cuts.validation + timedelta(days=max(r.window_days, r.horizon_days))
        return sha256([self.basis, cuts.train, cuts.validation, sorted((d, vars(m)) for d, m in self.days.items() if d < until)])

    @cached_property
    def state(self) -> State | None:
        """What the last night left behind."""
        if self.ctx.store.version(STATE) is None:
            return None
        rows = self.ctx.read_latest(STATE).filter(F.col("job") == self.ctx.job.name).collect()
        if not rows:
            return None
        (r,) = rows
        days = {d["event_date"]: Day(d["events"], d["counted"], d["worded"]) for d in r["days"]}
        return State(r["run_id"], r["as_of"], r["basis"], r["examples"], dict(r["tables"]), days)

    @cached_property
    def touched(self) -> list[date]:
        return touched(self.state.days if self.state else {}, self.days)

    def why_anew(self) -> str | None:
        """Why everything has to be counted from the events, or None where the last night can be gone on from."""
        s, late = self.ctx.settings.features, self.ctx.settings.features.late_days
        if not s.incremental:
            return "features.incremental is off"
        if self.state is None:
            return f"no earlier night is known ({STATE} has no row)"
        if not self.state.days:
            return f"the night of {self.state.as_of} was counted with features.incremental off and noted no days"
        if self.state.basis != self.basis:
            return f"settings, code or tokenizer are not those of the night of {self.state.as_of}"
        for name in (DAILY, SHARES, LATEST):
            self._upon[name] = self.ctx.store.rows_version(name) or 0
            if not self._as_left(name):
                left, now = self.state.tables.get(name), self.ctx.store.rows_version(name)
                return f"{name} is at version {now}, but the night of {self.state.as_of} left version {left}"
        oldest = self.state.as_of - timedelta(days=late)
        if self.touched and self.touched[0] < oldest:
            n = sum(d < oldest for d in self.touched)
            return (
                f"{n} days differ more than features.late_days = {late} days before the last as_of {self.state.as_of}, "
                f"the first is {self.touched[0]}"
            )
        return None

    def examples_stand(self) -> bool:
        """Whether the examples, and the trends at their cuts, are those that this night would make."""
        if self.state is None or self.state.examples != self.examples_from:
            return False
        mark = self.ctx.store.fingerprint(TRENDS, {"as_of": self.state.as_of})
        return mark in (self.state.run_id, self.ctx.run_id) and all(self._as_left(name) for name in EXAMPLES)

    def _pinned(self, name: str) -> DataFrame:
        """A table as it is now, whatever is written over it meanwhile."""
        return self.ctx.store.read(name, self.ctx.store.version(name))

    def _as_left(self, name: str) -> bool:
        """Whether a table is as the last night left it, or as this very run left it before it was cut short."""
        assert self.state is not None
        left, store = self.state.tables.get(name), self.ctx.store
        if left is None or store.rows_version(name) == left:
            return left is not None
        mark = store.fingerprint(name, {})
        return mark == self.ctx.run_id or (mark == self.ctx.partly(left) and store.rows_version(name, last=False) == left)

    def run(self) -> None:
        """Every table, and last the row that says what they were made from."""
        anew = self.why_anew()
        if anew:
            self.ctx.say(f"everything is counted anew: {anew}")
            base = self._base_anew()
        else:
            base = self._base_from_last()
        self.ctx.replace("feature.user_profile", base.profile_at_as_of(self.recipe), {"as_of": self.recipe.as_of})
        newest = self._newest(base.at, anew is not None)
        known = build.known(base, newest, self.items, self.recipe)
        trends = known.trends
        if len(base.at) == 1:
            made = build.sequences_at_as_of(base, known, self.recipe)
            trends = self._earlier_trends().unionByName(trends)
        else:
            made = self._write_examples(base, known)
        self.ctx.replace("feature.sequences", made, {"as_of": self.recipe.as_of})
        self.ctx.replace(TRENDS, trends, {"as_of": self.recipe.as_of})
        self._leave_state()

    def _base_anew(self) -> build.Base:
        base = build.base(self.ctx.read("silver.events"), self.categories, self.recipe)
        self.ctx.replace(DAILY, base.daily, {})
        self.ctx.replace(SHARES, base.shares, {})
        return base

    def _base_from_last(self) -> build.Base:
        r, last = self.recipe, self.state
        assert last is not None
        require_history(min(self.days, default=None), self.ctx.read("silver.events"), r.as_of)
        cuts = r.all_cuts  # an as_of that leaves none is refused before anything is written
        self.ctx.say(f"goes on from the night of {last.as_of}: {len(self.touched)} days differ{_span(self.touched)}")
        if self.touched:
            part = daily_counts(self.events.filter(F.col("event_date").isin(self.touched)), self.categories)
            self.ctx.replace(DAILY, part, {}, only=self._only(DAILY, "event_date", self.touched))
        else:
            self.ctx.keep(DAILY)
        daily = self.ctx.left(DAILY).repartition("user_id").persist()
        bought = first_days(daily)[1]
        at_ends = (last.as_of, r.as_of)
        opened = [start for day in at_ends for start in open_starts(day, r.origin, r.window_days)]
        starts = sorted({*window_starts(self.touched, r.origin, r.window_days), *opened})
        if starts:
            shares = build.shares_of(daily.filter(inside("event_date", starts, r.window_days)), r)
            self.ctx.replace(SHARES, shares, {}, only=self._only(SHARES, "window_end", ends_of(starts, r.window_days, at_ends)))
        else:
            self.ctx.keep(SHARES)
        at = [r.as_of] if self.examples_stand() else cuts
        return build.counted(daily, self.ctx.left(SHARES), bought, r, at)

    def _only(self, name: str, column: str, days: list[date]) -> Only:
        """These days of a table, whose other days are as `why_anew` found them."""
        return Only(column, tuple(days), self._upon[name])

    def _newest(self, at: list[date], anew: bool) -> DataFrame:
        """The frame of `latest` at the cuts; feature.latest_events gets that of as_of."""
        r = self.recipe
        if anew or len(at) > 1:
            newest = latest(self.events, at, r.max_items).persist()
            mine = latest(newest, [r.as_of], r.max_items)
        else:
            newest = mine = latest(self._candidates(), at, r.max_items).persist()
        self.ctx.replace(LATEST, mine, {})
        if self._again is not None:
            self._again.unpersist()
        return newest

    def _candidates(self) -> DataFrame:
        """Events among which everybody's latest are: those of the last night, and those of the days that differ. Of a user whose
        latest events lie on such a day any event may have gone, so that all of theirs are looked at again."""
        before, changed = self._pinned(LATEST), F.col("event_date").isin(self.touched)
        again = self._again = before.filter(changed).select("user_id").distinct().persist()
        columns = before.columns
        found = before.unionByName(self.events.filter(changed).select(*columns))
        if again.isEmpty():
            return found
        whole = self.events.join(again, "user_id", "left_semi").select(*columns)
        return found.join(again, "user_id", "left_anti").unionByName(whole)

    def _earlier_trends(self) -> DataFrame:
        """Trends at the cuts of the examples, as the last night wrote them."""
        assert self.state is not None
        theirs = self._pinned(TRENDS).filter(F.col("as_of") == F.lit(self.state.as_of))
        return theirs.filter(F.col("cut").isin(self.recipe.all_cuts[:-1])).drop("as_of")

    def _write_examples(self, base: build.Base, known: build.Known) -> DataFrame:
        made = build.learning(base, known, self.items, self.recipe, self.ctx.say)
        self.ctx.replace(SPEC, made.spec, {})
        self.ctx.replace(ITEMS, made.items, {})
        self.ctx.replace(TRAIN, made.train, {}, keep_partitions=True)
        self.ctx.replace(VALIDATION, made.validation, {}, keep_partitions=True)
        return made.sequences

    def _leave_state(self) -> None:
        """What the next night has to know. Without features.incremental no marks: they cost a pass over all events, and only a
        night that goes on reads them."""
        for name in EXAMPLES:
            if name not in self.ctx.outputs:
                self.ctx.keep(name)
        tables = {n: self.ctx.outputs[n] for n in (DAILY, SHARES, LATEST, *EXAMPLES)}
        on = self.ctx.settings.features.incremental
        days = [(d, m.events, m.counted, m.worded) for d, m in sorted(self.days.items())] if on else []
        examples = self.examples_from if on else ""
        row = (self.ctx.job.name, self.ctx.run_id, self.recipe.as_of, self.basis, examples, tables, days)
        self.ctx.replace(STATE, self.ctx.spark.createDataFrame([row], FEATURE_STATE.struct_type()), {})


def _span(days: list[date]) -> str:
    if not days:
        return ""
    return f" ({days[0]})" if len(days) == 1 else f" ({days[0]} to {days[-1]})"
