"""Numbers and names as people read them."""

from __future__ import annotations

import math

LONGEST_LABEL = 30


def count(value: float) -> str:
    """A whole number with thousands apart: 1,474,228."""
    return f"{value:,.0f}"


def short_count(value: float) -> str:
    """A count for a tile: 1.47 M, 92.3 k, 801."""
    if abs(value) < 1e4:
        return count(value)
    for size, unit in ((1e3, "k"), (1e6, "M")):
        scaled = f"{value / size:.3g}"
        if abs(float(scaled)) < 1e3:  # 999,500 k would read 1e+03 k: it is 1 M
            return f"{scaled} {unit}"
    return f"{float(f'{value / 1e9:.3g}'):,g} G"


def percent(value: float, digits: int = 1) -> str:
    """A share as per cent; a share that is not nought never reads as 0."""
    if math.isnan(value):
        return "–"
    smallest = 0.5 * 10.0 ** -(digits + 2)
    if 0 < abs(value) < smallest:
        return f"<{10.0**-digits:.{digits}f} %"
    return f"{100 * value:.{digits}f} %"


def signed(share: float, digits: int = 1) -> str:
    """A difference of shares in points: +1.2, −0.4."""
    rounded = round(100 * share, digits)
    return f"{rounded:+.{digits}f}".replace("-", "−") if rounded else "0"


def number(value: float | None) -> str:
    """A measured value: four decimals below 10, fewer above; a dash for none."""
    if value is None or math.isnan(value):
        return "–"
    size = abs(value)
    digits = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 4
    rounded = round(value, digits)
    return f"{rounded or 0.0:,.{digits}f}".replace("-", "−")


def seconds(value: float) -> str:
    """A duration: 0.8 s, 42 s, 3 min 05 s."""
    if value < 10:
        return f"{value:.1f} s"
    if value < 60:
        return f"{value:.0f} s"
    return f"{int(value) // 60} min {int(value) % 60:02d} s"


def sentence(name: str) -> str:
    """Names in capitals read better in small letters."""
    return name.capitalize() if name.isupper() else name


def category(name: str) -> str:
    """A category for a label, cut when long."""
    return cut(sentence(name))


def cut(text: str, longest: int = LONGEST_LABEL) -> str:
    """The text, at most so long."""
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def listed(words: list[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def plural(value: float, noun: str, several: str | None = None) -> str:
    """1 user, 2 users, 3 categories."""
    return f"{count(value)} {noun if value == 1 else several or noun + 's'}"
