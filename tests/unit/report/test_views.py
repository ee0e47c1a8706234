"""The script of views: names, versions, dates, quoting."""

from __future__ import annotations

from datetime import date

import pytest

from equipoise.errors import ContractError
from equipoise.report import views
from equipoise.tables import CATALOGUE
from equipoise.tables.schema import NAME

OLD, NEW = date(2017, 10, 9), date(2017, 11, 6)


@pytest.mark.parametrize(
    ("table", "view"),
    [
        ("gold.user_segments", "v_current_segments"),
        ("gold.user_interests", "v_current_interests"),
        ("gold.recommendations", "v_current_recommendations"),
        ("gold.evaluation", "v_current_evaluation"),
        ("feature.user_profile", "v_current_profile"),
    ],
)
def test_view_names(table: str, view: str) -> None:
    assert views.view_name(table) == view


def test_all_views_speak_of_one_night() -> None:
    rows = [(OLD, "gold.user_segments", 3), (OLD, "gold.evaluation", 1), (NEW, "gold.user_segments", 5)]
    assert views.latest(rows) == {"gold.user_segments": (NEW, 5)}, "an evaluation of an older night is not current"
    assert views.latest([]) == {}


def test_version_and_date_stand_in_the_view() -> None:
    text = views.views_sql(
        "/a b", ["gold.user_segments", "silver.items"], {"gold.user_segments": (NEW, 5), "silver.items": (NEW, 2)}
    )
    lines = text.split(";\n")
    segments = next(x for x in lines if "v_current_segments (" in x)
    assert segments.endswith("FROM gold.user_segments VERSION AS OF 5 WHERE as_of = DATE'2017-11-06'")
    assert next(x for x in lines if "v_current_items (" in x).endswith("FROM silver.items VERSION AS OF 2"), (
        "items are not cut by date"
    )
    assert "v_current_segment_sizes" in text
    assert "v_current_lists" not in text and "v_current_category_balance" not in text, "their tables are not published"


def test_every_table_can_be_published_under_a_name_of_its_own() -> None:
    names = [views.view_name(t) for t in CATALOGUE] + [views.CURRENT + n for n in views.DERIVED]
    assert len(names) == len(set(names)) and all(NAME.match(n) for n in names)


def test_foreign_tables_are_refused() -> None:
    with pytest.raises(ContractError, match=r"\['gold.elsewhere'\] are not in the catalogue"):
        views.views_sql("/w", ["gold.elsewhere"], {})


def test_doubled_names_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "DERIVED", {"segments": ((), "", "")})
    with pytest.raises(ContractError, match=r"v_current_segments.*are doubled"):
        views.views_sql("/w", ["gold.user_segments"], {"gold.user_segments": (NEW, 1)})


def test_comments_are_quoted() -> None:
    text = views.views_sql("/w", list(CATALOGUE), {t: (NEW, 1) for t in CATALOGUE})
    assert "user\\'s most probable" in text
    for statement in text.split(";\n"):
        assert statement.replace("\\'", "").count("'") % 2 == 0
