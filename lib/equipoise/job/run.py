"""Runs one job: arguments, lock, fingerprint, skip, ledger, exit code."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from equipoise.clock import now
from equipoise.errors import EquipoiseError, GateError, StoreError
from equipoise.job.context import Context, Job, absolute, say
from equipoise.job.identity import code_version, run_id, sha256
from equipoise.job.lock import slice_lock
from equipoise.job.reach import require_reach
from equipoise.places import LOST_COMMITS, scheme
from equipoise.settings import Invocation, Settings, help_text, parse_command_line, resolve
from equipoise.spark.remote import exists
from equipoise.spark.session import session
from equipoise.store import Store
from equipoise.store.damage import readable
from equipoise.store.ledger import Entry, Ledger
from equipoise.tables import CATALOGUE

if TYPE_CHECKING:
    from equipoise.training.registry import Registry

Body = Callable[[Context], None]


def main(job: Job, body: Body) -> None:
    """Runs the job with the command line and ends the process with its exit code: 0 done, 1 failed, 2 settings, 3 gate."""
    sys.exit(run(job, body, sys.argv[1:], Path(sys.argv[0])))


def run(job: Job, body: Body, argv: list[str], job_file: Path) -> int:
    """Exit code of the job run with these arguments."""
    if "--help" in argv or "-h" in argv:
        sys.stdout.write(help_text(job.name, (sys.modules["__main__"].__doc__ or "").strip(), job.needs_as_of) + "\n")
        return 0
    try:
        invocation = parse_command_line(argv, needs_as_of=job.needs_as_of)
        as_of = invocation.as_of if job.needs_as_of else None
        lock_name = _locked_by(job, as_of, invocation.settings.source.name)
        one_writer = scheme(invocation.settings.warehouse) in LOST_COMMITS
        told = (lambda text: say(job.name, text)) if one_writer else None
        with slice_lock(invocation.settings.home, job.name, lock_name, alone=told):
            _run_locked(job, body, invocation, as_of, job_file)
        return 0
    except EquipoiseError as error:
        say(job.name, f"{'stopped by a gate' if isinstance(error, GateError) else 'failed'}: {error}")
        return error.exit_code
    except Exception:
        say(job.name, f"failed unexpectedly\n{traceback.format_exc()}")
        return 1


def _locked_by(job: Job, as_of: date | None, source: str) -> str:
    """What a run of the job has to itself: its date; every date, where a table that it writes holds one of them at a time."""
    if as_of is None:
        return source
    return as_of.isoformat() if all(CATALOGUE[name].slice_by for name in job.writes) else "any_date"


def _run_locked(job: Job, body: Body, invocation: Invocation, as_of: date | None, job_file: Path) -> None:
    settings, spark = invocation.settings, session(f"equipoise {job.name}")
    store = Store(spark, absolute(settings.warehouse), synthetic=settings.source.adapter == "simulated")
    with readable(store):
        _run_on(store, job, body, invocation, as_of, job_file)


def _run_on(store: Store, job: Job, body: Body, invocation: Invocation, as_of: date | None, job_file: Path) -> None:
    started = time.monotonic()
    settings, spark = invocation.settings, store.spark
    job, home = job.under(settings), absolute(settings.home)
    settings_dir = invocation.settings_path.resolve().parent
    registry = _registry(home, settings, settings_dir) if job.uses_model or job.publishes_model else None
    inputs = _pin(store, job)
    if as_of:
        require_reach(store, job, as_of)
    if registry and job.publishes_model and registry.settle():
        say(job.name, f"an interrupted move of CURRENT was ended: it is {registry.named()}")
    model_id = _current(registry) if registry and job.uses_model else None
    chosen = _decisive(job, settings)
    code = code_version(job_file)
    extra = job.extra_inputs(settings, settings_dir) if job.extra_inputs else {}
    extra |= job.of_registry(settings, registry, as_of) if job.of_registry and registry and as_of else {}
    published = {name: _published_before(store, name, as_of) for name in job.earlier} if as_of else {}
    extra |= {f"{name} of {day}": made for name, dated in published.items() for day, made in dated.items()}
    rows = {name: store.rows_version(name, at=version) for name, version in inputs.items()}
    identity = run_id(job.name, as_of, sha256(chosen), code, rows, model_id, extra)
    ctx = Context(
        job,
        settings,
        settings_dir,
        spark,
        store,
        identity,
        as_of,
        inputs,
        model_id,
        registry,
        published=published,
        code_version=code,
    )
    ledger = Ledger(store, spark)
    entry = Entry(identity, 0, job.name, as_of, sha256(chosen), code, inputs, {}, {}, now(), None, "running", None)
    there = _already_there(ctx, settings, ledger)
    if there is not None:
        say(job.name, f"skipped: run {identity[:8]} is already in {', '.join(sorted(there)) or 'the registry'}")
        first = ledger.start(replace(entry, outputs=there, status="skipped", message="same fingerprint"))
        ledger.finish(first)
        return
    entry = ledger.start(entry)
    try:
        with readable(store):
            body(ctx)
    except BaseException as error:
        status = "gated" if isinstance(error, GateError) else "failed"
        _leave(ledger, replace(entry, outputs=ctx.outputs, rows_out=ctx.rows_out, status=status, message=str(error)[:1000]))
        raise
    finally:
        ctx.forget_copies()
        _let_go(ctx)
    ledger.finish(replace(entry, outputs=ctx.outputs, rows_out=ctx.rows_out, status="done"))
    say(job.name, f"done in {time.monotonic() - started:.0f} s, run {identity[:8]}")


def _let_go(ctx: Context) -> None:
    """What the body kept in memory goes with it: of several jobs in one process each starts as it would on its own."""
    try:
        ctx.spark.catalog.clearCache()
    except Exception as error:  # a session that is gone keeps nothing; what ended the run is what the caller has to hear
        ctx.say(f"what was kept in memory stays until the process ends: {error}")


def _leave(ledger: Ledger, entry: Entry) -> None:
    """The row of a run that ended early. That it cannot be written is said; what ended the run is what the caller has to hear."""
    try:
        ledger.finish(entry)
    except Exception as error:  # Spark's errors have no common class
        say(entry.job, f"ops.runs: the row of this run stays as it is and says running, it ended as {entry.status}: {error}")


def _decisive(job: Job, settings: Settings) -> dict[str, object]:
    """The settings that decide what the job writes; a section may be a single value, such as data_until."""
    whole = settings.model_dump(mode="json", include=set(job.sections))
    for section, _, name in (ignored.partition(".") for ignored in job.ignores):
        whole[section].pop(name)
    return {section: whole[section] for section in job.sections}


def _registry(home: str, settings: Settings, settings_dir: Path) -> Registry:
    from equipoise.models.signature import signing_key
    from equipoise.training.registry import Registry

    file = settings.models.signing_key_file
    return Registry.of(home, signing_key(resolve(file, settings_dir) if file else ""))


def _pin(store: Store, job: Job) -> dict[str, int]:
    versions = {name: store.version(name) for name in job.reads}
    missing = sorted(n for n, v in versions.items() if v is None)
    if missing:
        raise StoreError(f"{job.name}: no table {', '.join(missing)} under {store.root}; run the job that writes it first")
    return {n: v for n, v in versions.items() if v is not None}


def _published_before(store: Store, name: str, as_of: date) -> dict[date, str]:
    """As-of date → run that made the table's rows of it, of the dates that publish_report made public before as_of."""
    if store.version("ops.published") is None or store.version(name) is None:
        return {}
    known = store.read("ops.published").filter((F.col("table_name") == name) & (F.col("as_of") < F.lit(as_of)))
    dates = sorted(r["as_of"] for r in known.select("as_of").collect())
    marks = dict(zip(dates, store.fingerprints(name, [{"as_of": d} for d in dates]), strict=True))
    made = {d: run for d, run in marks.items() if run}
    if unknown := [d for d in dates if d not in made]:  # the log has forgotten them, or somebody else changed the table
        rows = store.read(name).filter(F.col("as_of").isin(unknown)).groupBy("as_of").agg(F.max("run_id").alias("run_id"))
        made |= {r["as_of"]: str(r["run_id"]) for r in rows.collect()}
    return made


