"""Laws of the batch plan, over random lengths."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.inference.batching import distinct, pad, plan_batches

LENGTHS = st.lists(st.integers(min_value=0, max_value=200), max_size=80)


@given(LENGTHS, st.integers(min_value=1, max_value=500))
def test_every_text_is_in_exactly_one_batch(lengths: list[int], budget: int) -> None:
    batches = plan_batches(lengths, budget).batches()
    assert sorted(i for batch in batches for i in batch.tolist()) == list(range(len(lengths)))
    assert all(len(batch) for batch in batches)


@given(LENGTHS, st.integers(min_value=1, max_value=500))
def test_padded_tokens_keep_the_budget_but_for_single_long_texts(lengths: list[int], budget: int) -> None:
    for batch in plan_batches(lengths, budget).batches():
        padded = len(batch) * max(1, *(lengths[i] for i in batch), 1)
        assert padded <= budget or len(batch) == 1


@given(LENGTHS, st.integers(min_value=1, max_value=500))
def test_no_batch_could_take_the_next_text(lengths: list[int], budget: int) -> None:
    batches = plan_batches(lengths, budget).batches()
    for batch, following in itertools.pairwise(batches):
        width = max(1, max(lengths[i] for i in batch))
        assert (len(batch) + 1) * width > budget, f"{batch} leaves room for {following[0]}"


@given(LENGTHS, st.integers(min_value=1, max_value=500))
def test_restored_undoes_the_order(lengths: list[int], budget: int) -> None:
    plan = plan_batches(lengths, budget)
    values = np.arange(len(lengths), dtype=np.float32).reshape(-1, 1)
    ran = np.concatenate([values[batch] for batch in plan.batches()]) if lengths else values
    assert plan.restored(ran).tolist() == values.tolist()


def test_ties_keep_the_order_given() -> None:
    assert [b.tolist() for b in plan_batches([3, 5, 3, 5, 3], 10).batches()] == [[1, 3], [0, 2, 4]]
    assert plan_batches([7, 4] * 100, 1000).order.tolist() == [*range(0, 200, 2), *range(1, 200, 2)]


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="tokens_per_batch = 0; expected at least 1"):
        plan_batches([1], 0)


def test_padding_by_hand() -> None:
    tokens, mask = pad([[7, 8, 9], [4]], pad_id=1)
    assert tokens.tolist() == [[7, 8, 9], [4, 1, 1]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


@given(st.lists(st.sampled_from(["", "a", "b", "ä", "milk"]), max_size=30))
def test_distinct_texts_rebuild_what_was_given(texts: list[str]) -> None:
    once, index = distinct(texts)
    assert len(once) == len(set(once)) == len(set(texts))
    assert [once[i] for i in index] == texts
