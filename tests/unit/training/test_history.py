"""Moves of CURRENT: back, by name, withdrawn, and killed at every step."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.errors import ConflictError, GateError, ModelError
from equipoise.job.identity import run_id
from equipoise.training.history import Move, standing
from equipoise.training.registry import Registry
from equipoise.training.verdict import Comparison, Verdict
from tests.unit.training.packages import hollow


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """a, b and c, promoted in this order."""
    made = Registry(tmp_path / "models" / "encoder")
    for model_id in "abc":
        hollow(made, model_id)
        made.promote(model_id)
    return made


def test_the_history_tells_every_move(registry: Registry) -> None:
    assert [(m.action, m.previous, m.model_id) for m in registry.history()] == [
        ("promote", None, "a"), ("promote", "a", "b"), ("promote", "b", "c")]  # fmt: skip
    assert all(m.at.endswith("+00:00") for m in registry.history())
    registry.promote("c")  # it is CURRENT: no move
    assert len(registry.history()) == 3


def test_back_and_back_again_until_nothing_is_left(registry: Registry) -> None:
    assert registry.back("flat lists").model_id == "b"
    assert registry.current() == "b"
    assert registry.standing().withdrawn == {"c": "flat lists"}
    assert registry.back().model_id == "a"
    with pytest.raises(ModelError, match=r"nothing to go back to .*: a is CURRENT .*--to"):
        registry.back()
    assert registry.current() == "a"


def test_nothing_to_go_back_to_before_the_first(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nothing to go back to .* no model is CURRENT"):
        Registry(tmp_path / "encoder").back()


def test_no_run_promotes_a_withdrawn_model_but_a_person_does(registry: Registry) -> None:
    registry.back("flat lists")
    with pytest.raises(GateError, match=r"c was withdrawn \(flat lists\).*CURRENT stays.*--to c"):
        registry.promote("c")
    assert registry.current() == "b"
    assert registry.choose("c", "it was the data").action == "choose"
    assert (registry.current(), registry.standing().withdrawn) == ("c", {})
    assert registry.back().model_id == "b"


def test_naming_an_earlier_model_withdraws_all_that_came_after(registry: Registry) -> None:
    assert registry.choose("a").action == "rollback"
    assert set(registry.standing().withdrawn) == {"b", "c"}
    with pytest.raises(ModelError, match="nothing to go back to"):
        registry.back()


def test_errors_name_what_there_is(registry: Registry) -> None:
    with pytest.raises(ModelError, match=r"no model 'zz' in .*expected one of a, b, c"):
        registry.choose("zz")
    with pytest.raises(ModelError, match="is not letters"):
        registry.choose("../a")
    with pytest.raises(ModelError, match="c is CURRENT already"):
        registry.choose("c")
    (registry.path("b") / "extra").write_text("x")
    for move in (registry.back, lambda: registry.choose("b")):
        with pytest.raises(ModelError, match=r"is damaged: .*\['extra'\]"):
            move()
    assert (registry.current(), len(registry.history())) == ("c", 3)


def test_a_refused_model_needs_a_reason_and_a_nan_never_passes(registry: Registry) -> None:
    worse = Comparison("CURRENT c", "category", 100, 2.6, 2.5, 0.1, 0.05, 0.15)
    gate = Verdict("category", 0.0, 2048, "c", "", (worse,)).as_dict()
    hollow(registry, "refused", gate=gate)
    hollow(registry, "broken", {"start_loss": 4.0, "best_loss": float("nan")})
    with pytest.raises(GateError, match=r"the gate refused refused; .*--reason.*difference \+0\.1000 \[\+0\.0500, \+0\.1500\]"):
        registry.choose("refused")
    assert registry.choose("refused", "the old one leaks").model_id == "refused"
    with pytest.raises(GateError, match="validation loss nan"):
        registry.choose("broken", "I want it")


def test_a_verdict_beside_a_model_that_is_no_longer_current_does_not_count(registry: Registry) -> None:
    hollow(registry, "d")
    judged = Verdict("category", 0.0, 2048, "c", "", ())
    registry.back()
    with pytest.raises(ConflictError, match="d was compared with c, but CURRENT is b by now; run again"):
        registry.promote("d", judged)
    assert registry.current() == "b"


def test_current_from_before_there_was_a_history_can_be_gone_back_to(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "encoder")
    for model_id in "ab":
        hollow(registry, model_id)
    (registry.root / "CURRENT").write_text("a\n")
    registry.promote("b")
    assert registry.back().model_id == "a"


def test_what_reads_current_is_another_run_after_a_rollback_and_the_same_as_before(registry: Registry) -> None:
    """score_users has CURRENT in its fingerprint: after a rollback the next night writes its tables anew."""

    def fingerprint() -> str:
        return run_id("score_users", None, "settings", "code", {"feature.sequences": 4}, registry.current(), {})

    with_c = fingerprint()
    registry.back()
    with_b = fingerprint()
    assert with_b != with_c
    registry.choose("c")
    assert fingerprint() == with_c


class Killed(BaseException):
    """Stands for the end of the process."""


def killing(monkeypatch: pytest.MonkeyPatch, at: int, *, half_a_line: bool) -> None:
    """The at-th call that reaches the disk is the last one; with `half_a_line` a write gets half through."""
    calls = 0

    def counted(module: Any, name: str) -> None:
        plain = getattr(module, name)

        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == at:
                if name == "write" and half_a_line:
                    plain(arguments[0], arguments[1][: len(arguments[1]) // 2])
                raise Killed
            return plain(*arguments, **named)

        monkeypatch.setattr(module, name, call)

    for name in ("write", "fsync", "ftruncate"):
        counted(os, name)
    counted(Path, "replace")


MOVES = {
    "promote": (lambda r: r.promote("d"), "d", {}),
    "back": (lambda r: r.back("bad"), "b", {"c": "bad"}),
    "choose": (lambda r: r.choose("a", "bad"), "a", {"b": "bad", "c": "bad"}),
}


@pytest.mark.parametrize("half_a_line", [False, True])
@pytest.mark.parametrize("kind", MOVES)
def test_killed_at_every_step_and_run_again_ends_as_if_unkilled(tmp_path: Path, kind: str, half_a_line: bool) -> None:
    move, expected, withdrawn = MOVES[kind]
    for at in range(1, 30):
        registry = Registry(tmp_path / str(at))
        for model_id in "abcd":
            hollow(registry, model_id)
        for model_id in "abc":
            registry.promote(model_id)
        with pytest.MonkeyPatch.context() as patch:
            killing(patch, at, half_a_line=half_a_line)
            try:
                move(registry)
                break
            except Killed:
                pass
        assert registry.current() in ("c", expected), "CURRENT is the old or the new one, whole"
        if registry.current() != expected:  # else the kill came too late to matter, and a second --back would go further back
            move(registry)
        assert registry.current() == expected, at
        assert registry.standing().withdrawn == withdrawn, at
        assert registry.standing().pending is None
        assert [json.loads(line)["model_id"] for line in (registry.root / "HISTORY.jsonl").read_text().splitlines()] == [
            *"abc",
            expected,
        ], "one line, whole"
    assert at > 5, "it was killed at some steps"


def test_a_rollback_cut_off_before_current_moved_withdraws_at_once_and_is_ended_by_the_next_training(registry: Registry) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            registry.back("bad")
    assert registry.current() == "c"
    assert registry.standing()[1:] == ({"c": "bad"}, "b")
    assert registry.settle() == "b"
    assert (registry.current(), registry.settle()) == ("b", None)


def test_an_interrupted_move_to_a_model_that_is_gone_is_dropped(registry: Registry) -> None:
    hollow(registry, "d")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            registry.promote("d")
    (registry.path("d") / "model.json").unlink()
    assert registry.settle() is None
    assert registry.back().model_id == "b"
    assert registry.standing().lineage == ("a", "b")


def test_a_damaged_line_is_named(registry: Registry) -> None:
    path = registry.root / "HISTORY.jsonl"
    path.write_text(path.read_text().replace('"action": "promote"', '"act": 1', 1))
    with pytest.raises(ModelError, match=r"line 1 of .*HISTORY.jsonl' is not a move of CURRENT: fields .*restore the file"):
        registry.standing()


WISHES = st.lists(st.tuples(st.sampled_from(["promote", "back", "choose"]), st.sampled_from("abcde")), max_size=25)


@given(WISHES)
def test_any_moves_against_a_stack_of_models(wishes: list[tuple[str, str]]) -> None:
    """By another road: a list that promotion pushes to and rollback cuts off, and a set of those cut off."""
    moves: list[Move] = []
    stack: list[str] = []
    cut: set[str] = set()

    def record(action: Any, model_id: str) -> None:
        moves.append(Move(action, model_id, stack[-1] if stack else None, "", ""))

    for wish, model_id in wishes:
        if wish == "back" and len(stack) > 1:
            record("rollback", stack[-2])
            cut.add(stack.pop())
        elif wish == "choose" and model_id in stack[:-1]:
            record("rollback", model_id)
            place = stack.index(model_id) + 1
            cut |= set(stack[place:])
            del stack[place:]
        elif (wish == "promote" and model_id not in cut) or (wish == "choose" and model_id not in stack):
            if stack[-1:] == [model_id]:
                continue
            record(wish, model_id)
            stack = [m for m in stack if m != model_id] + [model_id]
            cut.discard(model_id)
        found = standing(moves, stack[-1] if stack else None)
        assert found.lineage == tuple(stack)
        assert set(found.withdrawn) == cut
        assert found.pending is None
        assert not cut & set(stack)
    if moves and moves[-1].previous != moves[-1].model_id:
        assert standing(moves, moves[-1].previous).pending == moves[-1].model_id, "where CURRENT had not moved yet"
