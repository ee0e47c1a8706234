"""gold.evaluation as the report reads it: hand tables."""

from __future__ import annotations

from equipoise.report import scores
from equipoise.report.glossary import metric
from equipoise.report.score_charts import Whisker, scale
from equipoise.report.scores import Key
from equipoise.report.sections import evaluation as section
from equipoise.report.sections.evaluation import finding, leading
from tests.unit.report.facts import evaluation, nothing, score

KL, NDCG = Key("kl_bits", 0), Key("ndcg", 10)
TABLE = evaluation(
    score("interests", "model", "kl_bits", 2.00, seeds=1),
    score("interests", "ema_dirichlet", "kl_bits", 2.10),
    score("interests", "population", "kl_bits", 2.90),
    score("interests", "model", "ndcg", 0.60, cutoff=10, seeds=1),
    score("interests", "ema_dirichlet", "ndcg", 0.61, cutoff=10),
    score("interests", "model", "kl_bits", 1.50, user_group="age=19-24", seeds=1),
    score("interests", "model", "kl_bits", 0.10, split="validation", seeds=1),
    score("interests", "model", "kl_bits", 0.20, origin="2017-10-09", seeds=1),
    score("interests", "model", "kl_bits_seed_sd", 0.01, seeds=5),
    score("interests", "model", "kl_bits_minus_ema_dirichlet", -0.10, ci_low=-0.14, ci_high=-0.06, seeds=1),
    score("interests", "population", "kl_bits_minus_ema_dirichlet", 0.80, ci_low=0.7, ci_high=0.9),
    score("interests", "last_window", "kl_bits_minus_ema_dirichlet", -0.01, ci_low=-0.03, ci_high=0.01),
)


def test_groups_other_splits_older_origins_and_differences_are_other_rows() -> None:
    rows = scores.of_task(TABLE, "interests")
    assert sorted(rows["value"]) == [0.60, 0.61, 2.00, 2.10, 2.90]
    pooled = evaluation(*(score("t", m, "kl_bits", v, origin=o) for m, v, o in (("a", 1.0, "2017-12-01"), ("a", 2.0, "pooled"))))
    assert list(scores.of_task(pooled, "t")["value"]) == [2.0]


def test_less_is_better_where_the_glossary_says_so() -> None:
    rows = scores.of_task(TABLE, "interests")
    assert scores.best(rows, KL) == "model" and scores.best(rows, NDCG) == "ema_dirichlet"
    assert list(scores.at(rows, KL)["method"]) == ["model", "ema_dirichlet", "population"]


def test_who_knows_the_truth_does_not_compete() -> None:
    rows = evaluation(
        score("value", "oracle", "auc", 1.0),
        score("value", "rfm_sum", "auc", 0.86),
        score("value", "published rfm_sum", "auc", 0.99),
    )
    assert scores.best(rows, Key("auc", 0)) == "rfm_sum"


def test_leading_metrics_come_first() -> None:
    found = scores.keys(scores.of_task(TABLE, "interests"), "interests")
    assert found == [KL, NDCG] and leading(found, "interests") == [KL, NDCG]


def test_differences_are_certain_only_beyond_nought() -> None:
    found = scores.differences(TABLE, "interests", KL)
    assert [d.method for d in found] == ["model", "last_window", "population"] and {d.baseline for d in found} == {
        "ema_dirichlet"
    }
    assert [scores.is_better(d, KL) for d in found] == [True, False, False]
    assert [scores.is_worse(d, KL) for d in found] == [False, False, True]


def test_the_finding_names_winner_and_loser_alike() -> None:
    rows = scores.of_task(TABLE, "interests")
    assert finding(rows, KL) == "KL divergence: model is best with 2.0000; the best baseline, ema_dirichlet, reaches 2.1000"
    assert finding(rows, NDCG) == "NDCG@10: ema_dirichlet is best with 0.6100; model comes 2nd of 2 with 0.6000"


def test_the_section_shows_every_method_and_difference() -> None:
    blocks = section.section(nothing(evaluation=TABLE)).blocks
    figures = [b for b in blocks if b.kind == "figure"]
    assert "1 of 3 methods better beyond doubt, 1 worse, 1 undecided" in figures[1].finding
    table = figures[0].numbers
    assert table is not None
    assert [row[0] for row in table.rows] == ["model", "ema_dirichlet", "population"]
    assert (
        table.rows[0][1] == "2.0000 [1.9900, 2.0100] ★"
        and table.rows[1][2] == "0.6100 [0.6000, 0.6200] ★"
        and table.rows[2][2] == "–"
    )


