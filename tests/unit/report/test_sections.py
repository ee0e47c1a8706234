"""The parts of the page: empty tables say so, and findings are the numbers of the tables."""

from __future__ import annotations

from datetime import date, datetime

import pandas as pd
import pytest

from equipoise.report import build
from equipoise.report.facts import Facts
from equipoise.report.page import Figure, Section
from equipoise.report.sections import (
    alike,
    associations,
    audiences,
    balance,
    card,
    exploration,
    interests,
    lists,
    migration,
    quality,
    runs,
    segments,
    stories,
    summary,
)
from tests.unit.report.facts import FLOWS, LIST_COUNTS, RULES, SIZES, WINDOW_MOVES, evaluation, frame, nothing, score

DAY = date(2017, 11, 6)
CATEGORIES = ("category", "history", "predicted", "target", "users_led")
PROBE = """# Card

| a | b |
|---|---|
| 1 | `x < y` |

<script>alert(1)</script> [go](javascript:x) <b>bold</b>

<div>
block
</div>
"""


def findings(section: Section) -> list[str]:
    return [b.finding for b in section.blocks if isinstance(b, Figure)]


def html(facts: Facts) -> str:
    return build.html(build.page(facts, title="t", source="s", model_id=None, card_text=None, run_id="r", synthetic=False))


def notes(section: Section) -> str:
    return " ".join(b.text for b in section.blocks if b.kind == "note")


def test_a_night_without_anything_still_makes_a_page() -> None:
    page = build.page(nothing(), title="t", source="s", model_id=None, card_text=None, run_id="r" * 32, synthetic=True)
    assert len(page.summary) == 5
    assert all(notes(s) and not findings(s) for s in page.sections), "every section says that it is empty"
    assert "Synthetic data" in build.html(page) and "Synthetic data" not in html(nothing())


def run_row(job: str, status: str, minute: int, seconds: float | None, attempt: int = 1, rows: int = 0) -> tuple[object, ...]:
    start = datetime(2017, 11, 6, 3, minute)
    end = None if seconds is None else datetime.fromtimestamp(start.timestamp() + seconds)
    return (f"run-{job}", attempt, job, DAY, "s", "c", {}, {}, {"gold.x": rows} if rows else {}, start, end, status, None)


def test_the_latest_attempt_that_worked_counts_and_skips_are_told() -> None:
    columns = tuple(nothing().runs.columns)
    ledger = frame(
        columns,
        run_row("ingest_events", "failed", 1, 5),
        run_row("ingest_events", "done", 2, 40, attempt=2, rows=1000),
        run_row("score_users", "done", 3, 90, rows=7),
        run_row("ingest_events", "skipped", 4, 1, attempt=3),
        run_row("segment_users", "running", 5, None),
        run_row("publish_report", "running", 6, None),
    )
    found = runs.attempts(ledger)
    assert list(zip(found["job"], found["status"], found["seconds"], found["rows"], found["skips"], strict=True)) == [
        ("ingest_events", "done", 40.0, 1000, 1),
        ("score_users", "done", 90.0, 7, 0),
        ("segment_users", "running", 0.0, 0, 0),
    ]
    section = runs.section(nothing(runs=ledger))
    assert findings(section) == ["2 of 3 jobs ended well, in 2 min 10 s altogether; score_users took longest, 1 min 30 s"]
    assert "segment_users ended as running" in notes(section)


def metrics(*rows: tuple[str, str, float, str]) -> dict[str, object]:
    ledger = frame(tuple(nothing().runs.columns), run_row("ingest_events", "done", 1, 5))
    counted = [("run-ingest_events", *r) for r in rows] + [("an older run", "t", "rows_in", 9.0, "ok")]
    return {"runs": ledger, "quality": frame(tuple(nothing().quality.columns), *counted)}


