"""Models scored on the same examples: who is paired with whom, which weights of CURRENT count, and what becomes of CURRENT."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from equipoise.errors import GateError
from equipoise.models import BehaviourModel, load_package
from equipoise.models.losses import row_losses
from equipoise.stream import ExampleStream
from equipoise.training import judge
from equipoise.training.judge import COLUMNS, Gate, GateOptions, Scored, answers, score
from equipoise.training.registry import Registry
from tests.unit.models import tiny
from tests.unit.training import made
from tests.unit.training.packages import DATES, package
from tests.unit.training.recipes import WIDTHS, example_files

SIZES = [240, 90, 30]
OPTIONS = GateOptions(
    seed=1,
    gate_metric="category",
    gate_tolerance_bits=0.0,
    gate_examples=2048,
    category_weight=1.0,
    visit_weight=0.1,
    value_weight=1.0,
    device="cpu",
    precision="float32",
)
EARLIER = {"as_of": "2017-10-09", "fitted_until": "2017-09-11", "validated_from": "2017-09-11", "seen_until": "2017-10-09"}
LATER = {"as_of": "2018-01-01", "fitted_until": "2017-12-04", "validated_from": "2017-12-04", "seen_until": "2018-01-01"}


def spoilt(net: BehaviourModel) -> None:
    """Shares tilted without reason."""
    net.heads.category.pairs.bias[:, 0].add_(torch.linspace(-1.5, 1.5, tiny.CATEGORIES))


@pytest.fixture(scope="module")
def encoder_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny.directory(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return example_files(tmp_path_factory.mktemp("examples") / "validation", SIZES, seed=900)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "encoder")


def gate(registry: Registry, **options: Any) -> Gate:
    return Gate(registry, replace(OPTIONS, **options), lambda _: None)


def scored(models: dict[str, BehaviourModel], files: list[str], seed: int, **options: Any) -> tuple[Scored, list[bytes]]:
    """The scores, and the users in the order of the stream."""
    users: list[bytes] = []

    def watched(stream: ExampleStream) -> Any:
        for batch in stream:
            users.extend(bytes(u) for u in batch["user_id"].numpy())
            yield batch

    with ExampleStream(
        files, rank=0, world_size=1, batch_size=64, seed=seed, epoch=0, widths=WIDTHS, columns=COLUMNS, drop_last=False
    ) as stream:
        chosen = replace(OPTIONS, **options)
        return score({n: answers(m, chosen) for n, m in models.items()}, watched(stream), chosen), users


def test_losses_follow_the_user_whatever_the_files_and_their_order(encoder_path: str, files: list[str], tmp_path: Path) -> None:
    """Against each user's loss computed from the rows that the files hold; other orders, other shards, two models at once."""
    plain, other = tiny.model(encoder_path), tiny.model(encoder_path)
    with torch.no_grad():
        spoilt(other)
    shards = [str(tmp_path / f"{name}.parquet") for name in "zyxw"]
    rows = pq.read_table(files[0]), pq.read_table(files[1]), pq.read_table(files[2])
    for shard, table in zip(shards, (rows[1], rows[0].slice(100), rows[2], rows[0].slice(0, 100)), strict=True):
        pq.write_table(table, shard)
    truth: dict[bytes, dict[str, float]] = {}
    for place, size in enumerate(SIZES):
        batch = made.learnable(size, 900 + place)
        for name, net in (("a", plain), ("b", other)):
            found = row_losses(tiny.predict(net.eval(), batch), batch["label_counts"], batch["label_value"])
            for i, loss in enumerate(found.category.tolist()):
                truth.setdefault((1000 * place + i).to_bytes(16, "little"), {})[name] = loss / math.log(2)
    for some, seed in ((files, 1), (files, 7), (shards, 1)):
        result, users = scored({"a": plain, "b": other}, some, seed)
        assert len(set(users)) == sum(SIZES) == int(result.unit.max()) + 1
        for name in "ab":
            np.testing.assert_allclose(result.losses[name].category, [truth[u][name] for u in users], rtol=1e-4, atol=1e-5)
        assert not np.allclose(result.losses["a"].category, result.losses["b"].category, atol=0.05)


def test_at_most_so_many_examples_the_first_in_the_seeds_order(encoder_path: str, files: list[str]) -> None:
    net = tiny.model(encoder_path)
    whole, few = scored({"": net}, files, 1)[0], scored({"": net}, files, 1, gate_examples=100)[0]
    np.testing.assert_array_equal(few.losses[""].value, whole.losses[""].value[:100])
    assert len(few.unit) == len(few.known) == 100


def test_the_mean_of_the_weighted_sum_is_the_loss_that_training_reports(encoder_path: str, files: list[str]) -> None:
    result = scored({"": tiny.model(encoder_path)}, files, 1)[0]
    mine = result.losses[""]
    whole = mine.category[result.known].mean() + 0.1 * mine.visit.mean() + mine.value.mean()
    np.testing.assert_allclose(mine.loss.mean(), whole)
    assert 0 < result.known.sum() < len(result.known)


def test_a_clearly_worse_candidate_is_refused_and_current_stays(encoder_path: str, files: list[str], registry: Registry) -> None:
    package(registry.path("old"), encoder_path, "old")
    package(registry.path("worse"), encoder_path, "worse", spoilt)
    registry.promote("old")
    with pytest.raises(
        GateError, match=r"worse is published but not promoted: .*CURRENT old .*difference \+1\.\d+ \[\+0\.8"
    ) as e:
        gate(registry).promote("worse", files)
    assert e.value.exit_code == 3
    assert registry.current() == "old"
    gate(registry, gate_metric="value").promote("worse", files)  # its value classes are as good
    assert registry.current() == "worse"
    assert registry.history()[-1].gate["current"] == "old"


