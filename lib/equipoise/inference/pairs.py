"""Pairs of user and item → logits, in batches of near-equal cost, sorted by length. Knows no Spark.

Notation: n pairs, b pairs of one forward pass, F features.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from equipoise.inference.batching import plan_batches
from equipoise.models.cross import PairModel
from equipoise.models.pair_text import PairTexts

Ints = NDArray[np.int64]

TOKENS_PER_BATCH = 16_384


def pair_logits(
    model: PairModel,
    texts: PairTexts,
    user: Ints,
    item: Ints,
    features: NDArray[np.float32],
    *,
    tokens_per_batch: int = TOKENS_PER_BATCH,
) -> NDArray[np.float32]:
    """(n,) logits in the order of the pairs; which pairs are asked together changes nothing but the last bits.

    The model runs where it is, in the precision that its encoder is set to, in evaluation mode; it is left in that mode.

    Args:
        user, item: (n,) places of the texts in `texts`.
        features: (n, F).
    """
    model.eval()
    device = next(model.parameters()).device
    plan = plan_batches(texts.lengths(user, item), tokens_per_batch)
    found = [np.zeros(0, np.float32)]
    with torch.inference_mode():
        for batch in plan.batches():
            fed = [t.to(device) for t in (*texts.batch(user[batch], item[batch]), torch.from_numpy(features[batch]))]
            found.append(model(*fed).float().cpu().numpy())
    return plan.restored(np.concatenate(found))
