"""A published model behind the interface of `inference.interface`; knows nothing of Spark.

Notation: n rows, b rows of one forward pass, d entries of a vector, C categories.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from equipoise.errors import ContractError, ModelError
from equipoise.inference.arrow import as_lists, cell_tensor, feature_matrix, prior_matrix
from equipoise.inference.batching import plan_batches
from equipoise.inference.hardware import check_device, halving, use_bfloat16
from equipoise.inference.interface import EVENTS_IN, PREDICTION, Device, Switch, Trends
from equipoise.inference.texts import TextVectors
from equipoise.models import TowerModel
from equipoise.models.items import ItemTable
from equipoise.models.package import LoadedPackage, load_package
from equipoise.models.smaller import Smaller, in_int8, smaller
from equipoise.tables.packing import TREND_VALUES, event_records, padded_events

AS_IT_IS = Smaller()
HEAD_ROWS = 512
"""Users whose pairs with every category are in memory at a time."""


class Predictor:
    """A loaded model; what it answers does not depend on which rows are asked together (within 1e-5 in float32)."""

    def __init__(
        self,
        package: LoadedPackage,
        *,
        device: torch.device,
        bfloat16: bool,
        tokens_per_batch: int,
        trends: Trends = (),
        without_text: bool = False,
    ) -> None:
        self._package, self._without_text = package, without_text
        self._model = package.model.eval()
        lowered = bfloat16 and not in_int8(self._model.encoder)
        self._model.encoder.autocast = torch.bfloat16 if lowered else None  # tower and heads stay in float32
        self._device = device
        self._tokens_per_batch = tokens_per_batch
        self._texts = TextVectors(package.model.encoder, package.tokenizer, device=device, tokens_per_batch=tokens_per_batch)
        if without_text:  # what reads the vector falls silent, with what it learnt of the features beside it
            for out in (package.model.heads.category.out, package.model.heads.value.out):
                torch.nn.init.zeros_(out.weight)
                torch.nn.init.zeros_(out.bias)
        self._trends = torch.tensor(trends, dtype=torch.float32, device=device)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        device: Device = "cpu",
        threads: int = 1,
        bfloat16: Switch = "auto",
        tokens_per_batch: int = 4096,
        trends: Trends = (),
        items: str = "",
        less: Smaller = AS_IT_IS,
        without_text: bool = False,
    ) -> Self:
        """The model published at `path`; `items`: file of an `ItemTable`, for a tower; none: the items of its examples; `less`:
        how its encoder is made smaller; `without_text`: the parts of the heads that read users' vectors are left out, so
        that counts alone speak: categories are what counting found, the value class is the logit on the explicit features. What
        those parts learnt of the features goes with them. Sets the number of torch threads of this process.

        Raises:
            ModelError: when the package is incomplete or damaged, or the machine lacks the device.
        """
        torch.set_num_threads(threads)
        place = check_device(device)
        package = load_package(path, device=device)
        package.model.encoder = smaller(package.model.encoder, less)
        if items and isinstance(package.model, TowerModel):
            package.model.look_up(ItemTable.load(items))
        return cls(
            package,
            device=place,
            bfloat16=use_bfloat16(bfloat16, device),
            tokens_per_batch=tokens_per_batch,
            trends=trends,
            without_text=without_text,
        )

    @property
    def model_id(self) -> str:
        return self._package.meta.model_id

    @property
    def categories(self) -> tuple[str, ...]:
        return tuple(self._package.meta.categories)

    def predict(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """FEATURES_IN rows, for a tower with EVENTS_IN → PREDICTION rows, in the same order; distinct texts are encoded once.

        Raises:
            ContractError: when a prior, the cells or the features of a row do not have the form that FEATURES_IN states, or the
                trends are not one row per category of the model.
            ModelError: when an answer is not a number.
        """
        meta = self._package.meta
        wanted = (len(meta.categories), len(TREND_VALUES))
        if tuple(self._trends.shape) != wanted:
            raise ContractError(
                f"trends of shape {tuple(self._trends.shape)}, expected {wanted}: {', '.join(TREND_VALUES)} of each category; "
                "load the model with those of feature.category_trends at this as_of"
            )
        features = feature_matrix(batch.column("features"), meta.feature_names)
        prior = prior_matrix(batch.column("prior_categories"), batch.column("prior_weights"), meta.categories)
        vectors = self._user_vectors(batch)
        cells = cell_tensor(batch.column("cell_categories"), batch.column("cells"), meta.categories)
        categories, visits, values = self._heads(vectors, prior, cells, features)
        spend = values @ np.asarray(meta.class_mean_spend, dtype=np.float64)
        return pa.RecordBatch.from_arrays(
            [
                as_lists(vectors),
                as_lists(categories),
                as_lists(visits),
                *(pa.array(values[:, i]) for i in range(values.shape[1])),
                pa.array(spend) if meta.has_amounts else pa.nulls(len(spend), pa.float64()),
            ],
            schema=PREDICTION,
        )

    def encode(self, texts: list[str], max_tokens: int | None = None) -> NDArray[np.float32]:
        """Unit vectors (n, d), in the order of `texts`; `max_tokens` None: what the model was trained for with item texts."""
        return self._texts.encode(texts, max_tokens or self._package.meta.max_item_tokens)

    def _user_vectors(self, batch: pa.RecordBatch) -> NDArray[np.float32]:
        """(n, d), in the order of the rows."""
        if self._without_text:
            return np.zeros((batch.num_rows, self._model.encoder.width), dtype=np.float32)
        if not isinstance(self._model, TowerModel):
            return self.encode(batch.column("behaviour_text").to_pylist(), self._package.meta.max_tokens)
        records, counts = event_records(*(batch.column(name) for name in EVENTS_IN.names))
        most, ends = self._model.tower.options.events, np.cumsum(counts)
        width, read = self._model.encoder.width, self._model.user_vectors

        def run(tokens: int) -> NDArray[np.float32]:
            plan = plan_batches(np.minimum(counts, most), tokens)
            found = [np.zeros((0, width), dtype=np.float32)]
            for rows in plan.batches():
                mine = np.concatenate([records[ends[r] - counts[r] : ends[r]] for r in rows])
                events = padded_events(mine, counts[rows], most)
                with torch.inference_mode():
                    vectors = read(*(torch.from_numpy(x).to(self._device) for x in events.values()))
                found.append(np.asarray(vectors.float().cpu().numpy()))
            return plan.restored(np.concatenate(found))

        vectors, self._tokens_per_batch = halving(run, self._tokens_per_batch)
        return vectors

    def _heads(self, *given: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Shares of categories and probabilities of visits (n, C), and of value classes (n, 3), HEAD_ROWS users at a time."""
        found: list[list[NDArray[np.float64]]] = [[], [], []]
        with torch.inference_mode():
            for start in range(0, max(1, len(given[0])), HEAD_ROWS):
                vectors, prior, cells, features = (torch.from_numpy(x[start : start + HEAD_ROWS]).to(self._device) for x in given)
                trends = self._trends.expand(len(vectors), -1, -1)
                outputs = self._model.heads(vectors, prior, cells, trends, features)
                found[0].append(self._probabilities(outputs.category_logits, softmax=True))
                found[1].append(self._probabilities(outputs.visit_logits, softmax=False))
                found[2].append(self._probabilities(outputs.value_logits, softmax=True))
        shares, visits, values = (np.concatenate(parts) for parts in found)
        return shares, visits, values

    def _probabilities(self, logits: torch.Tensor, *, softmax: bool) -> NDArray[np.float64]:
        """Softmax, or the logistic function, in double precision, so that each row of a softmax sums to 1 ± 1e-9.

        Raises:
            ModelError: when a logit is not a number.
        """
        if not bool(torch.isfinite(logits).all()):
            bad = int((~torch.isfinite(logits)).any(dim=1).sum())
            raise ModelError(f"model {self.model_id} answers {bad} of {len(logits)} rows with NaN or infinity; train it again")
        exact = logits.double()
        return np.asarray((exact.softmax(dim=-1) if softmax else exact.sigmoid()).cpu().numpy(), dtype=np.float64)