def test_rows_in_are_rows_good_and_quarantined() -> None:
    base = (("t", "rows_in", 1000.0, "ok"), ("t", "rows_good", 990.0, "ok"))
    rules = (
        ("t", "rule:duplicate", 7.0, "warn"),
        ("t", "rule:quantity_outlier", 30.0, "warn"),
        ("t", "rule:broken_line", 0.0, "ok"),
    )
    good = quality.section(nothing(**metrics(*base, ("t", "rows_quarantined", 10.0, "warn"), *rules)))
    assert findings(good) == [
        "1,000 rows in = 990 kept + 10 set aside, to the row",
        "2 of 3 checks found something; duplicate rejected most, 7 rows",
    ]
    assert not notes(good)
    lost = quality.section(nothing(**metrics(*base, ("t", "rows_quarantined", 9.0, "warn"))))
    assert "The sum does not hold: 1,000 rows in = 990 kept + 9 set aside" in notes(lost)


def test_interests_name_what_rises_and_falls() -> None:
    table = frame(CATEGORIES, ("MILK", 0.5, 0.4, 0.45, 9), ("BEER", 0.3, 0.45, 0.35, 1), ("TEA", 0.2, 0.15, 0.2, 0))
    section = interests.section(nothing(categories=table, evidence=frame(("bin", "users"), (0, 1), (3, 1), (4, 2))))
    assert findings(section) == [
        "Milk, Beer and Tea lead the targets; against history the model expects most more of Beer (+15.00 points) and most "
        "less of Milk (−10.00 points)",
        "50.0 % of users have a history that weighs 10 or less, so their targets lean on the model",
    ]


def test_migration_ranks_by_span_and_compares_with_the_mean() -> None:
    ends = [date(2017, 9, 11), date(2017, 10, 9), DAY]
    shares = {"A": (0.2, 0.2, 0.4), "B": (0.7, 0.7, 0.55), "C": (0.1, 0.1, 0.05)}
    rows = [(end, c, v[i], 10.0 + i) for c, v in shares.items() for i, end in enumerate(ends)]
    table = frame(("window_end", "category", "share", "users"), *rows)
    assert migration.movers(migration.table(table)[1]) == ["A", "B", "C"]
    section = migration.section(nothing(windows=table))
    newest = "in the newest one A stands at 2.0 times its earlier mean and C at 0.5 times"
    assert findings(section)[0] == f"A moved most over all windows; {newest}"
    assert "last 3 closed windows, with 10 to 12 active users" in section.lead[0]
    thin = frame(tuple(table.columns), (date(2017, 8, 14), "A", 1.0, 4.0), *rows)
    assert findings(migration.section(nothing(windows=thin))) == findings(section), "a window of a few users is left out"
    one = migration.section(nothing(windows=table[table["window_end"] == DAY]))
    assert "one closed window only" in notes(one)


def test_drift_is_told_beside_its_noise() -> None:
    ends = [date(2017, 9, 11), date(2017, 10, 9), DAY]
    windows = frame(("window_end", "category", "share", "users"), *[(e, "A", 1.0, 10.0) for e in ends])
    moves = [
        (ends[0], 90, 3, 3, 0, 0.9, 0.1, 0.2),
        (ends[1], 100, 60, 6, 9, 0.5, 0.4, 0.6),
        (ends[2], 100, 40, 6, 3, 0.6, 0.4, 0.6),
    ]
    flows = [
        ("MILK", "MILK", 0.3, 0.1, 50),
        ("MILK", "TEA", 0.1, 0.1, 20),
        ("TEA", "TEA", 0.1, 0.1, 20),
        ("TEA", "MILK", 0.2, 0.1, 9),
    ]
    known = {
        "window_moves": frame(WINDOW_MOVES, *moves),
        "turned": frame(("users", "told", "turned"), (100, 80, 12.0)),
        "excess": frame(("bin", "rows"), (2, 80), (3, 8), (5, 12)),
        "changed": frame(("category", "gained", "lost", "returning"), ("MILK", 3, 1, 0), ("TEA", 0, 1, 1)),
        "flows": frame(FLOWS, *flows),
        "leads": frame(FLOWS, flows[3], flows[1]),
    }
    told = findings(migration.section(nothing(windows=windows, **known)))[2:]
    assert told == [
        "12.0 % of 100 user-windows are above their band, more than the 5 % that chance alone would put there; 15.0 % in the "
        "newest window",
        "Mean drift is 0.5400 bits; the same visit days dealt out at random show 0.4000",
        "88.0 % of user-windows stay inside their band",
        "Over the whole history, the taste of 15.0 % of 80 users changed at some window; 5 % would seem to by chance",
        "With evidence, categories were gained 3 times, lost 2 times and returned to 1 time; Milk changes hands most",
        "Milk holds its users best: 3.0 times its usual share; the strongest way from one category to another leads from Tea to "
        "Milk",
    ]
    bare = migration.section(nothing(windows=windows))
    assert "enough users with enough visit days" in notes(bare) and len(findings(bare)) == 2
    quiet = migration.section(nothing(windows=windows, window_moves=known["window_moves"], excess=known["excess"]))
    assert "No user gained, lost" in notes(quiet) and "No category has enough users" in notes(quiet)


