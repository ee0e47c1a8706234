"""Popular items for users who have too few candidates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from equipoise.recommend.block import POPULAR, Block, Candidates, Ints, Shelved


def filled(block: Block, wanted: Ints) -> Candidates:
    """The block's candidates, with the most popular shelved items added for users who have fewer than `wanted` (u,).

    Only items with a category in the user's gold.user_interests count, so that their reason can be looked up there; every
    category is, unless the catalogue has more of them than are kept per user. A user stays short only when the shelves
    of those categories hold too little.
    """
    held = np.bincount(block.candidates.user, minlength=len(block.users))
    short = np.flatnonzero(held < wanted)
    if not len(short):
        return block.candidates
    items = {s.item_id: s for shelf in block.shelves for s in shelf}
    popular_first = sorted(items.values(), key=lambda s: (-s.popularity, -s.visits, s.item_id))
    added: list[tuple[int, Shelved]] = []
    for user in short:
        has = set(block.candidates.item_id[block.candidates.user == user])
        known = block.interests.there[user]
        open_ = (s for s in popular_first if s.item_id not in has and known[s.categories].any())
        added += [(int(user), s) for _, s in zip(range(int(wanted[user] - held[user])), open_, strict=False)]
    return _with(block.candidates, added)


def _with(candidates: Candidates, added: list[tuple[int, Shelved]]) -> Candidates:
    number = len(candidates.user)
    none = np.zeros(len(added), dtype=np.int64)
    lengths = [len(s.categories) for _, s in added]
    return replace(
        candidates,
        user=np.append(candidates.user, np.array([u for u, _ in added], dtype=np.int64)),
        item_id=np.append(candidates.item_id, np.array([s.item_id for _, s in added], dtype=object)),
        value=np.append(candidates.value, np.zeros(len(added))),
        cosine=np.append(candidates.cosine, np.full(len(added), np.nan)),
        source=np.append(candidates.source, none + POPULAR),
        known=np.append(candidates.known, none),
        bought=np.append(candidates.bought, none),
        looked=np.append(candidates.looked, none),
        of_row=np.append(candidates.of_row, np.repeat(number + np.arange(len(added)), lengths)),
        category_of_row=np.concatenate([candidates.category_of_row, *[s.categories for _, s in added]]),
        weight_of_row=np.concatenate([candidates.weight_of_row, *[s.weights for _, s in added]]),
        share_of_row=np.concatenate([candidates.share_of_row, *[s.shares for _, s in added]]),
    )
