"""What the page does to its text."""

from __future__ import annotations

import pytest

from equipoise.report.page import kept_together


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("cost 0.9 % of <all>", 'cost <span class="whole">0.9 %</span> of &lt;all&gt;'),
        ("from 2017-11-06, +1,200.5 %", 'from <span class="whole">2017-11-06</span>, <span class="whole">+1,200.5 %</span>'),
        ("k=10 and a % b", "k=10 and a % b"),
    ],
)
def test_dates_and_per_cents_stay_on_one_line(text: str, html: str) -> None:
    assert kept_together(text) == html
