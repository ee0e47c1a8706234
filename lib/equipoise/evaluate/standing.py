"""The table of what the learner was to reach and where it stands, from gold.evaluation alone; what is missing is said to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import pandas as pd

from equipoise.evaluate.names import ENSEMBLE, METHODS
from equipoise.evaluate.paired import Asked, Figures, Told
from equipoise.evaluate.targets import BOTH, MODEL, SOURCE, TARGETS, Target

HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot be told"


@dataclass(frozen=True)
class Named:
    """A method's figure."""

    method: str
    told: Told


@dataclass(frozen=True)
class Line:
    """A target at one origin, or over both: its best simple baseline, best boosted features, the judged method and others of
    ours, and what is asked. None: gold.evaluation has no such row."""

    target: Target
    where: str
    simple: Named | None
    boosted: Named | None
    judged: Named | None
    others: tuple[Named, ...]
    gains: tuple[tuple[str, Told], ...]
    """The judged method less each of what it stands beside, in pairs."""

    must: str
    verdict: str


def lines(evaluation: pd.DataFrame, targets: Sequence[Target] = TARGETS) -> list[Line]:
    """Every target at each origin that it speaks of, and over both where there are both."""
    figures = Figures(evaluation)
    model, measured = published(figures), set(evaluation["source"]) == {SOURCE}
    out = []
    for given in targets:
        target = _filled(given, model) if measured else replace(_filled(given, model), least={})
        there = [o for o in target.origins if o in figures.origins]
        own = [o for o in figures.origins if o not in target.origins] if not there else []
        wheres: list[tuple[str, tuple[str, ...]]] = [(o, (o,)) for o in (there or own or target.origins[:1])]
        if len(target.origins) > 1 and len(there) > 1:
            wheres.append((BOTH, tuple(there)))
        out += [_line(figures, target, where, origins) for where, origins in wheres]
    return out


def published(figures: Figures) -> str:
    """Method name of the route with the most training seeds, the text route first."""
    asked, best = Asked("interests", "kl_bits"), ("", -1)
    for name in METHODS.values():
        told = figures.told(asked, name, figures.origins[:1])
        if told is not None and (told.seeds or 0) > best[1]:
            best = (name, told.seeds or 0)
    return best[0] or next(iter(METHODS.values()))


def text(found: Sequence[Line]) -> str:
    """The table as Markdown: a row per target and origin, and below it every difference in pairs."""
    columns = ("task", "window from", "simple baseline", "boosted features", "the model", "seed sd", "must", "")
    head = f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|"
    rows = [f"| {' | '.join(_cells(one))} |" for one in found]
    parts = ["# Where the learner stands", *_notes(found), "\n".join([head, *rows]), "## In pairs", *_pairs(found)]
    return "\n\n".join(parts) + "\n"


def _cells(one: Line) -> tuple[str, ...]:
    mine = _cell(one.judged) or _missing(one)
    return one.target.name, one.where, _cell(one.simple), _cell(one.boosted), mine, _sd(one.judged), one.must or "–", one.verdict


def means(found: Sequence[Line], cost: str) -> str:
    """What the mean of all models gains over a single one, per target and window, and what it costs; '' without such rows."""
    gains = gain_of_mean(found)
    if not gains:
        return ""
    head = "| task | window from | mean of the models − one |\n|---|---|---|"
    rows = "\n".join(f"| {name} | {where} | {_ends(gap, signed=True)} |" for name, where, gap in gains)
    return f"\n## The mean of the models\n\n{cost or 'Its cost was not measured here.'}\n\n{head}\n{rows}\n"


def _notes(found: Sequence[Line]) -> list[str]:
    counted = {v: sum(one.verdict == v for one in found) for v in (HOLDS, FAILS, OPEN)}
    return [
        f"{counted[HOLDS]} lines hold, {counted[FAILS]} do not, {counted[OPEN]} cannot be told. Values with 95 % intervals over "
        "users drawn again; a baseline shown is the best of its kind on these very users, which favours it. Over both windows a "
        "value is the mean of the two, and a user is drawn with both. Thresholds are of Complete Journey alone."
    ]


def _pairs(found: Sequence[Line]) -> list[str]:
    """Per target what it was measured at before, others of ours, and the judged method less each of what stands beside it."""
    out = []
    for name in dict.fromkeys(one.target.name for one in found):
        mine = [one for one in found if one.target.name == name]
        told = [f"**{name}** ({mine[0].target.source})"]
        for one in mine:
            told += [
                f"- {one.where}, {one.judged.method} − {other}: {_ends(gap, signed=True)}"
                for other, gap in one.gains
                if one.judged
            ]
            told += [f"- {one.where}, {other.method}: {_ends(other.told)}{_seeds(other.told)}" for other in one.others]
        out.append("\n".join(told) if len(told) > 1 else f"{told[0]}\n- {_missing(mine[0])}")
    return out


