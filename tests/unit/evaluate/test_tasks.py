"""The comparisons on a small invented log whose answers are known by hand or by a slow loop."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from equipoise.evaluate.behaviour import NO_ITEM, Behaviour, Catalogue, day_number
from equipoise.evaluate.metrics.ranking import EMPTY
from equipoise.evaluate.table import Row, rows, standing
from equipoise.evaluate.tasks import balance, interests, items, value
from equipoise.recommend.lists import Policy
from equipoise.tables.vocabulary import EVENT_TYPES

ORIGIN = day_number(date(2020, 3, 2))
BUY, LOOK, SHOWN = (EVENT_TYPES.index(t) for t in ("purchase", "view", "expose"))


def catalogue() -> Catalogue:
    """Items a, b, c, d: a in x and y (0.3 and 0.7), b in x, c in z, d in UNKNOWN; c is excluded FUEL."""
    return Catalogue(
        items=np.array(["a", "b", "c", "d"]),
        categories=np.array(["UNKNOWN", "x", "y", "z"]),
        link_item=np.array([0, 0, 1, 2, 3]),
        link_category=np.array([1, 2, 1, 3, 0]),
        link_weight=np.array([0.3, 0.7, 1.0, 1.0, 1.0]),
        top=np.array(["FOOD", "FOOD", "FUEL", "UNKNOWN"]),
        leaf=np.array(["t", "t", "t", "UNKNOWN"]),
    )


def log(*events: tuple[int, int, int, int, float], users: int = 3) -> Behaviour:
    """Events (user, item, day from the origin, kind, amount)."""
    table = np.array(sorted(events, key=lambda e: (e[0], e[2], e[1])), dtype=float).T
    number = [c.astype(np.int64) for c in table[:4]]
    day = number[2] + ORIGIN
    return Behaviour(np.array([f"u{i}" for i in range(users)]), number[0], number[1], day, day, number[3], table[4])


def test_expand_gives_every_category_of_an_item_and_nothing_without_one() -> None:
    row, category, weight = catalogue().expand(np.array([2, NO_ITEM, 0]))
    assert list(zip(row, category, weight, strict=True)) == [(0, 3, 1.0), (2, 1, 0.3), (2, 2, 0.7)]
    assert catalogue().main.tolist() == [2, 1, 3, 0]
    assert catalogue().countable(("FUEL",)).tolist() == [True, True, False, False]
    assert catalogue().item_numbers(["d", "zz", ""]).tolist() == [3, -1, -1]


def test_distinct_keeps_first_places() -> None:
    lists = np.array([[2, 1, 2, 1, 3], [EMPTY, 4, 4, EMPTY, 0]])
    assert items.distinct(lists).tolist() == [[2, 1, 3, EMPTY, EMPTY], [4, 0, EMPTY, EMPTY, EMPTY]]


def test_baskets_leave_out_what_does_not_count_and_translate_to_categories() -> None:
    behaviour = log(
        (0, 0, -9, BUY, 1.0), (0, 1, -5, BUY, 1.0), (0, 2, 0, BUY, 9.0), (0, 0, 2, BUY, 1.0), (0, 1, 3, BUY, 1.0),
        (0, 1, 1, LOOK, 0.0),
    )  # fmt: skip
    as_items, as_categories = items.baskets(behaviour, catalogue(), ("FUEL",), ORIGIN, ORIGIN + 28)
    assert (as_items.truth % 4).tolist() == [0]  # day 0 is fuel and day 1 a look: the first counted trip is day 2
    assert sorted(as_categories.truth % 4) == [1, 2]
    assert as_categories.repeats.tolist() == [2]


def test_window_counts_start_at_the_origin_and_use_category_weights() -> None:
    behaviour = log((0, 0, -1, BUY, 1.0), (0, 0, 0, BUY, 1.0), (0, 1, 27, BUY, 1.0), (0, 1, 28, BUY, 1.0), (1, 1, -57, BUY, 1.0))
    counts, number = interests.windows(behaviour, catalogue(), ORIGIN, 28, ORIGIN + 28)
    assert number == 3  # windows of 28 days: -57 lies in the third before the origin
    assert counts.of_window(number)[0].tolist() == [0, 1.3, 0.7, 0]
    assert counts.of_window(number - 1)[0].tolist() == [0, 0.3, 0.7, 0]
    assert counts.of_window(0)[1].tolist() == [0, 1.0, 0, 0]


def test_prior_is_the_sum_over_events_of_weight_and_decay() -> None:
    behaviour = log((0, 0, -10, BUY, 1.0), (0, 1, -20, LOOK, 0.0), (0, 1, 5, BUY, 1.0))
    base = np.array([0.1, 0.2, 0.3, 0.4])
    got = interests.prior(behaviour, catalogue(), ORIGIN, {"purchase": 1.0, "view": 0.1}, 10.0, (2.0, 1.5), base)
    weight = np.array([0, 0.3 * 0.5 + 0.1 * 0.25, 0.7 * 0.5, 0]) + 2 * base
    assert got[0] == pytest.approx(weight**1.5 / (weight**1.5).sum())
    assert got[1] == pytest.approx(base**1.5 / (base**1.5).sum())


def test_auc_per_user_equals_scikit_learn_over_the_marked_columns() -> None:
    rng = np.random.default_rng(1)
    label, score, among = rng.random((30, 20)) < 0.3, rng.integers(0, 6, (30, 20)) / 6, rng.random((30, 20)) < 0.7
    found = interests.auc_per_user(label, score, among)
    for i in range(30):
        inside = label[i, among[i]]
        expected = roc_auc_score(inside, score[i, among[i]]) if 0 < inside.sum() < len(inside) else np.nan
        assert found[i] == pytest.approx(expected, nan_ok=True)


def test_better_predictions_get_better_scores_on_drawn_truths() -> None:
    """The distribution that the events were drawn from must win every proper score."""
    rng = np.random.default_rng(2)
    truth = rng.dirichlet(np.ones(4) * 2, size=200)
    events = rng.multinomial(40, truth).astype(float)
    user, category = np.nonzero(events)
    one = np.ones(len(user), dtype=np.int64)
    counts = interests.ema.Counts(user, one, category, events[user, category], 200, 4)
    answers = {"ema_dirichlet": [np.full((200, 4), 0.25)], "true": [truth], "sharp": [truth**3]}
    touched, known = np.zeros((200, 4), dtype=bool), np.ones(200, dtype=bool)
    compared = interests.comparison(counts, 1, answers, ("true",), touched, known, date(2020, 3, 2), {})
    value_of = {(r.method, r.metric): r.value for r in rows(compared, resamples=100, seed=1)}
    for metric in ("kl_bits", "log_loss"):
        assert value_of["true", metric] < min(value_of["sharp", metric], value_of["ema_dirichlet", metric]), metric
    assert value_of["true", "kl_bits_minus_ema_dirichlet"] < 0


def test_outcome_by_both_ladders() -> None:
    behaviour = log(
        (0, 0, 0, BUY, 5.0), (0, 0, 1, BUY, 6.0), (1, 0, 3, BUY, 4.0), (2, NO_ITEM, 4, SHOWN, 0.0), (3, 0, 5, LOOK, 0.0),
        (4, 0, 28, BUY, 9.0), users=5,
    )  # fmt: skip
    spend = value.outcome(behaviour, "spend", 10.0, True, ORIGIN, 28)
    assert spend.label.tolist() == [2, 1, 0, 0, 0]
    assert spend.buys.tolist() == [1, 1, 0, 0, 0]
    assert spend.spend is not None
    assert spend.spend.tolist() == [11, 4, 0, 0, 0]
    events = value.outcome(behaviour, "events", 0.0, False, ORIGIN, 28)
    assert events.label.tolist() == [2, 2, 0, 1, 0]  # an exposure is nothing done; a look is interest
    assert events.spend is None
    assert value.spend_threshold(behaviour, [ORIGIN, ORIGIN + 1], 28) == 6.0  # median of 11, 4 and 6, 4, 9
    assert value.spend_threshold(behaviour, [ORIGIN + 99], 28) == 0.0


def test_oracle_names_every_class_and_the_true_probability_wins() -> None:
    rng = np.random.default_rng(3)
    p = rng.dirichlet(np.ones(3), size=800)
    label = np.array([rng.choice(3, p=row) for row in p])
    truth = value.Outcome(label, (label > 0).astype(float), label * 10.0)
    flat = np.tile(p.mean(0), (800, 1))
    true = value.Answer(1 - p[:, 0], p @ [0, 10, 20.0], p, 1 - p[:, 0], p.argmax(1), p @ [0, 10, 20.0])
    answers = {
        "oracle": [value.oracle(truth)],
        "true": [true],
        "population": [value.Answer(flat[:, 1], None, flat, 1 - flat[:, 0])],
    }
    compared = value.comparison(truth, answers, {"true"}, np.arange(800), date(2020, 3, 2), {})
    got = {(r.method, r.metric): r.value for r in rows(compared, resamples=100, seed=1)}
    assert got["oracle", "macro_f1"] == got["oracle", "auc"] == 1.0
    assert got["oracle", "ngini"] == pytest.approx(1.0)  # spend is a function of the class here
    assert got["population", "auc"] == pytest.approx(0.5)
    assert got["true", "log_loss"] < got["population", "log_loss"]
    assert got["true", "ece"] < 2 * got["true", "ece_null_p95"]
    assert got["true", "brier"] == pytest.approx(np.mean((1 - p[:, 0] - (label > 0)) ** 2))
    points = rows(value.curves(truth, answers, {"true"}, np.arange(800), date(2020, 3, 2)), resamples=100, seed=1)
    found = {(r.metric, r.cutoff): r.value for r in points if r.method == "true"}
    roc = [found["roc_tpr", c] for c in range(5, 100, 5)]
    assert (np.diff(roc) >= 0).all()
    spend, said = label * 10.0, p @ [0, 10, 20.0]
    order = np.argsort(-said)
    for share in range(10, 100, 10):
        assert found["gain", share] == pytest.approx(spend[order[: 8 * share]].sum() / spend.sum())
    for tenth in range(10):
        members = order[::-1][80 * tenth : 80 * (tenth + 1)]
        assert found["spend_said", tenth + 1] == pytest.approx(said[members].mean())
        assert found["spend_seen", tenth + 1] == pytest.approx(spend[members].mean())
    assert found["p_seen", 10] > found["p_seen", 1]
    assert {k for k, _ in found} == {"roc_tpr", "gain", "spend_said", "spend_seen", "p_said", "p_seen"}
    without = {r.metric for r in points if r.method == "population"}
    assert without == {"roc_tpr", "p_said", "p_seen"}, "it orders nobody by spend"


def test_list_shares_and_their_distance_to_the_target() -> None:
    shown = np.array([[0, 1, 2], [0, EMPTY, EMPTY]])
    found = items.category_shares(shown, catalogue())
    assert found == pytest.approx(np.array([[0, 1.3 / 3, 0.7 / 3, 1 / 3], [0, 0.3, 0.7, 0]]))
    measures = {
        m.metric: m.value() for m in balance._distances(found[1:], np.array([[0, 0.3, 0.7, 0.0]]), np.array([[0.0] * 4]), 0.01)
    }
    assert measures["kl_bits"] == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(measures["kl_bits_next"])  # nothing happened next


def test_policies_start_at_the_reference_and_repeat_no_setting() -> None:
    published = Policy(
        date(2020, 3, 2), 10, 2, 0.3, 0.01, "interchange", 30, "thompson", 0.05, "personal", 10, 0, "kl", "same", 1
    )
    settings = balance.policies(published, (0.0, 0.3, 0.9))
    found = [(p.calibration, p.explore_slots, p.explore_draw) for p in settings]
    assert found[0] == (0.0, 0, "thompson")
    assert len(set(found)) == len(found)
    swept = {(w, s) for w in (0.0, 0.3, 0.9) for s in (0, 2)} | {(0.3, s) for s in (0, 1, 2, 3, 5)}
    assert set(found) == {(w, s, "thompson") for w, s in swept} | {(0.3, 2, "share"), (0.3, 2, "ucb")}
    assert {p.explore_budget for p in settings} == {"fixed"}
    names = [balance.name(p, published) for p in settings]
    assert len(set(names)) == len(names)
    assert names[-2:] == ["calibrated λ=0.3 slots=2 draw=share", "calibrated λ=0.3 slots=2 draw=ucb"]
    small = Policy(date(2020, 3, 2), 4, 1, 0.3, 0.01, "interchange", 2, "share", 0.05, "fixed", 10, 0, "kl", "same", 1)
    assert max(p.explore_slots for p in balance.policies(small, (0.3,))) == 2  # 5 would not fit a list of 4, 3 not a pool of 2


def test_the_standing_is_told_best_first_by_the_leading_metric() -> None:
    def row(task: str, method: str, metric: str, value: float, group: str = "all", low: float | None = 0.1) -> Row:
        return Row(task, method, metric, 10 if metric == "ndcg" else 0, "test", "2020-03-02", group, value, low, low, 1234, None)

    items_rows = [row("items", "a", "ndcg", 0.1), row("items", "b", "ndcg", 0.2, low=None), row("items", "c", "recall", 0.9)]
    assert standing(items_rows) == ["  1. ndcg@10 0.2000  b (n 1,234)", "  2. ndcg@10 0.1000 [0.1000, 0.1000]  a (n 1,234)"]
    told = standing(
        [
            row("interests", "a", "kl_bits", 2.1),
            row("interests", "b", "kl_bits", 2.0),
            row("interests", "c", "kl_bits", 1.0, "x=1"),
        ]
    )
    assert [line.split()[-3] for line in told] == ["b", "a"]
    assert standing([row("balance", "a", "ndcg", 0.1)]) == []