def test_an_equal_candidate_and_a_first_one_are_promoted(encoder_path: str, files: list[str], registry: Registry) -> None:
    for model_id, current in (("first", None), ("same", "first")):
        package(registry.path(model_id), encoder_path, model_id)
        verdict = gate(registry).verdict(model_id, files)
        assert (verdict.current, verdict.not_compared) == (current, "" if current else "there is none yet")
        gate(registry).promote(model_id, files)
        assert registry.current() == model_id
    assert [c.difference_bits for c in verdict.comparisons] == [0.0] * 4


@pytest.mark.parametrize(
    ("dates", "published_counts", "fair"), [(EARLIER, True, True), (DATES, False, True), (LATER, False, False)]
)
def test_current_answers_with_weights_that_have_not_seen_the_labels(
    encoder_path: str, files: list[str], registry: Registry, dates: dict[str, str], published_counts: bool, fair: bool
) -> None:
    """CURRENT's freshening spoilt it, which must show exactly where its published weights count."""
    package(registry.path("old"), encoder_path, "old", freshened=spoilt, dates=dates)
    package(registry.path("new"), encoder_path, "new")
    registry.promote("old")
    (found,) = gate(registry).verdict("new", files).deciding
    assert (found.difference_bits < -0.05) == published_counts
    assert (found.difference_bits == 0.0) == (not published_counts)
    assert found.fair == fair


def test_the_candidate_is_judged_as_it_was_before_it_saw_the_labels(
    encoder_path: str, files: list[str], registry: Registry
) -> None:
    package(registry.path("old"), encoder_path, "old")
    package(registry.path("new"), encoder_path, "new", freshened=spoilt)
    registry.promote("old")
    assert gate(registry).verdict("new", files).deciding[0].difference_bits == 0.0


def test_figures_beside_a_current_that_has_seen_the_labels_refuse_nothing(
    encoder_path: str, files: list[str], registry: Registry
) -> None:
    package(registry.path("old"), encoder_path, "old", dates=LATER)
    package(registry.path("worse"), encoder_path, "worse", spoilt)
    registry.promote("old")
    verdict = gate(registry).verdict("worse", files)
    assert verdict.deciding[0].low_bits > 0
    gate(registry).promote("worse", files)


@pytest.mark.parametrize(
    ("other", "text"),
    [
        ({"categories": ["a", "b", "c", "d", "z"]}, "its categories differ: 1 that are gone and 1 that are new, such as 'e'"),
        ({"feature_names": ["f1", "f2", "f3", "g4"]}, "its features differ"),
        ({"max_tokens": 16}, r"its encoder.max_tokens differ"),
        ({"dates": {}}, "does not say which labels it has seen"),
    ],
)
def test_a_current_that_cannot_be_compared_is_said_and_does_not_block(
    encoder_path: str, files: list[str], registry: Registry, other: dict[str, Any], text: str
) -> None:
    package(registry.path("old"), encoder_path, "old", **other)
    package(registry.path("new"), encoder_path, "new", spoilt)
    registry.promote("old")
    verdict = gate(registry).verdict("new", files)
    assert text in verdict.not_compared
    assert verdict.lines() == [f"gate: not compared with CURRENT: {verdict.not_compared}"]
    gate(registry).promote("new", files)
    assert registry.history()[-1].gate["not_compared"] == verdict.not_compared


def test_other_value_classes_matter_where_values_decide(encoder_path: str, files: list[str], registry: Registry) -> None:
    package(registry.path("old"), encoder_path, "old", settings={"segments": {"ladder": "spend"}})
    package(registry.path("new"), encoder_path, "new", settings={"segments": {"ladder": "events"}})
    registry.promote("old")
    assert gate(registry).verdict("new", files).not_compared == ""
    assert "its value classes differ" in gate(registry, gate_metric="value").verdict("new", files).not_compared


def damaged(folder: Path) -> None:
    (folder / "heads.safetensors").write_bytes(b"x")


def gone(folder: Path) -> None:
    shutil.rmtree(folder)


@pytest.mark.parametrize("harm", [damaged, gone])
def test_a_current_that_is_damaged_or_gone_is_replaced(
    encoder_path: str, files: list[str], registry: Registry, harm: Callable[[Path], None]
) -> None:
    for model_id in ("old", "new"):
        package(registry.path(model_id), encoder_path, model_id)
    registry.promote("old")
    harm(registry.path("old"))
    gate(registry).promote("new", files)
    assert registry.current() == "new"
    assert "it cannot be read" in registry.history()[-1].gate["not_compared"]


def test_a_verdict_in_the_package_stands_until_current_moves(
    encoder_path: str, files: list[str], registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(registry.path("old"), encoder_path, "old")
    registry.promote("old")
    package(registry.path("worse"), encoder_path, "worse", spoilt)
    package(registry.path("judged"), encoder_path, "judged", spoilt, gate=gate(registry).verdict("worse", files).as_dict())
    with monkeypatch.context() as patch:
        patch.setattr(judge, "score", lambda *_: pytest.fail("scored again"))
        with pytest.raises(GateError, match="judged is published but not promoted"):
            gate(registry).promote("judged", files)
        gate(registry, gate_tolerance_bits=5.0).promote("judged", files)
    registry.back()
    registry.choose("worse", "to compare with")
    verdict = gate(registry).verdict("judged", files)
    assert (verdict.current, verdict.deciding[0].difference_bits) == ("worse", 0.0)


def test_a_package_of_today_loads_as_published(encoder_path: str, tmp_path: Path) -> None:
    """What is held back takes no part in predictions."""
    folder = package(tmp_path / "m", encoder_path, "m", freshened=spoilt)
    bias = load_package(folder).model.heads.category.pairs.bias
    assert float(bias[-1, 0]) == 1.5
