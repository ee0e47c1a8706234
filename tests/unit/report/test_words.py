"""Numbers and names as people read them: hand tables."""

from __future__ import annotations

import pytest

from equipoise.report import words


@pytest.mark.parametrize(
    ("value", "text", "why"),
    [
        (0.22154, "0.2215", "four decimals below 10"),
        (-0.004, "−0.0040", "a true minus"),
        (-0.00001, "0.0000", "no minus before nought"),
        (12.345, "12.35", "two decimals below 100"),
        (300.84, "300.8", "one decimal below 1000"),
        (36100.2, "36,100", "none above"),
        (None, "–", "no value"),
        (float("nan"), "–", "no value"),
    ],
)
def test_number(value: float | None, text: str, why: str) -> None:
    assert words.number(value) == text, why


@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [(0.1234, 1, "12.3 %"), (1.0, 0, "100 %"), (0.0, 1, "0.0 %"), (0.00001, 1, "<0.1 %"), (0.00001, 3, "0.001 %")],
)
def test_percent(share: float, digits: int, text: str) -> None:
    assert words.percent(share, digits) == text


def test_short_count() -> None:
    assert [words.short_count(v) for v in (801, 9999, 92331, 1474228, 2.1e9)] == ["801", "9,999", "92.3 k", "1.47 M", "2.1 G"]
    assert [words.short_count(v) for v in (999_499, 999_500, 999_999, 999_600_000)] == ["999 k", "1 M", "1 M", "1 G"]
    assert words.short_count(-2e12) == "-2,000 G"


def test_seconds() -> None:
    assert [words.seconds(v) for v in (0.82, 42.4, 59.4, 60.0, 185.9)] == ["0.8 s", "42 s", "59 s", "1 min 00 s", "3 min 05 s"]


def test_names_and_lists() -> None:
    assert words.category("SOFT DRINKS") == "Soft drinks" and words.category("Film-Noir") == "Film-Noir"
    assert words.cut("x" * 31) == "x" * 29 + "…" and words.cut("x" * 30) == "x" * 30
    assert [words.listed(w) for w in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
    assert words.plural(1, "user") == "1 user" and words.plural(2400, "category", "categories") == "2,400 categories"
    assert words.signed(-0.0118, 2) == "−1.18" and words.signed(0.004) == "+0.4" and words.signed(-0.0004, 0) == "0"
