"""A published text-route model behind the interface of `inference.interface`; knows nothing of Spark.

Notation: n rows, u distinct texts, b rows of one forward pass, s its width in tokens, d entries of a vector, C categories.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from equipoise.errors import ModelError
from equipoise.inference.arrow import as_lists, feature_matrix, prior_matrix
from equipoise.inference.batching import distinct, pad, plan_batches
from equipoise.inference.hardware import check_device, use_bfloat16
from equipoise.inference.interface import PREDICTION, Device, Switch
from equipoise.models.package import LoadedPackage, load_package


class Predictor:
    """A loaded model; what it answers does not depend on which rows are asked together (within 1e-5 in float32)."""

    def __init__(self, package: LoadedPackage, *, device: torch.device, bfloat16: bool, tokens_per_batch: int) -> None:
        self._package = package
        self._model = package.model.eval()
        self._model.encoder.use_bfloat16 = bfloat16  # the heads stay in float32
        self._device = device
        self._tokens_per_batch = tokens_per_batch

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        device: Device = "cpu",
        threads: int = 1,
        bfloat16: Switch = "auto",
        tokens_per_batch: int = 4096,
    ) -> Self:
        """The model published at `path`. Sets the number of torch threads of this process.

        Raises:
            ModelError: when the package is incomplete or damaged, or the machine lacks the device.
        """
        torch.set_num_threads(threads)
        place = check_device(device)
        package = load_package(path, device=device)
        return cls(package, device=place, bfloat16=use_bfloat16(bfloat16, device), tokens_per_batch=tokens_per_batch)

    @property
    def model_id(self) -> str:
        return self._package.meta.model_id

    @property
    def categories(self) -> tuple[str, ...]:
        return tuple(self._package.meta.categories)

    def predict(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """FEATURES_IN rows → PREDICTION rows, in the same order; distinct behaviour texts go through the encoder once.

        Raises:
            ContractError: when a prior or the features of a row do not have the form that FEATURES_IN states.
        """
        meta = self._package.meta
        features = feature_matrix(batch.column("features"), meta.feature_names)
        prior = prior_matrix(batch.column("prior_categories"), batch.column("prior_weights"), meta.categories)
        vectors = self.encode(batch.column("behaviour_text").to_pylist(), meta.max_tokens)
        categories, values = self._heads(vectors, prior, features)
        spend = values @ np.asarray(meta.class_mean_spend, dtype=np.float64)
        return pa.RecordBatch.from_arrays(
            [
                as_lists(vectors),
                as_lists(categories),
                *(pa.array(values[:, i]) for i in range(values.shape[1])),
                pa.array(spend) if meta.has_amounts else pa.nulls(len(spend), pa.float64()),
            ],
            schema=PREDICTION,
        )

    def encode(self, texts: list[str], max_tokens: int | None = None) -> NDArray[np.float32]:
        """Unit vectors (n, d), in the order of `texts`; `max_tokens` None: what the model was trained for with item texts."""
        once, index = distinct([text or "" for text in texts])
        rows = self._tokens(once, max_tokens or self._package.meta.max_item_tokens)
        plan = plan_batches([len(row) for row in rows], self._tokens_per_batch)
        found = [self._encode([rows[i] for i in batch]) for batch in plan.batches()]
        stacked = np.concatenate(found) if found else np.zeros((0, self._model.encoder.width), dtype=np.float32)
        restored: NDArray[np.float32] = plan.restored(stacked)[index]
        return restored

    def _tokens(self, texts: list[str], max_tokens: int) -> list[list[int]]:
        """Token ids per text, never empty: where a tokenizer gives nothing for an empty text, its end token stands in."""
        if not texts:
            return []
        tokenizer = self._package.tokenizer
        rows: list[list[int]] = tokenizer(texts, truncation=True, max_length=max_tokens)["input_ids"]
        blank = next((i for i in (tokenizer.eos_token_id, tokenizer.pad_token_id) if i is not None), 0)
        return [row or [blank] for row in rows]

    def _encode(self, rows: list[list[int]]) -> NDArray[np.float32]:
        """Unit vectors (b, d) of one batch."""
        tokens, mask = pad(rows, self._package.tokenizer.pad_token_id or 0)
        with torch.inference_mode():
            vectors = self._model.encode(torch.from_numpy(tokens).to(self._device), torch.from_numpy(mask).to(self._device))
            return np.asarray(vectors.float().cpu().numpy())

    def _heads(
        self, vectors: NDArray[np.float32], prior: NDArray[np.float32], features: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Probabilities of categories (n, C) and of value classes (n, 3)."""
        with torch.inference_mode():
            given = [torch.from_numpy(x).to(self._device) for x in (vectors, prior, features)]
            outputs = self._model.heads(*given)
            return self._probabilities(outputs.category_logits), self._probabilities(outputs.value_logits)

    def _probabilities(self, logits: torch.Tensor) -> NDArray[np.float64]:
        """Softmax in double precision, so that each row sums to 1 ± 1e-9.

        Raises:
            ModelError: when a logit is not a number.
        """
        if not bool(torch.isfinite(logits).all()):
            bad = int((~torch.isfinite(logits)).any(dim=1).sum())
            raise ModelError(f"model {self.model_id} answers {bad} of {len(logits)} rows with NaN or infinity; train it again")
        return np.asarray(logits.double().softmax(dim=-1).cpu().numpy(), dtype=np.float64)
