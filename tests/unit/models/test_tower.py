"""The tower: nothing after an event is seen, padding counts for nothing, and its losses are the ones that are written down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from equipoise.errors import ModelError
from equipoise.models.items import ItemTable
from equipoise.models.tower import MEAN_HALF_LIFE_DAYS, TowerModel, behaviour_codes
from equipoise.tables.vocabulary import BEHAVIOURS, EVENT_TYPES
from tests.unit.models import tiny

KINDS = ("attention", "gru", "lstm")
EVENTS = ("items", "types", "ages")


@pytest.fixture(scope="module")
def encoder_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny.directory(tmp_path_factory.mktemp("tower") / "bert")


def shaken(encoder_path: str, kind: str = "attention") -> TowerModel:
    """A tower whose every weight matters."""
    model = tiny.tower(encoder_path, kind)
    with torch.random.fork_rng():
        torch.manual_seed(8)
        for parameter in (*model.tower.parameters(), *model.heads.parameters()):
            parameter.data += 0.3 * torch.randn_like(parameter)
    return model.eval()


def found(model: TowerModel, rows: dict[str, Tensor]) -> Any:
    with torch.no_grad():
        return model.tower(model.table(rows["items"]), rows["types"], rows["ages"])


def test_untrained_it_says_the_decayed_mean_of_the_items(encoder_path: str) -> None:
    model, rows = tiny.tower(encoder_path).eval(), tiny.batch(20)
    vectors = model.user_vectors(*(rows[n] for n in EVENTS)).detach()
    table = tiny.item_table()
    for i in range(20):
        number = int((rows["types"][i] > 0).sum())
        if not number:
            continue
        weight = 0.5 ** (rows["ages"][i, :number].double() / MEAN_HALF_LIFE_DAYS)
        mean = (weight.unsqueeze(1) * table(rows["items"][i, :number])).sum(0) / weight.sum() + 1e-3
        np.testing.assert_allclose(vectors[i], mean / mean.norm(), atol=1e-5)
    assert int((rows["types"].sum(1) == 0).sum()) > 0, "the rows include users without events"
    np.testing.assert_allclose(vectors.norm(dim=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_no_state_sees_a_later_event(encoder_path: str, kind: str) -> None:
    model, rows = shaken(encoder_path, kind), tiny.batch(12)
    rows["types"][:, :] = 8
    rows["items"].clamp_(min=1)
    before = found(model, rows).queries
    later = {**rows, "items": rows["items"].clone(), "types": rows["types"].clone()}
    later["items"][:, 3:] = 7
    later["types"][:, 3:] = 2
    after = found(model, later).queries
    np.testing.assert_allclose(after[:, :3], before[:, :3], atol=1e-6)
    assert float((after[:, 3:] - before[:, 3:]).abs().min(dim=1).values.max()) > 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_padding_and_company_change_nothing(encoder_path: str, kind: str) -> None:
    model, rows = shaken(encoder_path, kind), tiny.batch(16)
    together = model.user_vectors(*(rows[n] for n in EVENTS)).detach()
    for i in range(16):
        number = max(1, int((rows["types"][i] > 0).sum()))
        alone = model.user_vectors(*(rows[n][i : i + 1, :number] for n in EVENTS)).detach()
        np.testing.assert_allclose(alone[0], together[i], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_short_way_to_a_users_vector_is_the_long_one(encoder_path: str, kind: str) -> None:
    model, rows = shaken(encoder_path, kind), tiny.batch(30)
    rows["ages"][0] = torch.tensor([9e9, 5000.0, 4000.0, 3000.0, 2000.0, 1000.0])  # decayed far below single precision
    short = model.user_vectors(*(rows[n] for n in EVENTS)).detach()
    np.testing.assert_allclose(short, tiny.predict(model, rows).vector, atol=1e-5)


def test_order_type_and_time_matter(encoder_path: str) -> None:
    model, rows = shaken(encoder_path), tiny.batch(8)
    rows["types"][:, :] = 8
    rows["items"].clamp_(min=1)
    here = model.user_vectors(*(rows[n] for n in EVENTS)).detach()
    for other in (
        {**rows, "items": rows["items"].flip(1)},
        {**rows, "types": torch.full_like(rows["types"], 2)},
        {**rows, "ages": rows["ages"] * 5},
    ):
        assert float((model.user_vectors(*(other[n] for n in EVENTS)) - here).abs().max()) > 1e-3


def test_losses_against_a_plain_loop(encoder_path: str) -> None:
    """Softmax over the batch's distinct next items with the logQ correction, and over the kinds of behaviour."""
    model, rows = shaken(encoder_path), tiny.batch(40)
    state = found(model, rows)
    sums = model.tower.sums(state, rows["items"], rows["types"], model.table)
    table, codes = tiny.item_table(), behaviour_codes()
    targets = [
        (i, t)
        for i in range(40)
        for t in range(tiny.EVENTS - 1)
        if rows["types"][i, t + 1] > 0 and bool(table.known(rows["items"][i, t + 1]))
    ]
    items = [int(rows["items"][i, t + 1]) for i, t in targets]
    once = sorted(set(items))
    share = {item: items.count(item) / len(items) for item in once}
    scale = float(model.tower.log_scale.detach().exp())
    loss = 0.0
    for (i, t), item in zip(targets, items, strict=True):
        q = state.queries[i, t].double()
        logits = np.array([scale * float(q @ table(torch.tensor(o)).double()) - np.log(share[o]) for o in once])
        loss -= logits[once.index(item)] - np.log(np.exp(logits).sum())
    np.testing.assert_allclose(float(sums.next_item.detach()), loss, rtol=1e-4)
    assert int(sums.next_item_rows) == len(targets)

    behaviour, confusion = 0.0, np.zeros((3, 3), dtype=int)
    for i in range(40):
        for t in range(tiny.EVENTS - 1):
            code = codes[int(rows["types"][i, t + 1])]
            if code < 0:
                continue
            joined = torch.cat([state.states[i, t], table(rows["items"][i, t + 1])])
            answer = model.tower.behaviour(joined).detach().double()
            behaviour -= float(answer.log_softmax(0)[code])
            confusion[code, int(answer.argmax())] += 1
    np.testing.assert_allclose(float(sums.behaviour.detach()), behaviour, rtol=1e-4)
    assert sums.confusion.tolist() == confusion.tolist() and int(sums.behaviour_rows) == confusion.sum() > 0