def test_segments_say_what_probabilities_expect() -> None:
    sizes = frame(SIZES, ("O", 30, 0.7, 0.2, 0.1, 1.0, 30.0), ("buy", 70, 0.1, 0.1, 0.8, 10.0, 700.0))
    tiers = frame(SIZES, ("1", 50, 0.5, 0.3, 0.2, 2.0, 100.0), ("5", 50, 0.1, 0.1, 0.8, 18.0, 900.0))
    empty = nothing().segments
    section = segments.section(nothing(segments={**empty, "segment": sizes, "value_tier": tiers}))
    assert findings(section) == [
        "70.0 % of 100 users are likeliest to buy; by their probabilities 59.0 % should land in that class, and 28.0 % in O",
        "The top fifth of users carries 90 % of all expected spend: 18.00 a head, against 2.0000 in the lowest fifth",
    ]
    assert "No RFM segments" in notes(section) and "No value tiers" not in notes(section)


def test_interest_groups_are_named_and_moves_are_counted() -> None:
    sizes = frame(SIZES, ("O", 3, 0.7, 0.2, 0.1, 5.0, 15.0))
    names = (
        "segmentation",
        "segment",
        "name",
        "users",
        "user_share",
        "expected_spend",
        "spend_share",
        "p_buy",
        "churn_risk",
        "description",
    )
    groups = frame(
        names,
        ("interest_group", "1", "milk and tea", 30, 0.75, 10.0, 0.5, 0.2, 0.1, "thirty users"),
        ("interest_group", "4", "baby foods", 10, 0.25, 30.0, 0.5, 0.6, None, "ten users"),
        ("value_tier", "5", "tier 5", 10, 0.25, 90.0, 0.5, 0.6, None, "not drawn"),
    )
    steps = ("segmentation", "previous_as_of", "from_segment", "to_segment", "users", "value_change", "retold")
    flow = frame(
        steps,
        ("segment", date(2017, 10, 9), "O", "buy", 4, 100.0, True),
        ("segment", date(2017, 10, 9), "buy", "interest", 2, -30.0, True),
        ("segment", date(2017, 10, 9), "buy", "buy", 10, 5.0, True),
        ("segment", date(2017, 10, 9), "(new)", "O", 3, 1.0, True),
    )
    section = segments.section(nothing(segments={**nothing().segments, "segment": sizes}, portraits=groups, segment_flow=flow))
    said = findings(section)
    assert "The group of baby foods is expected to bring most, 30.00 a head: 25.0 % of the users and 50.0 % of the spend" in said
    assert (
        "Since 2017-10-09, told afterwards from what was known then, 4 users of 16 moved to a higher segment and "
        "2 users to a lower one (expected spend +100 and -30)"
    ) in said
    tables = {f.numbers.caption: f.numbers.rows for f in section.blocks if isinstance(f, Figure) and f.numbers}
    assert [r[1] for r in tables["Interest groups"]] == ["milk and tea", "baby foods"]
    assert ("(new)", "O", "3", "+1.00") in tables["Moves by segment"]


