"""Where language pays: green, grey and red by the paired interval, and words for what is missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from equipoise.report.page import Figure, Note
from equipoise.report.sections import language
from tests.unit.report.facts import evaluation, nothing, score

DRAWS = np.random.default_rng(1).normal(0.0, 0.01, 400)


def told(task: str, method: str, metric: str, value: float, noise: float = 0.0, **more: Any) -> dict[str, Any]:
    """A row whose resamples move with everybody's, and by `noise` on their own."""
    own = np.random.default_rng(len(method)).normal(0.0, 1.0, 400) * noise
    return score(task, method, metric, value, resampled="m", draws=value + DRAWS + own, seeds=5, **more)


def section(*rows: dict[str, Any]) -> tuple[str, list[Figure], list[Note]]:
    made = language.section(nothing(evaluation=evaluation(*rows)))
    figures = [b for b in made.blocks if isinstance(b, Figure)]
    return str(made.lead[0]), figures, [b for b in made.blocks if isinstance(b, Note)]


def rows(with_text: float, without: float, noise: float = 0.0) -> list[dict[str, Any]]:
    return [
        told("categories", "text_lora", "ap", with_text, noise),
        told("categories", "text_lora without text", "ap", without),
        told("categories", "boosted_pairs", "ap", 0.55),
    ]


@pytest.mark.parametrize(
    ("given", "colour", "verdict"),
    [
        (rows(0.56, 0.54), "green", "pays in 1, costs in 0, and in 0"),
        (rows(0.53, 0.54), "orange", "pays in 0, costs in 1, and in 0"),
        (rows(0.541, 0.54, noise=0.02), "grey", "pays in 0, costs in 0, and in 1"),
    ],
)
def test_colours_follow_the_paired_interval(given: list[dict[str, Any]], colour: str, verdict: str) -> None:
    """The intervals of the figures themselves overlap widely in all three."""
    lead, (figure,), notes = section(*given)
    assert verdict in lead
    assert f"var(--{colour})" in figure.svg
    assert len(notes) == 4, "every part without rows says what would bring them"


def test_of_a_divergence_less_is_better() -> None:
    lead, (figure,), _ = section(
        told("interests", "text_lora", "kl_bits", 1.9), told("interests", "text_lora without text", "kl_bits", 2.0)
    )
    assert "pays in 1" in lead and "language pays 5.0 % in everybody: next window, KL bits" in figure.finding


def test_the_best_without_language_is_the_best_of_those_there() -> None:
    _, (figure,), _ = section(*rows(0.56, 0.54), told("categories", "ema_popularity", "ap", 0.52))
    assert figure.numbers is not None
    assert figure.numbers.rows[0][4].startswith("boosted_pairs 0.5500")
    assert figure.numbers.rows[0][2].startswith("0.5600")


def test_rows_that_keep_no_resamples_are_shown_undecided() -> None:
    given = [score("categories", "text_lora", "ap", 0.9), score("categories", "text_lora without text", "ap", 0.1)]
    lead, (figure,), _ = section(*given)
    assert "in 1 it cannot be told" in lead and "var(--green)" not in figure.svg


def test_an_empty_table_says_so() -> None:
    made = language.section(nothing())
    assert "run evaluate_models" in str(made.blocks[0].text)  # type: ignore[union-attr]
