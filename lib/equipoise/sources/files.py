"""Somebody else's log: CSV, TSV, JSON lines, Parquet or a Delta table, brought into the raw form by a column map alone."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from operator import and_, or_

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, MapType, StringType, StructType

from equipoise.errors import SettingsError, SourceError
from equipoise.places import is_remote
from equipoise.settings.model import FileFormat
from equipoise.sources import lines
from equipoise.sources.canonical import EVENT_VALUES, Kind, RawInput, blank_to_null, complete, spread
from equipoise.sources.fields import Fields, JsonFields, PlainFields
from equipoise.sources.paths import local_files
from equipoise.sources.times import parse_time

ReadDelta = Callable[[str], DataFrame]

EVENT_COLUMNS = ("user_id", "time", *EVENT_VALUES, "natural_key")
ITEM_COLUMNS = ("item_id", "title", "category_1", "category_2", "category_3", "categories", "brand", "text")
REQUIRED: dict[Kind, tuple[str, ...]] = {
    "events": ("user_id", "event_type", "time"),
    "items": ("item_id",),
    "users": ("user_id",),
}
KEY = ("event_type", "item_id", "time", "basket_id", "campaign_id", "store_id", "text")
"""What makes an event unique among its user's, where no natural_key is mapped."""


@dataclass(frozen=True)
class FileMap:
    """One input: where it is and what its columns mean (see the settings of the same names)."""

    path: str
    columns: dict[str, str]
    format: FileFormat = "csv"
    values: dict[str, dict[str, str]] = field(default_factory=dict)
    time_format: str = "iso"
    list_separator: str = " "


@dataclass(frozen=True)
class Zones:
    """Where days end, and which zone times without one are of."""

    day: str
    naive: str


def events(spark: SparkSession, m: FileMap, zones: Zones, read_delta: ReadDelta) -> RawInput:
    """The events; our columns are EVENT_COLUMNS.

    Raises:
        SettingsError: when the map names no column of ours, or lacks a required one.
        SourceError: when the files lack a column, or do not exist.
    """
    _check_map(m, "events", EVENT_COLUMNS)
    source = _fields(spark, m, "events", read_delta)
    time = parse_time(source["time"], source.type_of("time"), m.time_format, naive_zone=zones.naive, zone=zones.day)
    typed = {c: (source[c], source[c].try_cast(t)) for c, t in EVENT_VALUES.items() if c in m.columns}
    wrong = [
        F.when(given.isNotNull() & (F.trim(given.cast("string")) != "") & cast.isNull(), F.lit(c))
        for c, (given, cast) in typed.items()
    ]
    frame = _keyed(source, _event_key(source, m), source["user_id"]).select(
        "*",
        *[cast.alias(c) for c, (_, cast) in typed.items()],
        F.coalesce(F.trim(source["time"].cast("string")) != "", F.lit(False)).alias("time_given"),
        time.event_ts.alias("event_ts"),
        time.date_only.alias("date_only"),
        F.array_compact(F.array(*wrong)).alias("unreadable"),
    )
    return RawInput("events", "events", complete(frame, "events"), source.row_json, source.frame)


def items(spark: SparkSession, m: FileMap, level: int, read_delta: ReadDelta) -> RawInput:
    """The items; columns beside ITEM_COLUMNS are attributes that only the text holds. `categories` is a list at `level`.

    Raises:
        SettingsError, SourceError: as `events` does, and where `categories` names a list of something that is no text.
    """
    _check_map(m, "items", None)
    source = _fields(spark, m, "items", read_delta)
    named = {c: source[c].cast("string") for c in m.columns}
    plain = {c: named[c] for c in ITEM_COLUMNS if c in named and c not in ("categories", "text")}
    several = None
    if "categories" in named:
        several, named["categories"] = _categories(source, m)
        plain.setdefault(f"category_{level}", F.get(several, F.lit(0)))
    order = ["title", "categories", "category_3", "category_2", "category_1", "brand", *sorted(set(named) - set(ITEM_COLUMNS))]
    parts = [F.nullif(F.trim(named[c]), F.lit("")) for c in order if c in named]
    text = named.get("text", F.nullif(F.concat_ws(", ", *parts), F.lit("")))
    frame = _keyed(source, named["item_id"]).select(
        "*",
        *[c.alias(n) for n, c in plain.items()],
        text.alias("text"),
        *([several.alias("categories")] if several is not None else []),
    )
    return RawInput("items", "items", complete(frame, "items"), source.row_json, source.frame)


def users(spark: SparkSession, m: FileMap, read_delta: ReadDelta) -> RawInput:
    """The users; every column but user_id is an attribute."""
    _check_map(m, "users", None)
    source = _fields(spark, m, "users", read_delta)
    answers = [x for c in m.columns if c != "user_id" for x in (F.lit(c), source[c].cast("string"))]
    pairs = F.create_map(*answers).cast("map<string,string>")
    frame = _keyed(source, source["user_id"], source["user_id"]).withColumn(
        "attributes", F.map_filter(pairs, lambda _, v: F.trim(v) != "")
    )
    return RawInput("users", "users", complete(frame, "users"), source.row_json, source.frame)


def _keyed(source: Fields, natural_key: Column, raw_user: Column | None = None) -> DataFrame:
    """The source's rows with natural_key (a broken line is its own) and raw_user, spread."""
    keys = {"natural_key": F.coalesce(F.col("line"), natural_key.cast("string"))}
    if raw_user is not None:
        keys["raw_user"] = raw_user.cast("string")
    return spread(source.frame.withColumns(keys))


