"""Benchmarks run seldom: what they import must still be there."""

from __future__ import annotations

import importlib

import pytest

from tests.conftest import ROOT

MODULES = sorted(p.stem for p in (ROOT / "tests" / "benchmarks").glob("*.py") if p.stem != "__init__")


@pytest.mark.parametrize("name", MODULES)
def test_what_a_benchmark_imports_is_there(name: str) -> None:
    assert importlib.import_module(f"tests.benchmarks.{name}").__doc__
