"""The table of targets: rows by hand, pairs by loops, and what is missing is said to be."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from equipoise.errors import SettingsError
from equipoise.evaluate import measured
from equipoise.evaluate.bootstrap import per_user
from equipoise.evaluate.cost import in_turns
from equipoise.evaluate.paired import Asked, Figures
from equipoise.evaluate.standing import FAILS, HOLDS, OPEN, Line, gain_of_mean, lines, text
from equipoise.evaluate.table import Base, Comparison, Method, rows
from equipoise.evaluate.targets import BOTH, FIRST, MODEL, SECOND, SOURCE, Target

KL = Asked("interests", "kl_bits")


def row(method: str, value: float, origin: str = FIRST, **more: Any) -> dict[str, Any]:
    draws = more.pop("draws", [value - 0.02, value, value + 0.02, value + 0.01])
    return {
        "source": SOURCE, "task": "interests", "method": method, "metric": "kl_bits", "cutoff": 0, "split": "test",
        "origin": origin, "as_of": date.fromisoformat(origin), "user_group": "all", "value": value, "ci_low": value - 0.02,
        "ci_high": value + 0.02, "n": 100, "seeds": None, "resampled": "m" if draws is not None else None, "draws": draws,
    } | more  # fmt: skip


def table(*given: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(list(given))


def target(**more: Any) -> Target:
    given: dict[str, Any] = {"more_is_better": False}
    return Target("kl", KL, ("ema_dirichlet",), (MODEL, "ensemble"), "somewhere", **(given | more))


def found(evaluation: pd.DataFrame, **more: Any) -> dict[str, Line]:
    return {one.where: one for one in lines(evaluation, [target(**more)])}


def test_a_difference_is_of_the_same_resamples_and_not_of_the_ends() -> None:
    draws = np.random.default_rng(1).normal(2.0, 0.5, 1000)
    told = Figures(table(row("a", 2.0, draws=draws), row("b", 2.1, draws=draws + 0.1))).difference(KL, "b", "a", [FIRST])
    assert told is not None and told.low is not None and told.high is not None
    assert told.value == pytest.approx(0.1) and told.low == pytest.approx(0.1) and told.high == pytest.approx(0.1)


def test_over_two_windows_values_and_resamples_are_means() -> None:
    rng = np.random.default_rng(2)
    first, second, other = (rng.normal(size=500) for _ in range(3))
    evaluation = table(
        row("a", 1.0, draws=first),
        row("a", 3.0, SECOND, draws=second),
        row("b", 2.0, draws=other),
        row("b", 2.0, SECOND, draws=other),
    )
    figures = Figures(evaluation)
    told, gap = figures.told(KL, "a", [FIRST, SECOND]), figures.difference(KL, "a", "b", [FIRST, SECOND])
    assert told is not None and gap is not None
    assert (told.value, told.n) == (2.0, 200)
    assert (told.low, told.high) == pytest.approx(tuple(np.quantile((first + second) / 2, (0.025, 0.975))))
    assert (gap.low, gap.high) == pytest.approx(tuple(np.quantile((first + second) / 2 - other, (0.025, 0.975))))


def test_without_kept_or_with_other_resamples_no_interval_is_made_up() -> None:
    evaluation = table(row("a", 1.0), row("b", 1.5, resampled="another"), row("c", 1.5, draws=None))
    for other in ("b", "c"):
        gap = Figures(evaluation).difference(KL, "a", other, [FIRST])
        assert gap is not None and gap.value == pytest.approx(-0.5) and (gap.low, gap.high) == (None, None)


def test_a_window_of_another_as_of_is_not_taken_for_its_own() -> None:
    """Baselines are judged at later origins too, from what an earlier date knew."""
    later = row("ema_dirichlet", 1.0, SECOND, as_of=date.fromisoformat(FIRST))
    assert Figures(table(row("ema_dirichlet", 2.0), later)).origins == [FIRST]


def test_thresholds_hold_per_window_and_over_both() -> None:
    models = [row("text_lora", 1.95, seeds=5), row("text_lora", 1.97, SECOND, seeds=5)]
    evaluation = table(*models, row("ema_dirichlet", 2.04), row("ema_dirichlet", 2.05, SECOND))
    at = found(evaluation, least={FIRST: 1.96, SECOND: 1.96, BOTH: 1.955})
    assert [at[w].verdict for w in (FIRST, SECOND, BOTH)] == [HOLDS, FAILS, FAILS]
    assert at[BOTH].judged is not None and at[BOTH].judged.told.value == pytest.approx(1.96)
    assert at[BOTH].must == "≤ 1.9550"


def test_a_threshold_over_both_windows_waits_for_the_second() -> None:
    line = found(table(row("text_lora", 1.9, seeds=5), row("ema_dirichlet", 2.0)), least={BOTH: 1.955})[FIRST]
    assert (line.must, line.verdict) == ("≤ 1.9550 over both windows", OPEN)


def test_thresholds_of_one_shop_are_not_asked_of_another() -> None:
    elsewhere = table(row("text_lora", 5.0, seeds=1, source="simulated"), row("ema_dirichlet", 2.0, source="simulated"))
    assert found(elsewhere, least={FIRST: 1.96})[FIRST].verdict == ""


def test_to_beat_takes_the_whole_interval() -> None:
    sure, unsure = [1.95, 1.96, 1.97], [1.95, 1.96, 2.30]
    for draws, verdict in ((sure, HOLDS), (unsure, FAILS), (None, OPEN)):
        evaluation = table(row("text_lora", 1.96, seeds=1, draws=draws), row("ema_dirichlet", 2.0, draws=[2.0, 2.0, 2.0]))
        assert found(evaluation, beats=("ema_dirichlet",))[FIRST].verdict == verdict


def test_behind_the_best_rival_by_no_more_than_allowed() -> None:
    evaluation = table(row("text_lora", 2.05, seeds=1), row("ema_dirichlet", 2.0), row("prior", 2.2))
    for behind, verdict in ((0.06, HOLDS), (0.04, FAILS)):
        assert found(evaluation, behind=behind, rivals=("ema_dirichlet", "prior"))[FIRST].verdict == verdict


def test_what_is_missing_is_said() -> None:
    evaluation = table(row("ema_dirichlet", 2.0))
    line = found(evaluation, least={FIRST: 1.9}, missing="run this")[FIRST]
    assert line.judged is None and line.verdict == OPEN
    assert "missing: run this" in text([line])


def test_the_table_shows_winners_and_losers_with_intervals_and_seeds() -> None:
    evaluation = table(
        row("text_lora", 1.96, seeds=5),
        row("text_lora", 0.004, metric="kl_bits_seed_sd", seeds=5, draws=None),
        row("ema_dirichlet", 2.0),
        row("ensemble", 1.94, seeds=1, draws=[1.92, 1.94, 1.96, 1.95]),
    )
    shown = text(lines(evaluation, [target(least={FIRST: 1.955})]))
    wanted = (
        "| kl | 2017-11-06 | ema_dirichlet 2.0000 [1.9800, 2.0200] |  | text_lora 1.9600 [1.9400, 1.9800], 5 seeds | 0.0040 "
        "| ≤ 1.9550 | does not hold |"
    )
    assert wanted in shown
    assert "text_lora − ensemble: +0.0200 [+0.0200, +0.0200]" in shown and "ensemble: 1.9400" in shown
    ((name, where, gain),) = gain_of_mean(lines(evaluation, [target()]))
    assert (name, where) == ("kl", FIRST) and gain.value == pytest.approx(-0.02)


def test_rows_keep_the_resamples_of_everybody_so_that_subsets_pair() -> None:
    """Two comparisons on different users: what both have is drawn alike, by a loop over the same draws."""
    users, rng = 40, np.random.default_rng(3)
    values = rng.normal(size=users)
    base = Base.of(np.array([f"u{n}" for n in range(users)]), 200, 7)
    some = np.arange(5, 35)

    def of(task: str, unit: np.ndarray) -> np.ndarray:
        one = Method.fixed("a", [per_user("kl_bits", values[unit])])
        (got,) = rows(Comparison(task, FIRST, unit, (one,)), resamples=200, seed=7, base=base)
        assert got.resampled == base.mark and got.draws is not None
        return got.draws

    counts = np.zeros((200, users))
    picked = np.random.default_rng(7).integers(0, users, size=(200, users))
    for r in range(200):
        for u in picked[r]:
            counts[r, u] += 1
    for unit in (np.arange(users), some):
        expected = [sum(counts[r, u] * values[u] for u in unit) / sum(counts[r, u] for u in unit) for r in range(200)]
        assert of("interests", unit) == pytest.approx(np.array(expected))
    assert Base.of(np.array(["u1"]), 200, 7).mark != Base.of(np.array(["u2"]), 200, 7).mark


def test_only_leading_metrics_keep_resamples() -> None:
    base = Base.of(np.array(list("abc")), 50, 1)
    measures = [per_user("kl_bits", np.arange(3.0)), per_user("js_bits", np.arange(3.0))]
    got = rows(Comparison("interests", FIRST, np.arange(3), (Method.fixed("a", measures),)), resamples=50, seed=1, base=base)
    assert {r.metric: r.draws is not None for r in got} == {"kl_bits": True, "js_bits": False}


class Timed:
    """A model that takes so many seconds by a clock of its own."""

    def __init__(self, clock: list[float], seconds: float) -> None:
        self._clock, self._seconds = clock, seconds

    def predict(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        self._clock[0] += self._seconds
        return batch

    def encode(self, texts: list[str], max_tokens: int | None = None) -> Any:
        raise AssertionError("scoring asks for predictions")


def test_the_cost_of_a_mean_is_its_time_over_that_of_one_model() -> None:
    now = [0.0]
    models = [Timed(now, s) for s in (1.0, 2.0, 3.0)]
    rows_of = pa.RecordBatch.from_pydict({"a": [1, 2]})
    cost = in_turns(models, rows_of, clock=lambda: now[0])  # type: ignore[arg-type]
    assert (cost.models, cost.rows) == (3, 2)
    assert (cost.least, cost.ratio, cost.most) == (2.0, 3.0, 6.0), "6 seconds over 3, 2 and 1"


def test_rows_measured_elsewhere_come_back_with_their_resamples_as_of_the_date(tmp_path: Path) -> None:
    base = Base.of(np.arange(5), 50, 1)
    one = Method("fine-tuned encoder", ((per_user("ndcg", np.arange(5.0), 10),),), 1)
    (made,) = rows(Comparison("other_shop", "elsewhere", np.arange(5), (one,)), resamples=50, seed=1, base=base)
    file = str(tmp_path / "rows.jsonl")
    measured.write(file, [made])
    (back,) = measured.read([file], date(2017, 11, 6))
    assert back == replace(made, origin=FIRST)
    assert made.draws is not None and back.draws == pytest.approx(made.draws, abs=1e-6)
    assert measured.told([file]) != measured.told([file, file])


@pytest.mark.parametrize(("text_of", "said"), [(None, "no such file"), ("{", "line 1 .* not JSON"), ('{"task": "a"}', "too few")])
def test_a_file_that_holds_no_rows_is_refused(text_of: str | None, said: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    if text_of is not None:
        file.write_text(text_of)
    with pytest.raises(SettingsError, match=said):
        measured.read([str(file)], date(2017, 11, 6))
