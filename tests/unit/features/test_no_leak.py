"""The law of the house: whatever happens at or after a cut, nothing known at it changes; labels look at their window only."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from equipoise.features.build import Recipe, base
from equipoise.features.examples import draw, vocabulary
from equipoise.features.labels import label_windows
from equipoise.features.sequences import item_names, latest, sequences
from equipoise.features.text import parts_for
from equipoise.features.visits import cells, gathered, trends, visits
from equipoise.inference.interface import EVENTS_IN, FEATURES_IN
from equipoise.inference.predictor import Predictor
from equipoise.models import TowerOptions
from equipoise.models.items import ItemTable
from equipoise.tables.packing import TREND_VALUES, item_keys
from tests.small_models import FEATURE_NAMES, publish, tiny_bert
from tests.unit.features.test_sequences import recipe
from tests.unit.features.world import (
    CATALOGUE,
    MIXED,
    Event,
    day,
    event,
    events,
    item_categories,
    items,
    random_events,
    table,
    user,
)

FIRST, DAYS = day("01-03"), 170
AS_OF = day("06-01")
KNOWN = ("user_id", "cut")
SCORED = pa.schema([*FEATURES_IN, *EVENTS_IN])


def made(spark: SparkSession, log: list[Event], r: Recipe) -> dict[str, dict[Any, dict[str, Any]]]:
    """Everything known at each cut, the labels, the vocabulary and the training sample."""
    done = base(events(spark, log), item_categories(spark), r)
    seen = visits(done.daily)
    texts = sequences(
        latest(events(spark, log), r.all_cuts, 5),
        item_names(items(spark), 2),
        pairs=done.profiles.select(*KNOWN),
        profiles=done.profiles,
        weights=done.weights,
        cells=gathered(cells(seen, done.profiles)),
        max_items=5,
        parts=parts_for(64),
    )
    labels = label_windows(done.daily, cuts=r.all_cuts[:-1], days=28).persist()
    learnt = F.col("cut") < F.lit(r.cuts.validation)
    spec = vocabulary(labels.filter(learnt), done.weights.filter(F.col("cut") == F.lit(r.cuts.train[-1])))
    drawn = draw(done.profiles.filter(learnt).select(*KNOWN), size=30, files=2, seed=1)
    return {
        "profiles": table(done.profiles, *KNOWN),
        "weights": table(done.weights, *KNOWN, "category"),
        "sequences": table(texts, *KNOWN),
        "trends": table(trends(seen, done.profiles, cuts=r.all_cuts, days=28), "category", "cut"),
        "labels": table(labels, *KNOWN),
        "spec": table(spec, "position"),
        "drawn": table(drawn, *KNOWN),
    }


def changed_from(log: list[Event], since: date, rng: np.random.Generator) -> list[Event]:
    """Events on or after `since` moved, altered, dropped and added, never to before it; the others stay."""
    span = (FIRST + timedelta(days=DAYS) - since).days
    out: list[Event] = []
    for n, (_, who, item, kind, _, when, _, amount) in enumerate(log):
        fate = int(rng.integers(5)) if when >= since else 4
        moved = since + timedelta(days=int(rng.integers(span)))
        if fate == 0:
            continue
        if fate == 1:
            out.append(event(who, item, kind, moved, amount=amount, n=n + 1_000_000))
        elif fate == 2:
            out.append(event(who, str(rng.choice(list(CATALOGUE))), "purchase", when, amount=500.0, n=n + 2_000_000))
        elif fate == 3:
            out.append(event(user("somebody new"), item, kind, when, amount=amount, n=n + 3_000_000))
        else:
            out.append(log[n])
    added = [event(str(rng.choice([e[1] for e in log])), "a1", "purchase", since, amount=1e4, n=4_000_000 + i) for i in range(5)]
    return out + added


def scores(found: dict[str, dict[Any, dict[str, Any]]], cut: date, models: dict[str, Predictor]) -> dict[str, list[Any]]:
    """What a small model of each route says of every user at a cut, from what is known of them there."""
    known = sorted(u for u, at in found["sequences"] if at == cut)
    rows = [
        {n: v for n, v in found["sequences"][u, cut].items() if n in SCORED.names}
        | {"features": [float(found["profiles"][u, cut][n]) for n in FEATURE_NAMES]}
        for u in known
    ]
    out: dict[str, list[Any]] = {}
    for route, model in models.items():
        trend = [found["trends"].get((c, cut), dict.fromkeys(TREND_VALUES, 0.0)) for c in model.categories]
        model._trends = torch.tensor([[t[n] for n in TREND_VALUES] for t in trend], dtype=torch.float32)
        told = model.predict(pa.RecordBatch.from_pylist(rows, schema=SCORED)).to_pylist()
        out[route] = [known, told]
    return out


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Predictor]:
    """A random model of each route over the categories of the log; every item has a vector of its own."""
    root = tmp_path_factory.mktemp("leak")
    bert, names = str(tiny_bert(root / "bert")), sorted({levels[1] for levels in CATALOGUE.values()})
    tower = TowerOptions("attention", width=8, layers=1, attention_heads=2, dropout=0.0, events=5)
    ids = [*CATALOGUE, *MIXED]
    vectors = np.random.default_rng(1).normal(size=(len(ids), 32)).astype(np.float32)
    table_of = ItemTable.of(
        item_keys(pa.array(ids)), np.arange(len(ids)), vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    )
    table_of.save(root / "items.safetensors")
    trends_of = tuple((0.0,) * len(TREND_VALUES) for _ in names)
    return {
        route: Predictor.load(
            publish(root / route, bert, categories=names, tower=tower if route == "tower" else None),
            bfloat16="off",
            trends=trends_of,
            items=str(root / "items.safetensors") if route == "tower" else "",
        )
        for route in ("text", "tower")
    }


def before(found: dict[str, dict[Any, dict[str, Any]]], what: str, until: date) -> dict[Any, dict[str, Any]]:
    return {k: v for k, v in found[what].items() if k[1] <= until}


@pytest.mark.parametrize(("seed", "bought_early"), [(1, True), (2, False)])
def test_nothing_after_a_cut_is_known_at_it(
    spark: SparkSession, models: dict[str, Predictor], seed: int, bought_early: bool
) -> None:
    """Neither features nor the scores of either route.

    Changed from three points on: a training cut, the validation cut, as_of (which lies between boundaries).

    Without early purchases trips are days with other events, and the change brings the first purchase.
    """
    r = replace(
        recipe(), as_of=AS_OF, half_life_days=60.0, event_weights={"purchase": 1.0, "view": 0.1, "cart": 0.6, "click": 0.3}
    )
    train, validation = r.cuts.train, r.cuts.validation
    assert len(train) == 3 and validation == day("04-24") and (AS_OF - validation).days == 38
    log = [e for e in random_events(seed, FIRST, DAYS, 260, users=9) if bought_early or e[3] != "purchase"]
    true = made(spark, log, r)
    assert len(true["profiles"]) > 30 and len(true["labels"]) > 20
    rng = np.random.default_rng(seed)
    for since in (train[-1], validation, AS_OF):
        changed = made(spark, changed_from(log, since, rng), r)
        for what in ("profiles", "weights", "sequences", "trends"):
            assert before(changed, what, since) == before(true, what, since), (what, since)
        told, untouched = scores(changed, since, models), scores(true, since, models)
        assert told == untouched and len(told["tower"][0]) > 3, since
        if since < AS_OF:
            for route, later in scores(changed, AS_OF, models).items():
                assert later != scores(true, AS_OF, models)[route], f"{route}: the change must show later in the scores too"
        window_over = since - timedelta(days=28)
        assert before(changed, "labels", window_over) == before(true, "labels", window_over), since
        if since < AS_OF:
            assert changed["profiles"] != true["profiles"], "the change must show later, or the test shows nothing"
            assert before(changed, "labels", since) != before(true, "labels", since), "and in the window's labels"
        if since >= validation:
            assert changed["spec"] == true["spec"] and changed["drawn"] == true["drawn"], "fitted on training data only"


def test_labels_see_their_window_alone(spark: SparkSession) -> None:
    """History before the cut moves no label."""
    r = replace(recipe(), as_of=AS_OF)
    log = random_events(5, FIRST, DAYS, 200, users=6)
    cut = r.cuts.train[1]
    inside = [e for e in log if cut <= e[5] < cut + timedelta(days=28)]
    whole, alone = (
        table(label_windows(base(events(spark, rows), item_categories(spark), r).daily, cuts=[cut], days=28), *KNOWN)
        for rows in (log, inside)
    )
    assert whole == alone and whole
