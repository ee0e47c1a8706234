"""What a report is made of, and how it becomes one HTML file without scripts and without network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape


@dataclass(frozen=True)
class NumberTable:
    """Numbers behind a figure, folded away: `columns` are headings, `rows` hold text that is ready to show."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    best: frozenset[int] = frozenset()
    ours: frozenset[int] = frozenset()

    kind = "table"

    @property
    def right(self) -> frozenset[int]:
        """Columns that hold numbers and stand right-aligned."""
        filled = [[row[i] for row in self.rows if row[i] not in ("", "–")] for i in range(len(self.columns))]
        return frozenset(i for i, cells in enumerate(filled) if cells and all(c[0] in "-+−.0123456789<" for c in cells))


@dataclass(frozen=True)
class Heading:
    """A heading inside a section, with a sentence below."""

    anchor: str
    text: str
    below: str = ""

    kind = "heading"


@dataclass(frozen=True)
class Figure:
    """One picture: `finding` is the sentence it shows, `note` says how to read it."""

    finding: str
    svg: Markup
    note: str = ""
    numbers: NumberTable | None = None

    kind = "figure"


@dataclass(frozen=True)
class Note:
    """A sentence in a box; `tone` is plain, warn or bad."""

    text: str
    tone: str = "plain"

    kind = "note"


@dataclass(frozen=True)
class Prose:
    """HTML that was made from text already escaped, such as the model card."""

    html: Markup
    summary: str = ""

    kind = "prose"


@dataclass(frozen=True)
class Shown:
    """One place of a user's list."""

    rank: int
    title: str
    category: str
    slot: str
    reason: str


@dataclass(frozen=True)
class Story:
    """One user in words: who, what they liked, what moved, what they are shown."""

    heading: str
    pseudonym: str
    paragraphs: Sequence[tuple[str, str]]
    shown: Sequence[Shown]
    figure: Figure | None = None

    kind = "story"


@dataclass(frozen=True)
class Fold:
    """Figures that few will want to see, behind one line."""

    summary: str
    figures: Sequence[Figure]

    kind = "fold"


Block = Figure | Fold | Heading | NumberTable | Note | Prose | Story


@dataclass(frozen=True)
class Section:
    """One part of the page, reached from the contents by its anchor."""

    anchor: str
    title: str
    lead: Sequence[str] = ()
    blocks: Sequence[Block] = ()


@dataclass(frozen=True)
class Tile:
    """One number of the overview with what it counts."""

    value: str
    label: str


@dataclass(frozen=True)
class Page:
    """The whole report."""

    title: str
    facts: Sequence[tuple[str, str]]
    synthetic: bool
    tiles: Sequence[Tile]
    summary: Sequence[str]
    sections: Sequence[Section]
    footer: Sequence[str] = ()


def empty(anchor: str, title: str, sentence: str) -> Section:
    """A section whose tables have no rows says so instead of failing."""
    return Section(anchor, title, blocks=(Note(sentence),))


def render(template: str, **values: object) -> str:
    """A template of this package filled in; values are escaped, and a name the template lacks is an error."""
    environment = Environment(
        loader=FunctionLoader(_resource), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["kept"] = kept_together
    return environment.get_template(template).render(style=Markup(_resource("style.css")), **values)


def kept_together(text: str) -> Markup:
    """The text escaped; a date and a number with its per cent sign never break over two lines."""
    whole = re.sub(r"\b\d{4}-\d{2}-\d{2}\b|[-+−]?[\d.,]*\d %", r'<span class="whole">\g<0></span>', str(escape(text)))
    return Markup(whole)


def _resource(name: str) -> str:
    return resources.files("equipoise.report").joinpath(name).read_text(encoding="utf-8")