def _event_key(source: Fields, m: FileMap) -> Column:
    """The mapped natural_key; KEY where there is none, or where a row leaves it blank."""
    made = F.concat_ws("\u0001", *[F.coalesce(F.trim(source[c].cast("string")), F.lit("")) for c in KEY if c in m.columns])
    return F.coalesce(blank_to_null(source["natural_key"].cast("string")), made) if "natural_key" in m.columns else made


def _categories(source: Fields, m: FileMap) -> tuple[Column, Column]:
    """The names that `categories` lists, and their text: as it is given, or the names of a real list (JSON's, too) joined."""
    given, type_ = source["categories"], source.type_of("categories")
    if isinstance(type_, ArrayType):
        if isinstance(type_.elementType, ArrayType | MapType | StructType):
            raise SourceError(
                f"{m.path}: {m.columns['categories']!r} for our categories is a list of {type_.elementType.simpleString()}; "
                "expected text or a list of texts; name a field inside it, such as '$.categories.name'"
            )
        names = _distinct(given.cast("array<string>"))
        return names, F.array_join(names, ", ")
    text = given.cast("string")
    names = _distinct(F.split(text, _quoted(m.list_separator)))
    if m.format != "jsonl":
        return names, text
    bare = F.trim(text)
    listed = _distinct(F.when(bare.startswith("[") & bare.endswith("]"), F.from_json(bare, "array<string>")))
    return F.coalesce(listed, names), F.coalesce(F.array_join(listed, ", "), text)


def _distinct(names: Column) -> Column:
    """Distinct names, trimmed, in their order; no blank ones."""
    trimmed = F.transform(names, lambda c: F.trim(c))
    return F.array_distinct(F.filter(trimmed, lambda c: c != ""))


def _quoted(separator: str) -> str:
    return "".join(f"\\{c}" if not c.isalnum() and not c.isspace() else c for c in separator)


def _check_map(m: FileMap, kind: Kind, known: tuple[str, ...] | None) -> None:
    where = f"source.{kind}.columns"
    problems = [
        f"{where}.{c}: missing; name their column, or a constant such as \"'x'\"" for c in REQUIRED[kind] if c not in m.columns
    ]
    for ours in sorted(set(m.columns) - set(known)) if known else []:
        near = difflib.get_close_matches(ours, known or (), n=1)
        hint = f"did you mean {near[0]}?" if near else f"expected some of {', '.join(known or ())}"
        problems.append(f"{where}.{ours}: no column of ours; {hint}")
    problems += [f"source.{kind}.values.{c}: not among {where}" for c in sorted(set(m.values) - set(m.columns))]
    if problems:
        raise SettingsError("\n".join(problems))


def _fields(spark: SparkSession, m: FileMap, kind: Kind, read_delta: ReadDelta) -> Fields:
    """The rows of the input, with their fields by our names."""
    try:
        if m.format == "jsonl":
            frame = lines.read_json_lines(spark, text_files(spark, m.path))
            return JsonFields(m.path, frame, m.columns, m.values, REQUIRED[kind])
        if m.format in lines.SEPARATORS:
            return PlainFields(m.path, lines.read_separated(spark, text_files(spark, m.path), m.format), m.columns, m.values)
        table = read_delta(m.path) if m.format == "delta" else spark.read.parquet(m.path)
        return PlainFields(m.path, table_rows(table), m.columns, m.values)
    except AnalysisException as error:
        raise SourceError(f"{m.path}: cannot be read as {m.format}: {str(error).splitlines()[0]}") from None


def text_files(spark: SparkSession, path: str) -> list[str]:
    """The files under a path, sorted."""
    if is_remote(path):
        return sorted(spark.read.text(path).inputFiles())
    return [str(f) for f in local_files(path)]


def table_rows(table: DataFrame) -> DataFrame:
    """raw (struct: the table's columns), bad_utf8, replaced, line and broken (never) of a typed table.

    Text that is no UTF-8 is read as Latin-1, which loses no byte; maps become lists of entries, which can be put in order.
    """
    texts = [f.name for f in table.schema.fields if isinstance(f.dataType, StringType)]
    valid = {n: F.coalesce(F.call_function("is_valid_utf8", F.col(f"`{n}`")), F.lit(True)) for n in texts}
    latin = {n: F.decode(F.col(f"`{n}`").cast("binary"), "ISO-8859-1") for n in texts}
    shown = [
        _orderable(n, t) if n not in valid else F.when(valid[n], F.col(f"`{n}`")).otherwise(latin[n]) for n, t in table.dtypes
    ]
    lost = [F.coalesce(F.contains(F.col(f"`{n}`"), F.lit(lines.REPLACEMENT)), F.lit(False)) for n in texts]
    return table.select(
        F.struct(*[c.alias(n) for c, n in zip(shown, table.columns, strict=True)]).alias("raw"),
        F.lit(False).alias("broken"),
        (~reduce(and_, valid.values(), F.lit(True))).alias("bad_utf8"),
        reduce(or_, lost, F.lit(False)).alias("replaced"),
        F.lit(None).cast("string").alias("line"),
    )


def _orderable(name: str, type_: str) -> Column:
    return F.map_entries(f"`{name}`") if type_.startswith("map<") else F.col(f"`{name}`")
