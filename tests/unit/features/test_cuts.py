"""Cut dates against the demo's calendar and against a search through all boundaries."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.errors import EquipoiseError
from equipoise.features.cuts import cut_dates

ORIGIN = date(2017, 1, 2)


def test_the_demo() -> None:
    cuts = cut_dates(ORIGIN, 28, date(2017, 11, 6), 8)
    assert cuts.validation == date(2017, 10, 9), "28 days before as_of"
    assert cuts.train[-1] == date(2017, 9, 11), "its labels end where validation's features do"
    assert cuts.train[0] == date(2017, 2, 27) and len(cuts.train) == 8


def test_an_as_of_between_boundaries_loses_the_open_window() -> None:
    assert cut_dates(ORIGIN, 28, date(2017, 11, 20), 8) == cut_dates(ORIGIN, 28, date(2017, 11, 6), 8)


def test_too_early_says_from_when_on() -> None:
    with pytest.raises(EquipoiseError, match=r"as_of 2017-03-26 leaves no training cut.*it must be 2017-03-27 or later.*--as-of"):
        cut_dates(ORIGIN, 28, date(2017, 3, 26), 8)
    assert cut_dates(ORIGIN, 28, date(2017, 3, 27), 8).train == [date(2017, 1, 30)]


@given(window=st.integers(1, 40), labels=st.integers(1, 90), wanted=st.integers(1, 12), ahead=st.integers(-10, 700))
def test_against_a_search_through_all_boundaries(window: int, labels: int, wanted: int, ahead: int) -> None:
    as_of = ORIGIN + timedelta(days=ahead)
    boundaries = [ORIGIN + timedelta(days=window * k) for k in range(1, 800)]
    ends = timedelta(days=labels)
    for validation in reversed(boundaries):
        if validation + ends <= as_of:
            train = [b for b in boundaries if b + ends <= validation][-wanted:]
            break
    else:
        train = []
    if not train:
        with pytest.raises(EquipoiseError) as error:
            cut_dates(ORIGIN, window, as_of, wanted, labels)
        earliest = date.fromisoformat(str(error.value).split("it must be ")[1][:10])
        assert cut_dates(ORIGIN, window, earliest, wanted, labels).train
        with pytest.raises(EquipoiseError):
            cut_dates(ORIGIN, window, earliest - timedelta(days=1), wanted, labels)
    else:
        cuts = cut_dates(ORIGIN, window, as_of, wanted, labels)
        assert (cuts.train, cuts.validation) == (train, validation)
