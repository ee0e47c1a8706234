"""All jobs one after another in one Spark application: on one machine, start-up and warm-up are paid once, not twelve times."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from equipoise.errors import EquipoiseError, GateError
from equipoise.job.context import say
from equipoise.job.run import run
from equipoise.settings import Settings, help_text, parse_command_line

ORDER = (
    "ingest_events",
    "build_features",
    "mine_associations",
    "finetune_encoder",
    "score_users",
    "segment_users",
    "track_migration",
    "profile_users",
    "build_audiences",
    "collect_feedback",
    "value_items",
    "recommend_items",
    "watch_tables",
    "evaluate_models",
    "publish_report",
)
"""Each job reads what those before it wrote."""


LISTS = (
    "mine_associations",
    "profile_users",
    "build_audiences",
    "collect_feedback",
    "value_items",
    "recommend_items",
    "watch_tables",
    "publish_report",
)
"""Jobs that the evaluation of the learner alone (evaluate.lists = false) does without."""


def steps(settings: Settings) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Job names in order, each with the flags it gets beside the common ones.

    With several evaluated seeds one model per seed is trained, and with evaluate.held_out_users one without these users; only the
    settings' own is promoted.
    """
    for name in ORDER:
        if name in LISTS and not settings.evaluate.lists:
            continue
        if name == "finetune_encoder":
            first, apart = settings.training.seed, settings.evaluate.held_out_users
            if apart:
                yield name, ("--training.held_out_users", str(apart))
            for seed in range(first + settings.evaluate.seeds - 1, first, -1):
                yield name, ("--training.seed", str(seed))
        yield name, ()


def run_chain(folder: Path, argv: Sequence[str]) -> int:
    """Exit code of the first job that did not end well, else 0; the jobs are the files of `folder`.

    A model that its gate did not let in ends nothing: CURRENT is as it was, the jobs after it go on with that, and the code is
    the gate's.
    """
    if "--help" in argv or "-h" in argv:
        sys.stdout.write(help_text("run_all", (sys.modules["__main__"].__doc__ or "").strip(), needs_as_of=True) + "\n")
        return 0
    try:
        settings = parse_command_line(argv, needs_as_of=True).settings
    except EquipoiseError as error:
        say("run_all", f"failed: {error}")
        return error.exit_code
    started, gated = time.monotonic(), 0
    for name, more in steps(settings):
        since = time.monotonic()
        sys.stderr.write(f"\n== {' '.join((name, *more))}\n")
        path = folder / f"{name}.py"
        module = _load(path)
        job = replace(module.JOB, promotes=not more)  # a model of a further seed is there to be evaluated, not used
        code = run(job, module.run, [*argv, *more], path)
        if code == GateError.exit_code and name == "finetune_encoder" and job.promotes:
            gated = code
            sys.stderr.write(f"== {name}: tonight's model was not let in; what comes after it goes on with CURRENT\n")
        elif code:
            sys.stderr.write(f"== {name} ended with exit code {code}\n")
            return code
        sys.stderr.write(f"== {name} took {time.monotonic() - since:.0f} s\n")
    sys.stderr.write(f"\nThe whole pipeline took {time.monotonic() - started:.0f} s.\n")
    return gated


def _load(path: Path) -> ModuleType:
    """The job as a module that nothing else can import, so that what Spark ships of it goes by value."""
    spec = importlib.util.spec_from_file_location(f"_equipoise_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
