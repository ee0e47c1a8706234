"""Two texts as one input of a transformer: special tokens of the family, segments, and truncation that leaves some of both.

Every distinct text is tokenised once; a pair is put together from token ids, so that a million pairs of a few thousand users and
items cost no tokenising.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from equipoise.errors import ModelError

Ints = NDArray[np.int64]


class Frame(NamedTuple):
    """Token ids around two texts: before the first, between them, behind the second."""

    before: list[int]
    between: list[int]
    behind: list[int]

    @property
    def size(self) -> int:
        return len(self.before) + len(self.between) + len(self.behind)


def frame_of(tokenizer: Any) -> Frame:
    """What the tokenizer puts around a pair of texts; where it puts nothing between them (decoders), its separator, end token or
    a line break stands there."""
    probe = tokenizer("a", "a")
    ids, sides = probe["input_ids"], probe.sequence_ids(0)
    first, second = ([i for i, side in enumerate(sides) if side == which] for which in (0, 1))
    if not first or not second:
        raise ModelError("the tokenizer loses a text of a pair; expected both in its output; use another encoder")
    between = ids[first[-1] + 1 : second[0]]
    if not between:
        mark = next((i for i in (tokenizer.sep_token_id, tokenizer.eos_token_id) if i is not None), None)
        between = tokenizer("\n", add_special_tokens=False)["input_ids"] if mark is None else [mark]
    return Frame(ids[: first[0]], between, ids[second[-1] + 1 :])


def kept(first: Ints, second: Ints, room: int) -> tuple[Ints, Ints]:
    """Tokens kept of either text when both share `room` places: the longer gives first, so that half of it is each one's own.

    As Hugging Face's longest_first in one step; an odd place goes to the longer text, of equal ones to the second.
    """
    half = room // 2 + room % 2 * (second >= first)
    right = np.minimum(second, np.maximum(half, room - first))
    return np.minimum(first, room - right), right


class PairTexts:
    """User texts and item texts, tokenised; a pair is two places. Null counts as empty.

    Raises:
        ModelError: when `max_tokens` leaves no place for a token of each text.
    """

    def __init__(self, tokenizer: Any, users: Sequence[str | None], items: Sequence[str | None], max_tokens: int) -> None:
        self._frame = frame_of(tokenizer)
        self._room = max_tokens - self._frame.size
        if self._room < 2:
            raise ModelError(
                f"{max_tokens} tokens for a pair, of which {self._frame.size} are the tokenizer's own; expected room for a token "
                "of either text; give it more"
            )
        self._pad = int(tokenizer.pad_token_id or 0)
        (self._users, self._user_sizes), (self._items, self._item_sizes) = (
            _ids(tokenizer, t, self._room) for t in (users, items)
        )

    def lengths(self, user: Ints, item: Ints) -> Ints:
        """(n,) tokens of each pair, its special ones included."""
        left, right = kept(self._user_sizes[user], self._item_sizes[item], self._room)
        return left + right + self._frame.size

    def batch(self, user: Ints, item: Ints) -> tuple[Tensor, Tensor, Tensor]:
        """tokens, mask, segments (b, s) int64 of pairs, padded on the right; segments: 0 the user's part, 1 the item's."""
        left, right = kept(self._user_sizes[user], self._item_sizes[item], self._room)
        width = int((left + right).max()) + self._frame.size
        tokens = np.full((len(user), width), self._pad, np.int64)
        mask, segments = np.zeros((2, len(user), width), np.int64)
        before, between, behind = self._frame
        for i, (u, n, a, b) in enumerate(zip(user, item, left, right, strict=True)):
            begin = [*before, *self._users[u][:a], *between]
            row = [*begin, *self._items[n][:b], *behind]
            tokens[i, : len(row)] = row
            mask[i, : len(row)] = 1
            segments[i, len(begin) : len(row)] = 1
        return torch.from_numpy(tokens), torch.from_numpy(mask), torch.from_numpy(segments)


def _ids(tokenizer: Any, texts: Sequence[str | None], most: int) -> tuple[list[list[int]], Ints]:
    """The first `most` token ids of each text, and how many it has in all."""
    if not len(texts):
        return [], np.zeros(0, np.int64)
    found = tokenizer([text or "" for text in texts], add_special_tokens=False, verbose=False)["input_ids"]
    return [list(row[:most]) for row in found], np.array([len(row) for row in found], np.int64)
