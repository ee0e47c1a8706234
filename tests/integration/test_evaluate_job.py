"""evaluate_models on a small invented warehouse: its figures against loops over the events, its seeds, its refusals."""

from __future__ import annotations

import importlib.util
import json
import shutil
from datetime import date, timedelta
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from scipy.stats import entropy
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from equipoise.evaluate.behaviour import day_number
from equipoise.evaluate.metrics.distribution import EPSILON
from equipoise.job.run import run
from equipoise.models import TowerOptions
from equipoise.models.package import MANIFEST, META, checksums
from equipoise.training.held_out_users import HeldOut
from equipoise.training.registry import Registry
from tests.conftest import ROOT
from tests.integration.evaluate_world import AS_OF, DAYS, FUEL, SLOTS, SOURCE, UNTIL, K, World, build
from tests.small_models import CATEGORIES, publish, tiny_bert

MODEL = "text_lora"
TOML = f"""
warehouse = "{{warehouse}}"
[source]
adapter = "simulated"
name = "{SOURCE}"
[identity]
key_file = "key"
[windows]
origin = 2020-01-06
days = {DAYS}
[segments]
ladder = "spend"
[scoring]
bfloat16 = "off"
[recommend]
k = {K}
explore_slots = {SLOTS}
explore_pool = 2
min_item_events = 1
[evaluate]
labels_until = {UNTIL}
resamples = 100
exclude_categories = ["FUEL"]
frontier = [0.0, 0.5]
"""


