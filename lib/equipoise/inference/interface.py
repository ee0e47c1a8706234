"""What every route to a prediction offers: load from a path, predict on Arrow batches, encode texts.

Callers (Arrow UDFs, services, notebooks) know this page only; which network stands behind it is its own business.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Device = Literal["cpu", "cuda"]
Switch = Literal["auto", "on", "off"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]
Trends = tuple[tuple[float, ...], ...]

FEATURES_IN = pa.schema(
    [
        pa.field("behaviour_text", pa.string()),
        pa.field("prior_categories", pa.list_(pa.string())),
        pa.field("prior_weights", pa.list_(pa.float64())),
        pa.field("cell_categories", pa.list_(pa.string())),
        pa.field("cells", pa.list_(pa.float32())),
        pa.field("features", pa.list_(pa.float64())),
    ]
)
"""One user: the behaviour as text, decayed weight per category, CELL_VALUES of each visited category (flat), and the explicit
features in the model's order, raw units.

Null or empty text, prior or cells: nothing known, and still a defined answer. Other columns of a batch are not looked at.
"""

EVENTS_IN = pa.schema(
    [
        pa.field("item_ids", pa.list_(pa.string())),
        pa.field("event_types", pa.list_(pa.string())),
        pa.field("age_days", pa.list_(pa.int32())),
    ]
)
"""What the tower route reads beside FEATURES_IN: a user's events, oldest first. Null or empty: nothing known. An item that has no
vector, or a type that is no event type, counts as an event of which only the rest is known."""

PREDICTION = pa.schema(
    [
        pa.field("vector", pa.list_(pa.float32())),
        pa.field("category_probabilities", pa.list_(pa.float64())),
        pa.field("visit_probabilities", pa.list_(pa.float64())),
        pa.field("p_o", pa.float64()),
        pa.field("p_interest", pa.float64()),
        pa.field("p_buy", pa.float64()),
        pa.field("expected_spend", pa.float64()),
    ]
)
"""The answer for one user, in the order of the rows given.

vector: unit length. category_probabilities: in the order of `categories`, sum 1 ± 1e-9, given that the next window is not
empty. visit_probabilities: of any event in the category in the next window, each by itself. p_o + p_interest + p_buy = 1 ± 1e-9.
expected_spend: money in the next window, null where the source has no amounts.
"""


class BatchPredictor(Protocol):
    """A fitted model that answers for Arrow batches of users; knows nothing of Spark."""

    @property
    def model_id(self) -> str:
        """Name of the model, as the registry knows it."""
        ...

    @property
    def categories(self) -> tuple[str, ...]:
        """Category behind each place of category_probabilities."""
        ...

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
    ) -> Self:
        """The model published at `path`, ready to predict; `trends`: TREND_VALUES now of each of its categories; `items`: file of
        an `ItemTable`, for a tower."""
        ...

    def predict(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """FEATURES_IN rows, for a tower with EVENTS_IN → PREDICTION rows, same order, same number."""
        ...

    def encode(self, texts: list[str], max_tokens: int | None = None) -> NDArray[np.float32]:
        """Unit vectors (n, d) of item texts; `max_tokens` None: the length that the model was trained for."""
        ...