def _current(registry: Registry) -> str:
    current = registry.current()
    if current is None:
        raise StoreError(f"no CURRENT model in {registry.root}; run finetune_encoder first")
    return registry.trusted(current).name


def _already_there(ctx: Context, settings: Settings, ledger: Ledger) -> dict[str, int] | None:
    """Versions of the outputs when every one of them holds this very run, else None.

    A table that the run kept from an earlier one has that one's mark; it is there when it has not changed since.
    """
    if ctx.job.artifacts and not all(exists(ctx.spark, place) for place in ctx.job.artifacts(settings)):
        return None
    if ctx.job.publishes_model:
        return {} if _model_there(ctx) else None
    found: dict[str, int] = {}
    left: dict[str, int] | None = None
    for name in ctx.job.writes:
        values = slice_of(name, ctx.as_of_or_none, settings.source.name, ctx.run_id)
        if ctx.store.fingerprint(name, values) != ctx.run_id:
            left = ledger.left_by(ctx.run_id) if left is None else left
            if values or name not in left or left[name] != ctx.store.rows_version(name):
                return None
        found[name] = ctx.store.version(name) or 0
    return found or None


def _model_there(ctx: Context) -> bool:
    """Whether the run has nothing to do: its model is CURRENT, or is there and no run may make it CURRENT."""
    if not ctx.registry.published(ctx.run_id):
        return False
    if ctx.registry.named() == ctx.run_id or not ctx.job.promotes:
        return True
    withdrawn = ctx.registry.standing().withdrawn
    if ctx.run_id not in withdrawn:
        return False
    ctx.say(
        f"model {ctx.run_id} was withdrawn ({withdrawn[ctx.run_id] or 'no reason given'}); CURRENT stays {ctx.registry.named()}; "
        f"to use it again: python jobs/promote_model.py --to {ctx.run_id}"
    )
    return True


def slice_of(name: str, as_of: date | None, source: str, run: str) -> dict[str, object]:
    """The slice of a table that a run replaces."""
    known: dict[str, object] = {"as_of": as_of, "settled_by": as_of, "source": source, "run_id": run}
    return {k: known[k] for k in CATALOGUE[name].slice_by}