def job() -> ModuleType:
    spec = importlib.util.spec_from_file_location("evaluate_models", ROOT / "jobs" / "evaluate_models.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def world(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The warehouse with two published models that differ in nothing but the folder; one is promoted."""
    folder = tmp_path_factory.mktemp("evaluate")
    made = build(spark, folder / "warehouse")
    registry = Registry(f"{made.store.root}/models/encoder")
    bert = str(tiny_bert(folder / "bert"))
    for name in ("model-under-test", "sister"):
        registry.publish(publish(registry.staging(name), bert), name)
    registry.promote("model-under-test")
    (folder / "settings.toml").write_text(TOML.format(warehouse=folder / "warehouse"))
    return made


def arguments(world: World, *flags: str, as_of: date = AS_OF) -> list[str]:
    return ["--settings", str(Path(world.store.root).parent / "settings.toml"), "--as-of", str(as_of), *flags]


def table(world: World, split: str = "test") -> pd.DataFrame:
    return (
        world.store.read("gold.evaluation")
        .filter(F.col("split") == split)
        .toPandas()
        .set_index(["task", "method", "metric", "origin", "user_group"])
        .sort_index()
    )


@pytest.fixture(scope="module")
def rows(world: World) -> pd.DataFrame:
    module = job()
    assert run(module.JOB, module.run, arguments(world), Path("evaluate_models.py")) == 0
    return table(world)


def value(rows: pd.DataFrame, task: str, method: str, metric: str, group: str = "all", origin: date = AS_OF) -> float:
    return float(rows.loc[(task, method, metric, str(origin), group), "value"])


def next_baskets(world: World) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Items of each user's first counted day from as_of on, for users with two counted days before; and their histories."""
    truth: dict[str, set[str]] = {}
    history: dict[str, set[str]] = {}
    for user in world.users:
        mine = [(day, i) for u, i, day, _ in world.events if u == user and i != FUEL and world.category[i] != "UNKNOWN"]
        after = [day for day, _ in mine if AS_OF <= day < UNTIL]
        if after and len({day for day, _ in mine if day < AS_OF}) >= 2:
            truth[user] = {i for day, i in mine if day == min(after)}
            history[user] = {i for day, i in mine if day < AS_OF}
    return truth, history


def test_list_metrics_equal_a_loop_over_the_events(world: World, rows: pd.DataFrame) -> None:
    truth, history = next_baskets(world)
    method = f"{MODEL} λ=0.3 slots={SLOTS}"
    recall, ndcg, explore = [], [], []
    for user, wanted in truth.items():
        hits = [i in wanted for i in world.lists[user]]
        best = sum(1 / np.log2(p + 2) for p in range(min(K, len(wanted))))
        recall.append(sum(hits) / len(wanted))
        ndcg.append(sum(h / np.log2(p + 2) for p, h in enumerate(hits)) / best)
        new = [h for h, i in zip(hits, world.lists[user], strict=True) if i not in history[user]]
        explore += [np.mean(new)] if new else []
    assert value(rows, "items", method, "recall") == pytest.approx(np.mean(recall))
    assert value(rows, "items", method, "ndcg") == pytest.approx(np.mean(ndcg))
    assert value(rows, "items", method, "explore_precision") == pytest.approx(np.mean(explore))
    assert float(rows.loc[("items", method, "ndcg", str(AS_OF), "all"), "n"]) == len(truth)
    slots = [world.lists[u][-1] in wanted for u, wanted in truth.items()]
    assert value(rows, "items", method, "explore_slot_precision") == pytest.approx(np.mean(slots))
    shown = {i for u in truth for i in world.lists[u]}
    assert value(rows, "items", method, "catalogue_coverage") == pytest.approx(len(shown) / len(world.items))
    of_truth = {u: {world.category[i] for i in wanted} for u, wanted in truth.items()}
    by_category = [np.mean([c in {world.category[i] for i in world.lists[u]} for c in cs]) for u, cs in of_truth.items()]
    assert value(rows, "items", method, "category_recall") == pytest.approx(np.mean(by_category))


def test_lists_by_value_alone_hold_the_same_items_the_other_way_round(world: World, rows: pd.DataFrame) -> None:
    ndcg = []
    for user, wanted in next_baskets(world)[0].items():
        best = sum(1 / np.log2(p + 2) for p in range(min(K, len(wanted))))
        ndcg.append(sum((i in wanted) / np.log2(p + 2) for p, i in enumerate(reversed(world.lists[user]))) / best)
    assert value(rows, "items", "item_values", "ndcg") == pytest.approx(np.mean(ndcg))
    published = value(rows, "items", f"{MODEL} λ=0.3 slots={SLOTS}", "recall")
    assert value(rows, "items", "item_values", "recall") == pytest.approx(published)


def test_personal_frequency_equals_a_loop_over_the_events(world: World, rows: pd.DataFrame) -> None:
    truth, history = next_baskets(world)
    everything = [(u, i, day) for u, i, day, _ in world.events if day < AS_OF and i != FUEL and world.category[i] != "UNKNOWN"]
    popularity = pd.Series([i for _, i, _ in set(everything)]).value_counts()
    recall = []
    for user, wanted in truth.items():
        counts = pd.Series([i for u, i, _ in set(everything) if u == user]).value_counts()
        top = sorted(history[user], key=lambda i, counts=counts: (-counts[i], -popularity[i], i))[:K]  # type: ignore[misc]
        recall.append(len(set(top) & wanted) / len(wanted))
    assert value(rows, "items", "p_top_freq", "recall") == pytest.approx(np.mean(recall))


def window(world: World, user: str, start: date) -> list[tuple[str, float]]:
    return [(i, m) for u, i, day, m in world.events if u == user and start <= day < start + timedelta(days=DAYS)]


def test_pairs_are_scored_against_the_visits_of_the_window(world: World, rows: pd.DataFrame) -> None:
    known = sorted({u for u, _, day, _ in world.events if day < AS_OF})
    label = np.array([[c in {world.category[i] for i, _ in window(world, u, AS_OF)} for c in CATEGORIES] for u in known])
    recent = AS_OF - timedelta(days=28)
    popular = [len({u for u, i, day, _ in world.events if recent <= day < AS_OF and world.category[i] == c}) for c in CATEGORIES]
    score = np.tile(np.array(popular, dtype=float), (len(known), 1))
    expected = roc_auc_score(label.ravel(), score.ravel())
    assert value(rows, "categories", "popularity", "auc") == pytest.approx(expected, abs=0.01)
    assert value(rows, "categories", "boosted_pairs", "ap") > 0
    assert float(rows.loc[("categories", MODEL, "ap", str(AS_OF), "all"), "n"]) == len(known)


def test_interest_metrics_equal_scipy_on_users_with_ten_events(world: World, rows: pd.DataFrame) -> None:
    lost = []
    for user in world.users:
        bought = [world.category[i] for i, _ in window(world, user, AS_OF)]
        if len(bought) >= 10:
            p = np.array([bought.count(c) / len(bought) for c in CATEGORIES])
            q = (1 - EPSILON) * world.shares[user] + EPSILON / len(CATEGORIES)
            lost.append(entropy(p, q, base=2))
    assert value(rows, "interests", MODEL, "kl_bits") == pytest.approx(
        np.mean(lost), abs=1e-6
    )  # shares are stored in single precision
    assert float(rows.loc[("interests", MODEL, "kl_bits", str(AS_OF), "all"), "n"]) == len(lost)
    assert value(rows, "interests", "all_history", "kl_bits") < value(rows, "interests", MODEL, "kl_bits")  # ours is random here


def test_value_metrics_equal_scikit_learn(world: World, rows: pd.DataFrame) -> None:
    spends = [sum(m for _, m in window(world, u, AS_OF)) for u in world.users]
    earlier = [AS_OF - timedelta(days=DAYS * k) for k in range(5, 1, -1)]
    learnt = [sum(m for _, m in window(world, u, cut)) for u in world.users for cut in earlier]
    threshold = np.median([s for s in learnt if s > 0])
    label = [0 if s == 0 else 2 if s >= threshold else 1 for s in spends]
    p = np.stack([world.p[u] for u in world.users])
    every = {"average": "macro", "labels": [0, 1, 2]}
    buys = [s > 0 for s in spends]
    assert value(rows, "value", MODEL, "auc") == pytest.approx(roc_auc_score(buys, 1 - p[:, 0]))
    assert value(rows, "value", MODEL, "ap_nonbuyers") == pytest.approx(average_precision_score([not b for b in buys], p[:, 0]))
    assert value(rows, "value", MODEL, "macro_f1") == pytest.approx(f1_score(label, p.argmax(1), **every))
    assert value(rows, "value", MODEL, "mse") == pytest.approx(np.mean((p @ [0, 20, 90] - spends) ** 2))
    assert value(rows, "value", "behaviour", "auc") == value(rows, "value", MODEL, "auc")  # the same p's, another spend
    assert value(rows, "value", "segments_3", "macro_f1") == pytest.approx(f1_score(label, p.argmax(1), **every))
    assert value(rows, "value", "segments_3", "auc") == pytest.approx(roc_auc_score(buys, p.argmax(1)))
    assert value(rows, "value", "behaviour", "mse") == pytest.approx(np.mean((1.0 - np.array(spends)) ** 2))
    cells = np.array([1 + n % 5 + 1 + 1 + n % 3 for n in range(len(world.users))])
    assert value(rows, "value", "rfm_sum", "auc") == pytest.approx(roc_auc_score(buys, cells))
    clusters = np.array([n % 3 for n in range(len(world.users))])
    assert value(rows, "value", "kmeans_3", "macro_f1") == pytest.approx(f1_score(label, clusters, **every))
    assert value(rows, "value", "oracle", "macro_f1") == 1.0
    plain = {"logit_12", "hgb_12", "rfm_cells", "bgnbd", "spend_112d", "recency", "population"}
    assert plain <= set(rows.loc["value"].index.get_level_values("method"))


def test_groups_have_thirty_users_and_their_own_values(world: World, rows: pd.DataFrame) -> None:
    days = [{d for u, _, d, _ in world.events if u == user and d < AS_OF} for user in world.users]
    more = {"history=more than 10 days"} if sum(len(d) > 10 for d in days) >= 30 else set()
    lately = sum(any((AS_OF - one).days <= 84 for one in d) for d in days)
    more |= {"visited=last 84 days"} if lately >= 30 else set()
    assert set(rows.index.get_level_values("user_group")) == {"all", "half=first", "interests=moved"} | more
    first = world.users[:35]
    spends = [sum(m for _, m in window(world, u, AS_OF)) > 0 for u in first]
    expected = roc_auc_score(spends, [1 - world.p[u][0] for u in first])
    assert value(rows, "value", MODEL, "auc", "half=first") == pytest.approx(expected)


def test_balance_sweeps_lambda_and_slots_on_lists_of_their_own(rows: pd.DataFrame) -> None:
    methods = set(rows.loc["balance"].index.get_level_values("method"))
    assert methods == {
        f"calibrated λ={w} slots={s}" for w, s in (("0", 0), ("0.5", 0), ("0", 1), ("0.5", 1), ("0.3", 0), ("0.3", 1), ("0.3", 2))
    } | {f"calibrated λ=0.3 slots=1 draw={d}" for d in ("share", "ucb")}
    strict, free = (value(rows, "balance", f"calibrated λ={w} slots=0", "kl_bits") for w in ("0.5", "0"))
    assert strict < free  # a list that is calibrated harder stands nearer to its target


def test_candidates_and_operating_points_are_told(rows: pd.DataFrame) -> None:
    """Every item is a candidate of every user here, so nothing is missed."""
    assert value(rows, "candidates", "all", "recall") == 1.0
    assert value(rows, "candidates", "history", "candidates") == value(rows, "candidates", "all", "candidates")
    points = set(rows.loc["operating_points"].index.get_level_values("method"))
    assert {m for m in points if m.startswith("frontier")} == {"frontier slots=0", f"frontier slots={SLOTS}"}
    assert 0.0 <= value(rows, "operating_points", "frontier slots=0", "hypervolume") <= 1.0
    strongest = max(float(m.removeprefix("λ=").split(" ")[0]) for m in points if "foretold" in m and "slots=0" in m)
    assert strongest > 0  # gold.balance foretold no loss at all
    named = f"λ={strongest:g} foretold ≤ 1% slots=0"
    plain, calibrated = (value(rows, "balance", f"calibrated λ={w:g} slots=0", "ndcg") for w in (0.0, strongest))
    assert value(rows, "operating_points", named, "ndcg_loss") == pytest.approx(1 - calibrated / plain)
    known = {"f1", "mrr", "conversion", "comes_back", "ild", "novelty_bits", "serendipity", "exposure_gini", "repeat_share"}
    assert known <= set(rows.loc["items"].index.get_level_values("metric"))


def test_differences_intervals_origins_and_seeds(rows: pd.DataFrame) -> None:
    plain = rows.reset_index()
    gap = value(rows, "items", "p_top_freq", "recall_minus_personal_decay")
    assert gap == pytest.approx(value(rows, "items", "p_top_freq", "recall") - value(rows, "items", "personal_decay", "recall"))
    inside = plain.dropna(subset=["ci_low"])
    assert (inside["ci_low"] <= inside["ci_high"]).all()
    later = plain[plain["origin"] == str(AS_OF + timedelta(days=DAYS))]
    assert set(later["task"]) == {"items", "interests", "value"}
    assert later["seeds"].isna().all(), "the model answers at its as_of only"
    assert set(plain.loc[plain["seeds"].notna(), "seeds"]) == {1}
    assert not plain["metric"].str.endswith("_seed_sd").any()


def test_several_seeds_are_averaged_with_their_spread_and_a_rerun_is_skipped(
    world: World, rows: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    module = job()
    assert run(module.JOB, module.run, arguments(world), Path("evaluate_models.py")) == 0
    assert "skipped" in capsys.readouterr().err
    assert run(module.JOB, module.run, arguments(world, "--evaluate.seeds=5"), Path("evaluate_models.py")) == 0
    several = table(world)
    assert float(several.loc[("value", MODEL, "auc", str(AS_OF), "all"), "seeds"]) == 2, "as many as there are"
    one, mean = value(rows, "value", MODEL, "auc"), value(several, "value", MODEL, "auc")
    spread = value(several, "value", MODEL, "auc_seed_sd")
    assert spread == pytest.approx(np.sqrt(2) * abs(mean - one)), "of two values, sd = difference ÷ √2 and the mean lies between"
    assert spread > 0
    assert value(several, "value", "logit_12", "auc") == pytest.approx(value(rows, "value", "logit_12", "auc"))


def test_the_other_route_stands_beside_the_published_one_and_their_mean_too(world: World, rows: pd.DataFrame) -> None:
    registry = Registry(f"{world.store.root}/models/encoder")
    bert = str(Path(world.store.root).parent / "bert")
    tower = TowerOptions("attention", width=8, layers=1, attention_heads=2, dropout=0.0, events=4)
    registry.publish(publish(registry.staging("rival"), bert, tower=tower), "rival")
    module = job()
    assert run(module.JOB, module.run, arguments(world), Path("evaluate_models.py")) == 0, "a new model to compare: not skipped"
    found = table(world)
    for task, metric in (("categories", "ap"), ("interests", "kl_bits"), ("value", "auc")):
        one, other, mean = (value(found, task, name, metric) for name in (MODEL, "tower", "ensemble"))
        assert one == pytest.approx(value(rows, task, MODEL, metric)) and one != other
        assert mean not in (one, other)
    assert value(found, "interests", "ensemble", "kl_bits") <= max(
        value(found, "interests", name, "kl_bits") for name in (MODEL, "tower")
    ), "a mean of distributions is never worse than the worst: the logarithm is concave"


def test_a_night_before_its_labels_ends_well_with_no_rows(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    module = job()
    early = arguments(world, f"--evaluate.labels_until={AS_OF - timedelta(days=30)}")
    assert run(module.JOB, module.run, early, Path("evaluate_models.py")) == 0
    assert f"set it to {AS_OF + timedelta(days=DAYS)} or later, or leave it out" in capsys.readouterr().err
    assert table(world).empty
    assert run(module.JOB, module.run, early, Path("evaluate_models.py")) == 0
    assert "skipped" in capsys.readouterr().err


def test_the_model_without_its_text_stands_beside_it_and_rows_can_be_paired(world: World, rows: pd.DataFrame) -> None:
    """The difference of two rows' resamples has the interval that the job gives for their difference."""
    alone = f"{MODEL} without text"
    for task, metric in (("categories", "ap"), ("interests", "kl_bits"), ("value", "auc")):
        assert value(rows, task, alone, metric) != value(rows, task, MODEL, metric)
    at = [rows.loc[("interests", m, "kl_bits", str(AS_OF), "all")].iloc[0] for m in (MODEL, "ema_dirichlet")]
    assert at[0]["resampled"] == at[1]["resampled"]
    gaps = np.array(at[0]["draws"]) - np.array(at[1]["draws"])
    told = rows.loc[("interests", MODEL, "kl_bits_minus_ema_dirichlet", str(AS_OF), "all")].iloc[0]
    assert np.quantile(gaps, (0.025, 0.975)) == pytest.approx([told["ci_low"], told["ci_high"]], abs=1e-5)
    assert rows.loc[("interests", MODEL, "js_bits", str(AS_OF), "all"), "draws"].iloc[0] is None


def test_users_that_a_model_did_not_train_on_are_judged_apart(world: World, rows: pd.DataFrame) -> None:
    registry, held = Registry(f"{world.store.root}/models/encoder"), HeldOut(0.5, 1)
    folder = publish(registry.staging("stranger"), str(Path(world.store.root).parent / "bert"))
    meta = json.loads((folder / META).read_text())
    meta["settings"] = {"training": {"held_out_users": held.share, "held_out_seed": held.seed}}
    (folder / META).write_text(json.dumps(meta))
    (folder / MANIFEST).write_text(json.dumps({"sha256": checksums(folder)}))
    registry.publish(folder, "stranger")
    module = job()
    assert run(module.JOB, module.run, arguments(world), Path("evaluate_models.py")) == 0
    apart, tested = table(world, "held_out_users"), table(world)
    assert not any(m.endswith(" unseen") for m in tested.index.get_level_values("method")), "it saw some of those users"
    assert value(tested, "value", MODEL, "auc") == value(rows, "value", MODEL, "auc")
    mine = np.array(world.users)[held.holds(world.users)]
    spends = [sum(m for _, m in window(world, u, AS_OF)) > 0 for u in mine]
    expected = roc_auc_score(spends, [1 - world.p[u][0] for u in mine])
    assert value(apart, "value", MODEL, "auc") == pytest.approx(expected)
    gap = value(apart, "value", f"{MODEL} unseen", f"auc_minus_{MODEL}")
    assert gap == pytest.approx(value(apart, "value", f"{MODEL} unseen", "auc") - value(apart, "value", MODEL, "auc"))
    assert set(apart.index.get_level_values("user_group")) == {"all"}


def test_an_older_night_is_judged_by_its_own_model_on_what_was_known_then(world: World, rows: pd.DataFrame) -> None:
    """Since then a model was promoted that orders its categories otherwise, and examples and item vectors were made anew."""
    spark, registry = world.store.spark, Registry(f"{world.store.root}/models/encoder")
    folder = publish(registry.staging("newer"), str(Path(world.store.root).parent / "bert"), categories=CATEGORIES[::-1])
    registry.publish(folder, "newer")
    registry.promote("newer")
    known, late = world.store.read("feature.examples"), day_number(AS_OF) - DAYS + 1
    past = known.select(*[F.lit(late).alias(c) if c == "cut_day" else c for c in known.columns]).toPandas()
    made = spark.createDataFrame(past, known.schema)
    for name in ("feature.examples", "feature.examples_validation"):
        world.store.replace(made, name, {}, fingerprint="since", job="test")
    module = job()
    assert run(module.JOB, module.run, arguments(world), Path("evaluate_models.py")) == 0
    found = table(world)
    for task, metric in (("interests", "kl_bits"), ("categories", "ap"), ("value", "auc")):
        for method in (MODEL, f"{MODEL} without text"):
            assert value(found, task, method, metric) == value(rows, task, method, metric), (task, method)
    plain = {"logit_12", "hgb_12"}
    assert plain <= set(rows.loc["value"].index.get_level_values("method")), "they have learnt from examples of that date"
    assert not plain & set(found.loc["value"].index.get_level_values("method")), "the examples' labels lie in the test window"
    assert {r["model_id"] for r in world.store.read("gold.evaluation").select("model_id").distinct().collect()} == {
        "model-under-test"
    }


@pytest.mark.slow
def test_the_learner_alone_needs_no_lists(spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A warehouse where nobody made lists: the other tasks have the figures that they have with lists."""
    made = build(spark, tmp_path / "warehouse")
    registry = Registry(f"{made.store.root}/models/encoder")
    registry.publish(publish(registry.staging("model-under-test"), str(tiny_bert(tmp_path / "bert"))), "model-under-test")
    registry.promote("model-under-test")
    (tmp_path / "settings.toml").write_text(TOML.format(warehouse=tmp_path / "warehouse"))
    for name in ("user_item_values", "recommendations", "balance", "exploration_response", "exploration_budgets"):
        shutil.rmtree(tmp_path / "warehouse" / "gold" / name)
    module = job()
    assert run(module.JOB, module.run, arguments(made), Path("evaluate_models.py")) != 0
    assert "gold.user_item_values" in capsys.readouterr().err
    assert run(module.JOB, module.run, arguments(made, "--evaluate.lists=false"), Path("evaluate_models.py")) == 0
    found = table(made)
    tasks = set(found.index.get_level_values("task"))
    assert {"interests", "categories", "value"} <= tasks and not tasks & {"balance", "candidates", "operating_points"}
    assert not any("λ" in m for m in found.loc["items"].index.get_level_values("method"))