def test_a_batch_without_anything_that_follows_costs_nothing_and_trains(encoder_path: str) -> None:
    model, rows = tiny.tower(encoder_path), tiny.batch(3)
    for name in EVENTS:
        rows[name] = rows[name][:, :1]
    rows["items"][0], rows["types"][0] = 29, 8  # an item without a vector
    sums = tiny.forward(model, rows).sequence
    assert (float(sums.next_item), float(sums.behaviour), int(sums.next_item_rows), int(sums.behaviour_rows)) == (0, 0, 0, 0)
    (sums.next_item + sums.behaviour).backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())


def test_gradients_reach_the_whole_tower_and_leave_the_encoder(encoder_path: str) -> None:
    model, rows = shaken(encoder_path), tiny.batch(30)
    outputs = tiny.forward(model, rows)
    (outputs.category_logits.square().mean() + outputs.sequence.next_item + outputs.sequence.behaviour).backward()
    assert {n for n, p in model.tower.named_parameters() if p.grad is None or not float(p.grad.abs().sum())} == set()
    assert all(p.grad is None for p in model.encoder.parameters())
    assert not any(n.startswith("encoder.") for n, _ in model.trainable())


def test_more_events_than_places_are_refused(encoder_path: str) -> None:
    model, rows = tiny.tower(encoder_path), tiny.batch(2)
    wide = [torch.cat([rows[n], rows[n]], dim=1) for n in EVENTS]
    with pytest.raises(ModelError, match=f"{2 * tiny.EVENTS} events, expected at most {tiny.EVENTS}"):
        model.user_vectors(*wide)


def test_without_item_vectors_it_says_so(encoder_path: str) -> None:
    model = tiny.tower(encoder_path)
    model._table = None
    with pytest.raises(ModelError, match="no item vectors"):
        tiny.predict(model, tiny.batch(2))
    with pytest.raises(ModelError, match="width 5, expected the encoder's 16"):
        model.look_up(tiny.item_table(5))


def test_every_event_type_is_one_kind_of_behaviour_or_none() -> None:
    codes = behaviour_codes()
    assert len(codes) == len(EVENT_TYPES) + 1 and codes[0] == -1
    for place, (_, types) in enumerate(BEHAVIOURS.items()):
        assert {EVENT_TYPES[i - 1] for i, c in enumerate(codes) if c == place} == set(types)
    assert {EVENT_TYPES[i - 1] for i, c in enumerate(codes) if c == -1 and i} == {"expose", "redeem"}


def test_the_item_table_finds_what_was_put_in(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    keys = draw.permutation(draw.integers(-(2**63), 2**63 - 1, 50))
    rows, vectors = draw.integers(0, 9, 50), draw.normal(size=(9, 4)).astype(np.float32)
    table = ItemTable.of(keys, rows, vectors)
    table.save(tmp_path / "items.safetensors")
    for t in (table, ItemTable.load(tmp_path / "items.safetensors")):
        np.testing.assert_array_equal(t(torch.from_numpy(keys).view(5, 10)), vectors[rows].reshape(5, 10, 4))
        stranger = torch.tensor([int(keys[0]) + 1, 0])
        assert t(stranger).abs().sum() == 0 and t.known(stranger).tolist() == [False, False]
        assert (len(t), t.width) == (50, 4)


def test_an_empty_or_wrong_item_table() -> None:
    empty = ItemTable(torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64), torch.empty(0, 4))
    assert empty(torch.tensor([[5, 6]])).shape == (1, 2, 4) and not bool(empty.known(torch.tensor([5])).any())
    with pytest.raises(ModelError, match="two items share a key"):
        ItemTable.of(np.array([4, 4]), np.array([0, 0]), np.zeros((1, 3), dtype=np.float32))
    with pytest.raises(ModelError, match="rows 0 to 3 of 2 vectors"):
        ItemTable.of(np.array([4, 5]), np.array([0, 3]), np.zeros((2, 3), dtype=np.float32))
    with pytest.raises(ModelError, match="does not load"):
        ItemTable.load("nowhere.safetensors")
