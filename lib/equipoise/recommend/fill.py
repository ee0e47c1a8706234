"""Popular items for users who have too few candidates."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from equipoise.recommend.block import POPULAR, Block, Candidates, Ints, Shelved


def filled(block: Block, wanted: Ints, most_per_brand: int = 0) -> Candidates:
    """The block's candidates, with the most popular shelved items added for users who have fewer than `wanted` (u,).

    Only items with a category in the user's gold.user_interests count, so that their reason can be looked up there; every
    category is, unless the catalogue has more of them than are kept per user. A user stays short only when the shelves
    of those categories hold too little. With at most `most_per_brand` items of a brand (0: any number), what is beyond that
    does not count.
    """
    held = _usable(block, most_per_brand)
    short = np.flatnonzero(held < wanted)
    if not len(short):
        return block.candidates
    items = {s.item_id: s for shelf in block.shelves for s in shelf}
    popular_first = sorted(items.values(), key=lambda s: (-s.popularity, -s.visits, s.item_id))
    added: list[tuple[int, Shelved]] = []
    for user in short:
        mine = block.candidates.user == user
        has, known = set(block.candidates.item_id[mine]), block.interests.there[user]
        room = Counter({b: most_per_brand - n for b, n in Counter(block.candidates.brand[mine].tolist()).items()})
        left = int(wanted[user] - held[user])
        for s in popular_first:
            if not left:
                break
            bounded = most_per_brand > 0 and s.brand >= 0
            if s.item_id in has or not known[s.categories].any() or (bounded and room.setdefault(s.brand, most_per_brand) <= 0):
                continue
            room[s.brand] -= 1
            added.append((int(user), s))
            left -= 1
    return _with(block.candidates, added)


def _usable(block: Block, most_per_brand: int) -> Ints:
    """(u,) how many candidates can stand together in a list."""
    user, brand = block.candidates.user, block.candidates.brand
    if not most_per_brand:
        return np.bincount(user, minlength=len(block.users))
    free = brand < 0
    whose, counts = np.unique(np.stack([user[~free], brand[~free]]), axis=1, return_counts=True)
    bounded = np.bincount(whose[0], weights=np.minimum(counts, most_per_brand), minlength=len(block.users)).astype(np.int64)
    return np.asarray(bounded + np.bincount(user[free], minlength=len(block.users)))


def _with(candidates: Candidates, added: list[tuple[int, Shelved]]) -> Candidates:
    number = len(candidates.user)
    none = np.zeros(len(added), dtype=np.int64)
    lengths = [len(s.categories) for _, s in added]
    return replace(
        candidates,
        user=np.append(candidates.user, np.array([u for u, _ in added], dtype=np.int64)),
        item_id=np.append(candidates.item_id, np.array([s.item_id for _, s in added], dtype=object)),
        brand=np.append(candidates.brand, np.array([s.brand for _, s in added], dtype=np.int64)),
        value=np.append(candidates.value, np.zeros(len(added))),
        cosine=np.append(candidates.cosine, np.full(len(added), np.nan)),
        source=np.append(candidates.source, none + POPULAR),
        neighbour=np.append(candidates.neighbour, np.full(len(added), None, dtype=object)),
        similarity=np.append(candidates.similarity, np.full(len(added), np.nan)),
        known=np.append(candidates.known, none),
        bought=np.append(candidates.bought, none),
        looked=np.append(candidates.looked, none),
        of_row=np.append(candidates.of_row, np.repeat(number + np.arange(len(added)), lengths)),
        category_of_row=np.concatenate([candidates.category_of_row, *[s.categories for _, s in added]]),
        weight_of_row=np.concatenate([candidates.weight_of_row, *[s.weights for _, s in added]]),
        share_of_row=np.concatenate([candidates.share_of_row, *[s.shares for _, s in added]]),
    )
