from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck

from equipoise.models.contrast import KnownPairs, contrast_loss, negatives, pull_loss, word_overlap

WORDS = torch.arange(5, 50)


def _unit(rows: int, seed: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(rows, 6, generator=draw, dtype=torch.float64), dim=1)


def test_known_pairs_have_no_order() -> None:
    known = KnownPairs(torch.tensor([[3, 1], [1, 3], [0, 2]]), texts=5)
    left, right = torch.tensor([1, 3, 2, 0, 4]), torch.tensor([3, 1, 0, 1, 4])
    assert known(left, right).tolist() == [True, True, True, False, False]
    assert KnownPairs(torch.zeros(0, 2, dtype=torch.int64), 5)(left, right).tolist() == [False] * 5


def test_overlap_counts_words_once_and_no_specials() -> None:
    """{5, 6, 7} and {6, 7, 8}: 2 of 4; a word said twice is one, 2 and 3 are specials, 0 is padding."""
    one = torch.tensor([[2, 5, 6, 7, 3, 0], [2, 3, 0, 0, 0, 0]])
    two = torch.tensor([[2, 6, 7, 8, 6, 3]])
    assert word_overlap(one, two, WORDS).tolist() == [[0.5], [0.0]]


def test_negatives_leave_out_duplicates_and_what_is_bought_too() -> None:
    tokens = torch.tensor(
        [
            [10, 11, 12, 13, 14],  # 0
            [20, 21, 22, 23, 24],  # 1
            [20, 21, 22, 23, 24],  # 2: the words of 1
            [30, 31, 32, 33, 34],  # 3
            [40, 41, 42, 43, 44],  # 4
            [10, 11, 12, 13, 14],  # 5: the words of 0
        ]
    )
    known = KnownPairs(torch.tensor([[0, 1], [0, 3], [3, 4]]), texts=6)
    anchors, partners = torch.tensor([0, 3, 4, 1]), torch.tensor([1, 4, 2, 5])
    allowed = negatives(anchors, partners, known, tokens, WORDS)
    assert allowed.tolist() == [
        [False, True, False, False],  # 0 with 1: 2 is 1 in other words, 5 is 0 itself
        [True, False, True, True],  # 3 with 4
        [False, False, False, True],  # 4 with 2: 1 is 2 in other words, and 4 is the anchor
        [False, True, False, False],  # 1 with 5: 1 itself, and 2 in its words
    ]


def test_contrast_by_hand() -> None:
    """Two pairs at right angles, temperature ½, shares ¼ and ¾: −log of e² / ¼ over itself and e⁰ / ¾."""
    vectors = torch.eye(2, dtype=torch.float64)
    allowed = torch.tensor([[False, True], [False, False]])
    found = contrast_loss(vectors, vectors, allowed, torch.tensor([0.25, 0.75], dtype=torch.float64).log(), 0.5)
    first = -math.log(4 * math.e**2 / (4 * math.e**2 + 4 / 3))
    assert found.tolist() == pytest.approx([first, 0.0])  # the second has nothing to stand against


def test_popular_partners_are_not_pushed_away() -> None:
    """Drawn as often as its share, a partner loses by logQ just what the draw gives it: the gradient knows the scores alone."""
    a = _unit(3, 1)
    everything = torch.ones(3, 3, dtype=torch.bool)
    even = contrast_loss(a, a, everything, torch.full((3,), 1 / 3, dtype=torch.float64).log(), 0.1)
    plain = contrast_loss(a, a, everything, torch.zeros(3, dtype=torch.float64), 0.1)
    assert torch.allclose(even, plain)


@pytest.mark.parametrize("side", [0, 1])
def test_gradients_of_the_contrast(side: int) -> None:
    vectors = [_unit(5, 2), _unit(5, 3)]
    allowed = torch.rand(5, 5, generator=torch.Generator().manual_seed(4)) < 0.7
    share = torch.tensor([0.1, 0.2, 0.3, 0.2, 0.2], dtype=torch.float64).log()

    def loss(moved: torch.Tensor) -> torch.Tensor:
        both = [*vectors]
        both[side] = moved
        return contrast_loss(both[0], both[1], allowed, share, 0.2)

    assert gradcheck(loss, vectors[side].clone().requires_grad_(True))


def test_the_pull_and_its_gradient() -> None:
    before = _unit(4, 5)
    assert pull_loss(before, before).tolist() == pytest.approx([0.0] * 4)
    assert pull_loss(-before, before).tolist() == pytest.approx([2.0] * 4)
    assert gradcheck(lambda v: pull_loss(v, before), _unit(4, 6).requires_grad_(True))