def test_interest_groups_without_money_and_churn_are_bars() -> None:
    """Heights that nobody knows would leave the map empty."""
    names = ("segmentation", "segment", "name", "users", "user_share", "expected_spend", "spend_share", "p_buy", "churn_risk")
    rows = [("interest_group", str(n), f"group {n}", 10 * n, 0.5, None, None, 0.2, None, "told") for n in (1, 2)]
    groups = frame((*names, "description"), *rows)
    (block,) = [b for b in alike.blocks(nothing(portraits=groups)) if isinstance(b, Figure)]
    assert all(f">{text}</text>" in str(block.svg) for text in ("group 1", "group 2", "20")), "names, and users at the ends"
    assert "Area" not in block.note
    known = alike.blocks(nothing(portraits=groups.assign(churn_risk=[0.1, 0.3])))
    assert "mean risk of churn" in str(next(b for b in known if isinstance(b, Figure)).svg)


def test_audiences_show_profit_and_say_why_one_is_empty() -> None:
    names = (
        *("audience_id", "goal", "status", "message", "eligible", "left_out", "reach", "cost", "expected_responses"),
        *("expected_profit", "curve", "learnt_from", "propensity_auc"),
    )
    curve = [{"share": 0.5, "users": 50, "profit": 30.0}, {"share": 1.0, "users": 100, "profit": 10.0}]
    told = frame(
        names,
        ("spring", "respond", "ok", "9 of 100 users", 100, {"segment": 7, "file": 2}, 9, 4.5, 1.8, 13.5, curve, 400, 0.9),
        ("winter", "spend", "no eligible user", "nobody is left", 0, {}, 0, 0.0, 0.0, 0.0, [], None, None),
    )
    section = audiences.section(nothing(audiences=told))
    assert findings(section) == ["spring is expected to bring 13.50 after its costs, from 9 users of 100"]
    assert "winter: no eligible user. nobody is left." in notes(section)
    assert "AUC of 0.9000 (chance: 50 %)" in notes(section)
    table = next(b for b in section.blocks if b.kind == "table")
    assert table.rows[0][4] == "2 by file and 7 by segment"


def test_segments_say_who_said_the_value_what_drives_it_and_where_the_spend_is() -> None:
    sizes = frame(SIZES, ("O", 3, 0.7, 0.2, 0.1, 5.0, 15.0), ("buy", 1, 0.1, 0.2, 0.7, 90.0, 90.0))
    told = {
        "segments": {**nothing().segments, "segment": sizes},
        "value_models": frame(("value_model", "buy_threshold", "users", "churn"), ("rfm_cells", 116.25, 4, None)),
        "segment_drivers": frame(
            ("segment", "driver", "log_odds"),
            ("O", "spend", -1.5), ("O", "trips", -0.4), ("buy", "spend", 0.3), ("buy", "trips", 2.0),
        ),
        "rfm_grid": frame(("r", "f", "users", "mean_spend"), (1, 1, 3, 5.0), (5, 4, 1, 90.0)),
    }  # fmt: skip
    section = segments.section(nothing(**told))
    assert "what followed in the user's RFM cell" in section.lead[1]
    assert "begins at a spend of 116.2" in section.lead[1]
    assert "silent" not in section.lead[1]
    said = findings(section)
    assert "Trips lifts segment buy, spend holds O down most" in said
    assert "Users of recency 5 and frequency 4 (5 is best) are expected to spend most, 90.00 a head against 26.25 of all" in said


