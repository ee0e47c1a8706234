"""The table of faults, printed when the tests are through."""

from __future__ import annotations

from collections.abc import Callable

import pytest

HEAD = ("fault", "times", "rows lost", "rows doubled", "readers saw half a night", "what is said")
FOUND: list[tuple[object, ...]] = []
Tell = Callable[..., None]


@pytest.fixture
def tell() -> Tell:
    """Adds a row: fault, times, rows lost, rows doubled, times that readers saw half a night, what is said."""
    return lambda *cells: FOUND.append(cells)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FOUND:
        terminalreporter.section("faults")
        for row in (HEAD, ("---",) * len(HEAD), *FOUND):
            terminalreporter.write_line(f"| {' | '.join(str(c) for c in row)} |")
