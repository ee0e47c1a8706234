"""The command of the on-call person: what it takes, what it says, its exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from equipoise.job.promote import run_promote
from equipoise.training.registry import Registry
from tests.conftest import ROOT
from tests.unit.training.packages import DATES, GOOD, hollow

DEMO = str(ROOT / "conf" / "demo.toml")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    made = Registry(tmp_path / "models" / "encoder")
    for model_id, day in (("a", "2017-10-09"), ("b", "2017-11-06"), ("c", "2017-11-07")):
        figures = {**GOOD, "best_category_kl_bits": 2.5, "best_value_loss": 0.75}
        hollow(made, model_id, figures, dates={**DATES, "as_of": day})
        made.promote(model_id)
    return made


def command(registry: Registry, *words: str) -> int:
    return run_promote(["--settings", DEMO, "--warehouse", str(registry.root.parent.parent), *words], "summary")


def test_back_then_list(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(registry, "--back", "--reason", "flat lists") == 0
    assert "CURRENT is b; it was c. Withdrawn: c. score_users" in capsys.readouterr().out
    (registry.path("a") / "more").write_text("x")
    assert command(registry, "--list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("  ")[0] == "as of"
    assert lines[1].startswith("2017-11-07  c") and lines[1].endswith("2.5000               0.7500       withdrawn: flat lists")
    assert lines[2].startswith("2017-11-06  b") and lines[2].endswith("CURRENT")
    assert "was CURRENT DAMAGED: model" in lines[3] and "['more']" in lines[3]


def test_to_with_an_equals_sign(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(registry, "--to=a", "--reason=older is better") == 0
    assert registry.standing().withdrawn == {"b": "older is better", "c": "older is better"}
    assert "CURRENT is a; it was c. Withdrawn: b, c." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ((), 2, "expected one of --list, --back, --to MODEL_ID, --sign MODEL_ID; got none of them"),
        (("--back", "--to", "a"), 2, "got --back and --to a"),
        (("--to",), 2, "--to: no value; expected --to MODEL_ID"),
        (("--back", "--reason"), 2, "--reason: no value; expected --reason TEXT"),
        (("--back", "--resaon", "x"), 2, "--resaon: unknown flag"),
        (("--to", "zz"), 1, "no model 'zz'"),
        (("--to", "c"), 1, "c is CURRENT already"),
    ],
)
def test_what_is_wrong_is_said(
    registry: Registry, words: tuple[str, ...], code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(registry, *words) == code
    assert text in capsys.readouterr().err
    assert registry.current() == "c"


def test_a_withdrawn_model_is_promoted_by_name_and_a_broken_one_is_not(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(registry, "--back") == command(registry, "--to", "c") == 0
    hollow(registry, "broken", {"start_loss": 4.0, "best_loss": float("nan")})
    assert command(registry, "--to", "broken", "--reason", "x") == 3
    assert "stopped by a gate: model broken has validation loss nan" in capsys.readouterr().err


def test_an_empty_warehouse_has_nothing_to_show_or_go_back_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    registry = Registry(tmp_path / "models" / "encoder")
    assert command(registry, "--list") == 0
    assert "no models in" in capsys.readouterr().out
    assert command(registry, "--back") == 1
    assert "nothing to go back to" in capsys.readouterr().err