def test_lists_are_compared_with_targets_by_total_variation() -> None:
    categories = frame(CATEGORIES, ("A", 0.8, 0.5, 0.6, 1), ("B", 0.2, 0.5, 0.4, 1))
    shown = frame(("category", "rows", "explored", "share"), ("A", 12, 0, 0.6), ("B", 4, 0, 0.2), ("C", 4, 4, 0.2))
    counts = frame(LIST_COUNTS, (20, 9, 3, 4, 2, 2.5, 0.6))
    facts = nothing(categories=categories, list_categories=shown, list_counts=counts)
    section = lists.section(facts)
    assert section.lead[0].startswith("2 lists of 10 places show 9 different items from 3 categories.")
    assert "A list holds 2.5 categories" in section.lead[0]
    assert findings(section) == [
        "Without the explore places, 15 % of what is shown would have to move to match the targets, 5 % to match history",
        "Exploration shows 1 category to users who have not seen them, or know them least; C most often, in 100.0 % of the "
        "explore places",
    ]
    assert summary.sentences(facts, "s")[3] == (
        "Each of 2 users is shown 10 items, 2.0 of them from categories that are new to them, or that they know least; over "
        "everybody, 80 % of what is shown matches the target shares."
    )


@pytest.mark.parametrize(
    ("name", "weight", "slots"),
    [("calibrated λ=0.3 slots=2", 0.3, 2), ("steck lambda=0.1", 0.1, None), ("greedy λ0.9", 0.9, None)],
)
def test_points_of_the_balance_curve_are_read_from_names(name: str, weight: float, slots: int | None) -> None:
    (point,) = balance.points([name, "personal_decay"])
    assert (point.weight, point.slots) == (weight, slots)


def test_the_balance_title_keeps_99_percent_of_accuracy() -> None:
    values = {0.0: (0.200, 0.80), 0.3: (0.199, 0.40), 0.6: (0.180, 0.10)}
    rows = [
        score("balance", f"λ={w:g}", m, v, cutoff=10) for w, (a, d) in values.items() for m, v in (("ndcg", a), ("kl_bits", d))
    ]
    section = balance.section(nothing(evaluation=evaluation(*rows)))
    assert findings(section) == ["At λ=0.3 the lists stand 50 % nearer to the targets for 0.5 % of accuracy"]


def test_what_the_rules_took_is_a_table_and_nothing_where_there_are_none() -> None:
    counts = ("users", "rows", "items", "categories", "explored", "categories_per_list", "largest_share")
    known = {
        "list_counts": frame(counts, (1, 10, 9, 3, 2, 3.0, 0.4)),
        "list_categories": frame(("category", "rows", "explored", "share"), ("A", 10, 2, 1.0)),
    }
    columns = ("rule", "rule_key", "users", "places", "dcg")
    rules = frame(columns, ("never_brands", "OLD MILL", 3, 7, 1.25), ("gave_way", None, 1, 2, 0.5))
    caption = "What the shop's own rules took from the lists"
    tables = [b for b in lists.section(nothing(**known, rules=rules)).blocks if getattr(b, "caption", "") == caption]
    told = [list(row) for row in tables[0].rows]
    assert [(name, users, places, float(dcg)) for name, users, places, dcg in told] == [
        ("never_brands: OLD MILL", "3", "7", 1.25),
        ("gave_way", "1", "2", 0.5),
    ]
    assert caption not in [getattr(b, "caption", "") for b in lists.section(nothing(**known)).blocks]


def test_what_balance_was_expected_to_cost_is_told_without_labels_too() -> None:
    columns = ("calibration", "users", "expected_dcg", "accuracy_loss", "kl_bits", "chosen")
    rows = [(0.0, 10, 2.0, 0.0, 4.0, False), (0.3, 10, 1.98, 0.01, 3.5, True), (0.5, 10, 1.9, 0.05, 3.0, False)]
    (told,) = findings(balance.section(nothing(balance=frame(columns, *rows))))
    assert told.startswith("Before anybody saw them, λ=0.3 was expected to cost 1.0 % of the lists' DCG, for 0.5000 bits nearer")


