"""Judges tonight by the nights before it: input, scores, matured labels, gates, durations; writes ops.monitors, sends alarms.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults \\
    jobs/watch_tables.py --settings conf/demo.toml --as-of 2017-11-06
"""

from __future__ import annotations

from pyspark.sql import functions as F

from equipoise.errors import GateError
from equipoise.job import Context, Job, main
from equipoise.monitors import alerts, table
from equipoise.monitors.bands import FAIL
from equipoise.monitors.inputs import Limits
from equipoise.monitors.night import INTERESTS, PER_USER, SEGMENTS, Night, Rules, readings
from equipoise.monitors.outputs import OutputLimits
from equipoise.settings import chosen, resolve

JOB = Job(
    name="watch_tables",
    reads=("silver.events", "feature.daily_counts", "feature.user_profile", *PER_USER),
    earlier=(INTERESTS, SEGMENTS),
    writes=("ops.monitors",),
    sections=("monitors", "quality", "segments"),
)


def run(ctx: Context) -> None:
    s, ledger = ctx.settings, ctx.read_latest("ops.runs").filter(F.col("job") != JOB.name).toPandas()
    night = Night(
        as_of=ctx.as_of,
        events=ctx.read("silver.events"),
        daily=ctx.read("feature.daily_counts"),
        profile=ctx.at_as_of("feature.user_profile"),
        per_user={name: ctx.at_as_of(name) for name in PER_USER},
        earlier={name: ctx.read_earlier(name) for name in JOB.earlier},
        published={name: sorted(ctx.published[name]) for name in JOB.earlier},
        ledger=ledger,
        metrics=ctx.read_latest("ops.quality_metrics").toPandas(),
    )
    limits = Limits(**chosen(s.monitors, Limits)), OutputLimits(**chosen(s.monitors, OutputLimits))
    rules = Rules(*limits, s.segments.ladder, s.segments.horizon_days, s.quality.max_quarantined_share, s.monitors.slow_times)
    found = readings(night, rules)
    ctx.store.create("ops.monitors")
    new = table.fresh(found, ctx.as_of, *table.told_before(ctx.read_latest("ops.monitors"), ctx.as_of))
    failed = ", ".join(f"{r.monitor} {r.subject}" for r in found if r.status == FAIL and r.day == night.last)
    stops = bool(failed) and s.monitors.stop_on_fail
    ctx.replace("ops.monitors", table.frame(ctx.spark, found, new), {"as_of": ctx.as_of}, done=not stops)
    told = table.alarms(new, ctx.as_of, ctx.run_id)
    for one in told:
        ctx.say(f"{one.status}: {one.monitor} {one.subject}: {one.message}")
    ctx.say("last day: " + ", ".join(f"{n} {status}" for status, n in sorted(table.summary(found, ctx.as_of).items())))
    file = resolve(s.monitors.alert_file, ctx.settings_dir) if s.monitors.alert_file else ""
    named = alerts.sinks(s.monitors.model_copy(update={"alert_file": file}))
    alerts.deliver(named, f"equipoise, {s.source.name} as of {ctx.as_of}: {len(told)} alarms", told, ctx.say)
    if stops:
        raise GateError(f"monitors failed: {failed}; ops.monitors says why; mend it, or set monitors.stop_on_fail = false")


if __name__ == "__main__":
    main(JOB, run)
