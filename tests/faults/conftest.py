"""The table of faults, printed when the tests are through."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import FAULTS

Tell = Callable[..., None]


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """Adds a row: fault, times, rows lost, rows doubled, times that readers saw half a night, what is said."""
    return lambda *cells: record_property(FAULTS, f"| {' | '.join(str(c) for c in cells)} |")