def test_curves_of_a_training_tell_the_last_of_each_step() -> None:
    lines = [f'{{"kind": "validation", "step": {s}, "loss": {v}}}' for s, v in ((0, 9.0), (8, 7.0), (16, 7.5), (8, 6.5))]
    lines += [f'{{"kind": "train", "step": {s}, "loss": {9 - s / 8}, "learning_rate": 1}}' for s in range(1, 17)]
    lines.append('{"kind": "train", "step": 17, "loss": NaN}')
    (found,) = card.curves("\n".join(lines))
    assert isinstance(found, Figure) and found.numbers is not None
    assert found.finding == "Training: the validation loss went from 9.0000 to 6.5000 nats at step 8"
    assert found.numbers.rows == [("0", "9.0000"), ("8", "6.5000"), ("16", "7.5000")]
    assert card.curves(lines[0]) == [] and card.curves("") == []
    (flat,) = card.curves("\n".join([lines[0], '{"kind": "validation", "step": 4, "loss": 9.5}']))
    assert isinstance(flat, Figure) and flat.finding.startswith("Training: no step made the validation loss of 9.0000 nats lower")
    assert card.section("m", "# Card", "\n".join(lines)).blocks[0] == found


def test_the_card_shows_foreign_markup_as_text() -> None:
    html = card.to_html(PROBE)
    assert "<table>" in html and "<code>x &lt; y</code>" in html and "<h1>Card</h1>" in html
    assert not [bad for bad in ("<script", "<b>", "<div>", "href=") if bad in html]


def test_a_story_tells_what_was_liked_moved_and_shown() -> None:
    user = "a1b2c3d4" + "0" * 24
    base = nothing()
    likes = [
        ("MILK", 1, 0.6, 0.3, False, 0.5, 12.0),
        ("TEA", 2, 0.4, 0.2, False, 0.3, 8.0),
        ("BEER", 3, 0.0, 0.5, True, 0.2, 0.0),
    ]
    interest_columns = (
        "user_id",
        "category",
        "rank",
        "observed_share",
        "predicted_share",
        "is_predicted_top",
        "target_share",
        "evidence",
    )
    ends = (date(2017, 10, 9), DAY)
    windows = [(user, ends[0], "MILK", 1.0, 9.0), (user, ends[1], "MILK", 0.6, 6.0), (user, ends[1], "TEA", 0.4, 4.0)]
    places = [
        (user, 1, "i1", "Whole milk", "MILK", "exploit", 1.0, "bought_before", "bought 9 times"),
        (user, 2, "i2", "Ale", "BEER", "explore", 0.1, "unseen_category", "new to you"),
    ]
    facts = nothing(
        chosen=[("mover", user)],
        person_interests=frame(interest_columns, *[(user, *x) for x in likes]),
        person_moves=frame(("user_id", "drift_js_bits", "noise_p95_bits"), (user, 0.52, 0.41)),
        person_windows=frame(tuple(base.person_windows.columns), *windows),
        person_lists=frame(tuple(base.person_lists.columns), *places),
    )
    (story,) = [b for b in stories.section(facts).blocks if b.kind == "story"]
    assert story.pseudonym == "a1b2c3d4" and user not in html(facts)
    assert dict(story.paragraphs) == {
        "Liked": (
            "Milk (60 %) and Tea (40 %), out of 2 categories with a weight of 20.00. Expected next: Beer (50 % of the coming "
            "window)."
        ),
        "Moved": (
            "40 % of the interest changed place between the last two windows, towards Tea (+40 points) and away from Milk "
            "(−40 points); 1 category of the last window was not in the one before. The drift of 0.52 bits is more than the 0.41 "
            "that the user's own visit days show when dealt out at random."
        ),
        "Shown": "2 items from 2 categories, 1 of them to find something out (Beer).",
    }
    assert [(p.title, p.slot) for p in story.shown] == [("Whole milk", "exploit"), ("Ale", "explore")]