def _line(figures: Figures, target: Target, where: str, origins: tuple[str, ...]) -> Line:
    def named(method: str) -> Named | None:
        told = figures.told(target.asked, method, origins)
        return None if told is None else Named(method, told)

    def there(patterns: Sequence[str]) -> list[Named]:
        known = figures.methods(target.asked, origins[0])
        names = dict.fromkeys(m for p in patterns for m in known if fnmatchcase(m, p))
        return [n for m in names if (n := named(m)) is not None]

    sign = 1.0 if target.more_is_better else -1.0
    best = [max(there(p), key=lambda n: sign * n.told.value, default=None) for p in (target.simple, target.boosted)]
    ours = there(target.ours)
    judged = ours[0] if ours else None
    rivals = {n.method: n for n in [*best, *there(target.beats), *there(target.rivals), *ours[1:]] if n is not None}
    gains = [
        (m, gap) for m in rivals if judged and (gap := figures.difference(target.asked, judged.method, m, origins)) is not None
    ]
    line = Line(target, where, best[0], best[1], judged, tuple(ours[1:]), tuple(gains), "", "")
    return _judged(line, {m: n.told.value for m, n in rivals.items()}, alone=len(figures.origins) < len(target.origins))


def _judged(line: Line, values: dict[str, float], *, alone: bool) -> Line:
    """With what is asked at this window in words, and whether it holds. alone: there is no other window of the target's."""
    target, sign = line.target, 1.0 if line.target.more_is_better else -1.0
    musts: list[tuple[str, bool | None]] = []
    mine = line.judged.told.value if line.judged else None
    if line.where in target.least:
        least = target.least[line.where]
        musts.append((f"{'≥' if sign > 0 else '≤'} {_number(least)}", None if mine is None else sign * (mine - least) >= 0))
    elif BOTH in target.least and alone:
        musts.append((f"{'≥' if sign > 0 else '≤'} {_number(target.least[BOTH])} over both windows", None))
    gains = dict(line.gains)
    for other in target.beats:
        gap = gains.get(other)
        end = None if gap is None else gap.low if sign > 0 else gap.high
        musts.append((f"beats {other}, interval above 0", None if end is None else sign * end > 0))
    if target.behind is not None:
        rivals = [values[m] for m in target.rivals if m in values]
        limit = max(rivals, key=lambda v: sign * v) - sign * target.behind if rivals else None
        allowed = f" − {_number(target.behind)}" if target.behind else ""
        name = target.rivals[0] if len(target.rivals) == 1 else "the best baseline"
        musts.append((f"≥ {name}{allowed}", None if mine is None or limit is None else sign * (mine - limit) >= 0))
    if not musts:
        return replace(line, verdict="" if mine is not None else "missing")
    held = [h for _, h in musts]
    verdict = FAILS if False in held else OPEN if None in held else HOLDS
    return replace(line, must="; ".join(m for m, _ in musts), verdict=verdict)


def _filled(target: Target, model: str) -> Target:
    return replace(target, ours=tuple(name.replace(MODEL, model) for name in target.ours))


def _missing(one: Line) -> str:
    return f"missing: {one.target.missing}"


def _cell(one: Named | None) -> str:
    return "" if one is None else f"{one.method} {_ends(one.told)}{_seeds(one.told)}"


def _seeds(told: Told) -> str:
    return f", {told.seeds} seeds" if told.seeds and told.seeds > 1 else ""


def _sd(one: Named | None) -> str:
    return "–" if one is None or one.told.seed_sd is None else f"{one.told.seed_sd:.4f}"


def _ends(told: Told, *, signed: bool = False) -> str:
    show = _signed if signed else _number
    ends = "" if told.low is None or told.high is None else f" [{show(told.low)}, {show(told.high)}]"
    return f"{show(told.value)}{ends}"


def _number(value: float) -> str:
    return f"{value:.4f}"


def _signed(value: float) -> str:
    return f"{value:+.4f}"


def gain_of_mean(found: Sequence[Line]) -> list[tuple[str, str, Told]]:
    """Target, window and the paired difference ensemble − single model, where the single model is the judged one."""
    out = []
    for one in found:
        gap = dict(one.gains).get(ENSEMBLE)
        if gap is not None and one.judged is not None and one.judged.method in METHODS.values():
            low, high = (None, None) if gap.low is None or gap.high is None else (-gap.high, -gap.low)
            out.append((one.target.name, one.where, Told(-gap.value, low, high, gap.n)))
    return out
