"""The committed dictionary is the generated one, and it leaves nothing out."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from equipoise.report.dictionary import html, main, markdown
from equipoise.tables import CATALOGUE
from equipoise.tables.schema import Column, Table

PAGE = Path(__file__).resolve().parents[3] / "docs" / "data_dictionary.md"


def test_the_committed_page_is_the_generated_one(tmp_path: Path) -> None:
    assert PAGE.read_text(encoding="utf-8") == markdown(), "run: make dictionary"
    main([str(tmp_path / "page.md")])
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == markdown()


def test_every_table_and_column_is_told_in_both_forms() -> None:
    page, web = markdown(), html()
    for table in CATALOGUE.values():
        assert page.count(f"### {table.full_name}\n") == 1
        assert f'<h3 id="{table.full_name}">' in web
        part = page.split(f"### {table.full_name}\n")[1].split("\n#")[0]
        for column in table.columns:
            assert part.count(f"| `{column.name}` |") == 1
            assert column.null_means is None or column.null_means in part
        assert all(f"`{name}`: `{rule}`" in part for name, rule in table.checks.items())


def test_a_bar_in_a_comment_does_not_end_the_cell() -> None:
    table = Table("gold", "odd", "thing", "Odd.", ("a",), (Column("a", "INT", "One | two <b>."),))
    line = next(x for x in markdown({"gold.odd": table}).splitlines() if x.startswith("| `a`"))
    assert line == "| `a` | `INT` | One \\| two <b>. | — |"
    assert "One | two &lt;b&gt;." in html({"gold.odd": table})


def test_the_web_page_is_well_formed() -> None:
    depth: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag != "meta":
                depth.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert depth.pop() == tag

    Tags().feed(html())
    assert depth == []