def test_the_strongest_rules_are_told_per_level() -> None:
    rules = frame(
        RULES,
        ("category", ["CHIPS"], "DIP", 0.05, 0.5, 2.5, 0.03, 1000, 7),
        ("category", ["BEER", "CHIPS"], "PIZZA", 0.02, 0.4, 8.0, 0.0175, 1000, 7),
    )
    section = associations.section(nothing(associations=rules))
    assert findings(section) == [
        "Chips → Dip: 50 % of the baskets with the one hold the other, 2.5 times the usual share; of the strongest 2, "
        "Beer + Chips → Pizza is furthest from chance in proportion, 8.0 times"
    ]
    assert notes(section) == "No rule about product types."
    figure = next(b for b in section.blocks if isinstance(b, Figure))
    assert figure.numbers is not None and "out of 7 rules from 1,000 baskets" in figure.note
    assert [list(r) for r in figure.numbers.rows] == [
        ["Chips → Dip", "5.00 %", "50 %", "2.5", "3.00 %"],
        ["Beer + Chips → Pizza", "2.00 %", "40 %", "8.0", "1.75 %"],
    ]


def test_ways_to_explore_stand_beside_what_was_shown() -> None:
    told = {"as_of": DAY, "run_id": "r", "model_id": "m", "synthetic": False, "lists": 2, "places": 4}
    rows = [
        told
        | {"draw": d, "estimator": e, "published": d == "ucb", "value": v, "ci_low": v - 0.01, "ci_high": v + 0.01}
        | {"effective_places": None if e == "logged" else 3.0, "unsupported": None if e == "logged" else 0.25}
        for d, own in {"thompson": 0.04, "share": 0.02, "ucb": 0.05}.items()
        for e, v in {"logged": 0.03, "ips": own, "snips": own, "dr": own + 0.001}.items()
    ]
    whole = {"segment": "all", "category": "(all)", "trials": 0}
    responses = nothing().responses.reindex([0]).assign(**whole)
    shown = nothing(policies=pd.DataFrame(rows), responses=responses)
    figures = [b for b in exploration.blocks(shown) if isinstance(b, Figure)]
    assert [f.finding for f in figures] == [
        "Explored places brought 0.0300 responses per list [0.0200, 0.0400]; would have brought: in proportion to predicted "
        "share 0.0210 [0.0110, 0.0310], Thompson sampling by feedback 0.0410 [0.0310, 0.0510] and upper bounds by feedback "
        "0.0510 [0.0410, 0.0610]"
    ]
    assert figures[0].numbers is not None
    assert len(figures[0].numbers.rows) == 12
    assert [r[1] for r in figures[0].numbers.rows] == [""] * 8 + ["yes"] * 4
    assert figures[0].numbers.rows[-1][-1] == "25.0 %"
    assert not [b for b in exploration.blocks(nothing(responses=responses)) if isinstance(b, Figure)]


def test_the_summary_tells_what_was_won_and_what_was_lost() -> None:
    asked = {"items": (0.3, 0.2), "items_utc": (0.3, 0.2), "interests": (2.1, 2.0), "new_items": (0.02, 0.01)}
    metrics = {task: ("kl_bits", 0) if task == "interests" else ("ndcg", 10) for task in asked}
    rows = [
        score(task, method, metrics[task][0], value, cutoff=metrics[task][1], seeds=seeds)
        for task, values in asked.items()
        for method, value, seeds in zip(("text_lora", "personal_decay"), values, (1, None), strict=True)
    ]
    assert summary.sentences(nothing(evaluation=evaluation(*rows)), "s")[4] == (
        "On held-back windows the models are first in 2 of 3 tasks: items (NDCG@10 0.3000 against 0.2000) and new items (NDCG@10 "
        "0.0200 against 0.0100); behind the best baseline in 1: interests (KL divergence 2.1000 against 2.0000)."
    )
