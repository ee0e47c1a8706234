"""The one raw form that every source is brought into before quality rules look at it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

Kind = Literal["events", "items", "users"]

FLAGS = {
    "broken": "BOOLEAN",  # the line could not be split into fields
    "bad_utf8": "BOOLEAN",  # the row holds bytes that are no UTF-8
    "replaced": "BOOLEAN",  # the row holds U+FFFD: somebody before us already lost bytes
    "line": "STRING",  # the line as it came, where its fields cannot stand for it (broken or bad_utf8)
}
EVENT_VALUES = {
    "item_id": "STRING",
    "event_type": "STRING",
    "quantity": "DOUBLE",
    "amount": "DOUBLE",
    "dwell_ms": "BIGINT",
    "basket_id": "STRING",
    "campaign_id": "STRING",
    "store_id": "STRING",
    "channel": "STRING",
    "rating": "DOUBLE",
    "text": "STRING",
}
FIELDS: dict[Kind, dict[str, str]] = {
    "events": {
        "raw_user": "STRING",
        **EVENT_VALUES,
        "time_given": "BOOLEAN",  # the source states something as the time
        "event_ts": "TIMESTAMP",  # the instant; null where what is stated cannot be read
        "date_only": "BOOLEAN",  # the source states a day, no time of day
        "natural_key": "STRING",  # what makes the row unique among the user's rows of this source
        "unreadable": "ARRAY<STRING>",  # columns that hold something which is no value of their type
        **FLAGS,
    },
    "items": {
        "item_id": "STRING",
        "title": "STRING",
        "category_1": "STRING",
        "category_2": "STRING",
        "category_3": "STRING",
        "brand": "STRING",
        "text": "STRING",
        "categories": "ARRAY<STRING>",  # at the settings' level; null: the category_N of that level alone
        "natural_key": "STRING",
        **FLAGS,
    },
    "users": {"raw_user": "STRING", "attributes": "MAP<STRING, STRING>", "natural_key": "STRING", **FLAGS},
}
"""Columns of each kind of raw frame, beside `raw`: a struct with the row as it came, of orderable types. A row's other columns
are a function of raw and line. raw_user and natural_key are trimmed, null when blank."""

RowJson = Callable[[Column, Column], Column]
"""(raw, pseudonym) → the raw row as JSON with the pseudonym in place of the user id."""


@dataclass(frozen=True)
class RawInput:
    """One input of a source: its rows in the raw form, none left out. `given`: the same rows before they were spread, which are
    cheaper to count."""

    name: str
    kind: Kind
    frame: DataFrame
    row_json: RowJson
    given: DataFrame | None = None


@dataclass(frozen=True)
class RawSource:
    """Everything a source gives. `promotions` is week_start, item_id, store_id, placements; no user stands in it."""

    events: tuple[RawInput, ...]
    items: RawInput | None = None
    users: RawInput | None = None
    promotions: DataFrame | None = None
    synthetic: bool = False

    @property
    def inputs(self) -> tuple[RawInput, ...]:
        return tuple(i for i in (self.items, self.users, *self.events) if i is not None)


def blank_to_null(text: Column) -> Column:
    """Trimmed text, null where nothing is left."""
    trimmed = F.trim(text)
    return F.when(trimmed != "", trimmed)


def spread(frame: DataFrame) -> DataFrame:
    """The frame laid out by user and natural key, so that what follows runs in parallel and finds copies of a row side by side.

    Comes before the other columns are made of `raw`: rows are small then, and a file of one row group is one task until here.
    """
    keys = [c for c in ("raw_user", "natural_key") if c in frame.columns]
    return frame.withColumns({c: blank_to_null(F.col(c)) for c in keys}).repartition(*keys)


def complete(frame: DataFrame, kind: Kind) -> DataFrame:
    """The frame with every column of its kind: what it lacks is null, flags are false."""
    falses = {"broken", "bad_utf8", "replaced", "date_only"}
    chosen: list[Column] = []
    for name, type_ in FIELDS[kind].items():
        if name in frame.columns:
            chosen.append(F.col(name).cast(type_).alias(name))
        elif name in falses:
            chosen.append(F.lit(False).alias(name))
        elif name == "unreadable":
            chosen.append(F.array().cast(type_).alias(name))
        else:
            chosen.append(F.lit(None).cast(type_).alias(name))
    return frame.select(*chosen, "raw")


def fields_json(schema: StructType, user_field: str | None) -> RowJson:
    """RowJson of a raw struct with these fields, of which `user_field` holds the user id."""

    def row_json(raw: Column, pseudonym: Column) -> Column:
        shown = [(pseudonym if f.name == user_field else raw.getField(f.name)).alias(f.name) for f in schema.fields]
        return F.to_json(F.struct(*shown), {"ignoreNullFields": "false"})

    return row_json


def keyed(frame: DataFrame, natural_key: Column, raw_user: Column | None = None) -> DataFrame:
    """raw (a struct of the frame's columns), natural_key and raw_user, spread."""
    user = [] if raw_user is None else [raw_user.cast("string").alias("raw_user")]
    raw = F.struct(*[F.col(f"`{c}`") for c in frame.columns]).alias("raw")
    return spread(frame.select(raw, natural_key.cast("string").alias("natural_key"), *user))


def raw_input(frame: DataFrame, name: str, kind: Kind, user_field: str | None = None) -> RawInput:
    """An input whose frame has a `raw` struct of plain fields."""
    whole = complete(frame, kind)
    schema = whole.schema["raw"].dataType
    assert isinstance(schema, StructType)
    return RawInput(name, kind, whole, fields_json(schema, user_field))
