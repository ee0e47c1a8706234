"""The DAG's graph against what the jobs themselves say they read and write; needs no Airflow."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from equipoise.job import Job
from equipoise.job.chain import ORDER

ROOT = Path(__file__).resolve().parent.parent.parent
DAGS = ROOT / "airflow_dags"


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"_graph_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found  # dataclasses look their module up
    spec.loader.exec_module(found)
    return found


GRAPH = module(DAGS / "equipoise_graph.py")
JOBS: dict[str, Job] = {name: module(ROOT / "jobs" / f"{name}.py").JOB for name in ORDER}
TRAINING = next(n for n, j in JOBS.items() if j.publishes_model)


def closure(direct: dict[str, set[str]]) -> dict[str, set[str]]:
    """Everything that each job waits for, directly or through another; jobs come in order."""
    whole: dict[str, set[str]] = {}
    for name in ORDER:
        whole[name] = set(direct[name]).union(*(whole[d] for d in direct[name]))
    return whole


def read_from() -> dict[str, set[str]]:
    """The jobs that make what each job reads: tables, and the model."""
    makers = {table: name for name, job in JOBS.items() for table in job.writes}
    found = {name: {makers[t] for t in job.reads} for name, job in JOBS.items()}
    for name, job in JOBS.items():
        found[name] |= {TRAINING} if job.uses_model else set()
    return found


def test_every_job_of_the_chain_is_in_the_graph_in_order() -> None:
    assert tuple(s.job for s in GRAPH.STEPS) == ORDER


def test_a_job_waits_for_whoever_makes_what_it_reads_and_for_nobody_else() -> None:
    assert closure({s.job: set(s.after) for s in GRAPH.STEPS}) == closure(read_from())


def test_no_edge_is_implied_by_another() -> None:
    direct = {s.job: set(s.after) for s in GRAPH.STEPS}
    whole = closure(direct)
    assert {n: {a for a in before if any(a in whole[b] for b in before)} for n, before in direct.items()} == {
        n: set() for n in ORDER
    }


def test_assets_are_what_the_jobs_write() -> None:
    published = {
        n: {t for t in j.writes if t.startswith("gold.") or t in ("ops.published", "ops.monitors")} for n, j in JOBS.items()
    }
    assert {s.job: set(s.assets) for s in GRAPH.STEPS} == published


def test_as_of_goes_to_the_jobs_that_take_it() -> None:
    assert {s.job: s.takes_as_of for s in GRAPH.STEPS} == {n: j.needs_as_of for n, j in JOBS.items()}


def test_the_dag_imports_neither_the_suite_nor_spark() -> None:
    own = {p.stem for p in DAGS.glob("*.py")} - {"equipoise"}
    allowed = set(sys.stdlib_module_names) | {"airflow", "deltalake"} | own
    for path in DAGS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {n.split(".")[0] for n in names} <= allowed, (path.name, names)
