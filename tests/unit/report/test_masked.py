"""The script of masked views: which there are, what they leave out, and that nothing of a user but an alias is left."""

from __future__ import annotations

import re
from datetime import date

from equipoise.report.masked import Mask, masked_views
from equipoise.report.views import view_name, views_sql
from equipoise.tables import CATALOGUE

DAY = date(2017, 11, 6)
ALL = {t: view_name(t) for t in CATALOGUE}


def test_every_gold_table_about_users_has_one_and_no_other_layer() -> None:
    made = {re.search(r"VIEW (v_masked_\w+)", s)[1] for s in masked_views(ALL, Mask("salt", 10))}  # type: ignore[index]
    told = {n for n, t in CATALOGUE.items() if n.startswith("gold.") and {"user_id", "users"} & set(t.column_names)}
    assert made == {view_name(n).replace("v_current_", "v_masked_") for n in told}
    assert "v_masked_segments" in made and "v_masked_events" not in made and "v_masked_item_rules" not in made


def test_the_pseudonym_stands_in_the_hash_alone_and_small_rows_are_cut() -> None:
    for statement in masked_views(ALL, Mask("5a17", 7)):
        chosen = statement.partition(" AS SELECT ")[2]
        if "alias" in chosen:
            assert chosen.count("user_id") == 1 and "sha2(concat('5a17', user_id), 256), 1, 16)" in chosen
            assert "WHERE" not in chosen
        else:
            assert chosen.endswith(" WHERE users >= 7")
        assert "`attributes`" not in chosen and "`run_id`" not in chosen


def test_they_come_after_the_views_that_they_read_and_only_when_asked_for() -> None:
    published = {"gold.user_segments": (DAY, 5)}
    text = views_sql("/w", ["gold.user_segments"], published, Mask("s", 10))
    assert text.index("VIEW v_current_segments") < text.index("VIEW v_masked_segments")
    assert "v_masked_" not in views_sql("/w", ["gold.user_segments"], published)