def test_published_floors_stand_beside_what_is_measured() -> None:
    rows = (
        score("floors_items", "p_top_freq", "ndcg", 0.2081, cutoff=10),
        score("floors_items", "published p_top_freq", "ndcg", 0.2080, cutoff=10, ci_low=None, ci_high=None),
        score("floors_items", "personal_decay", "ndcg", 0.19, cutoff=10),
        score("floors_items", "published personal_decay", "ndcg", 0.2215, cutoff=10, ci_low=None, ci_high=None),
        score("floors_items", "p_top_freq", "recall", 0.15, cutoff=10),
    )
    figures = [b for b in section.section(nothing(evaluation=evaluation(*rows))).blocks if b.kind == "figure"]
    assert len(figures) == 1, "only what was published is compared"
    assert figures[0].finding == "1 of 2 published figures lie within the 95 % interval of what is measured here"


def test_roc_points_become_one_curve() -> None:
    rows = [score("value", m, "auc", v, seeds=s) for m, v, s in (("model", 0.9, 1), ("rfm_sum", 0.8, None))]
    rows += [score("value", m, "roc_tpr", v, cutoff=c) for m in ("model", "rfm_sum") for c, v in ((10, 0.5), (50, 0.9))]
    blocks = section.section(nothing(evaluation=evaluation(*rows))).blocks
    curve = next(b for b in blocks if b.kind == "figure" and b.finding.startswith("ROC"))
    assert "model finds 50.00 % of the buyers" in curve.finding


def test_gains_and_tenths_become_pictures_of_the_best_method_with_a_trained_part() -> None:
    rows = [score("value", m, "ngini", v, seeds=s) for m, v, s in (("model", 0.7, 1), ("rfm_sum", 0.8, None))]
    rows += [score("value", m, "gain", v, cutoff=c) for m in ("model", "rfm_sum") for c, v in ((10, 0.4), (50, 0.9))]
    said, seen = (10.0, 20.0, 40.0), (12.0, 20.0, 33.0)
    for kind, values in (("said", said), ("seen", seen)):
        rows += [score("value", "model", f"spend_{kind}", v, cutoff=c) for c, v in enumerate(values, start=1)]
    blocks = [b for b in section.section(nothing(evaluation=evaluation(*rows))).blocks if b.kind == "figure"]
    gain = next(b for b in blocks if b.finding.startswith("Spend held"))
    assert "the tenth that model puts first brought 40.00 % of it" in gain.finding
    tenths = next(b for b in blocks if "by tenths" in b.finding)
    assert "said and seen are 7.00 apart at most" in tenths.finding
    assert tenths.numbers is not None
    assert [r[1:] for r in tenths.numbers.rows] == [("10.00", "12.00"), ("20.00", "20.00"), ("40.00", "33.00")]


def test_metric_names() -> None:
    assert metric("ndcg", 10)[0] == "NDCG@10"
    assert (
        metric("category_recall_repeat", 10)[0] == "Category recall, repeats@10"
        and metric("category_recall_repeat")[1].better == "higher"
    )
    assert metric("recall_buy")[0] == "Recall of buy" and metric("never_heard_of")[1].better is None


def test_the_main_origin_is_the_one_at_which_the_model_was_judged() -> None:
    rows = (
        score("value", "model", "auc", 0.9, seeds=1),
        score("value", "rfm_sum", "auc", 0.8),
        score("value", "rfm_sum", "auc", 0.7, origin="2017-12-04"),
    )
    assert list(scores.of_task(evaluation(*rows), "value")["value"]) == [0.9, 0.8]
    tables = [b for b in section.section(nothing(evaluation=evaluation(*rows))).blocks if b.kind == "table"]
    assert [t.caption for t in tables] == ["What the methods are", "Test, label window from 2017-12-04: all numbers"]


def test_far_outliers_do_not_squeeze_the_others() -> None:
    values = [0.86, 0.85, 0.84, 0.83, 0.80]
    rows = [Whisker(v, v - 0.01, v + 0.01) for v in values]
    inside = scale(rows)
    assert inside[0] < 0.79 and inside[1] > 0.87, "whiskers and a little room"
    assert scale([*rows, Whisker(9.0), None]) == inside, "far beyond the fences"
    low, high = scale([*rows, Whisker(0.2, ours=True), Whisker(1.5, best=True)], (0.0,))
    assert low < 0.0 and high > 1.5, "ours, the best and what is asked for are always inside"
