"""Texts → unit vectors, each distinct text once, in batches of near-equal cost. Knows no heads and no Spark.

Notation: n rows, u distinct texts, b rows of one forward pass, s its width in tokens, d entries of a vector.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from equipoise.inference.batching import distinct, pad, plan_batches
from equipoise.inference.hardware import halving
from equipoise.models.encoder import TextEncoder, load_backbone, load_tokenizer, pooling_of
from equipoise.models.smaller import Smaller, in_int8, smaller


class TextVectors:
    """An encoder with its tokenizer on a device; what it answers does not depend on which texts are asked together."""

    def __init__(self, encoder: TextEncoder, tokenizer: Any, *, device: torch.device, tokens_per_batch: int) -> None:
        self._encoder, self._tokenizer = encoder, tokenizer
        self._device, self._tokens_per_batch = device, tokens_per_batch

    @classmethod
    def pretrained(
        cls, path: str | Path, *, device: torch.device, bfloat16: bool, tokens_per_batch: int, less: Smaller | None = None
    ) -> TextVectors:
        """Those of a local Hugging Face directory, as it is, or made smaller.

        Raises:
            ModelError: when the directory is incomplete.
        """
        encoder = TextEncoder(load_backbone(path), pooling_of(path)).requires_grad_(False).eval().to(device)
        encoder = smaller(encoder, less or Smaller())
        encoder.autocast = torch.bfloat16 if bfloat16 and not in_int8(encoder) else None
        return cls(encoder, load_tokenizer(path), device=device, tokens_per_batch=tokens_per_batch)

    def encode(self, texts: list[str], max_tokens: int) -> NDArray[np.float32]:
        """Unit vectors (n, d), in the order of `texts`; null counts as empty."""
        once, index = distinct([text or "" for text in texts])
        rows = self._tokens(once, max_tokens)
        found, self._tokens_per_batch = halving(lambda tokens: self._planned(rows, tokens), self._tokens_per_batch)
        answers: NDArray[np.float32] = found[index]
        return answers

    def _planned(self, rows: list[list[int]], tokens_per_batch: int) -> NDArray[np.float32]:
        """Unit vectors (u, d), in the order of `rows`."""
        plan = plan_batches([len(row) for row in rows], tokens_per_batch)
        found = [self._encode([rows[i] for i in batch]) for batch in plan.batches()]
        return plan.restored(np.concatenate(found) if found else np.zeros((0, self._encoder.width), dtype=np.float32))

    def _tokens(self, texts: list[str], max_tokens: int) -> list[list[int]]:
        """Token ids per text, never empty: where a tokenizer gives nothing for an empty text, its end token stands in."""
        if not texts:
            return []
        tokenizer = self._tokenizer
        rows: list[list[int]] = tokenizer(texts, truncation=True, max_length=max_tokens)["input_ids"]
        blank = next((i for i in (tokenizer.eos_token_id, tokenizer.pad_token_id) if i is not None), 0)
        return [row or [blank] for row in rows]

    def _encode(self, rows: list[list[int]]) -> NDArray[np.float32]:
        """Unit vectors (b, d) of one batch."""
        tokens, mask = pad(rows, self._tokenizer.pad_token_id or 0)
        with torch.inference_mode():
            vectors = self._encoder(torch.from_numpy(tokens).to(self._device), torch.from_numpy(mask).to(self._device))
            return np.asarray(vectors.float().cpu().numpy())
