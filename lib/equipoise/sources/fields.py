"""A source's fields by our names: a column map, constants, value maps, and where the user id stands in the raw row."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, StringType, StructType

from equipoise.errors import SourceError
from equipoise.sources.canonical import RowJson, fields_json

Values = Mapping[str, Mapping[str, str]]
SAMPLE_ROWS = 1000
"""JSON lines state no columns: a required name must occur among this many first rows."""


class Fields(Protocol):
    """Rows with `raw` and the flags of the raw form, and a column per name of ours."""

    frame: DataFrame
    row_json: RowJson

    def __getitem__(self, ours: str) -> Column: ...

    def type_of(self, ours: str) -> DataType: ...


class PlainFields:
    """Fields of a frame whose `raw` is a struct of named columns; '$.a.b' looks inside a struct column a."""

    def __init__(self, path: str, frame: DataFrame, columns: Mapping[str, str], values: Values) -> None:
        schema = frame.schema["raw"].dataType
        assert isinstance(schema, StructType)
        self.frame = frame
        self._columns, self._values, self._schema = columns, values, schema
        lost = [
            (ours, _top(theirs))
            for ours, theirs in columns.items()
            if not _is_constant(theirs) and _top(theirs) not in schema.names
        ]
        if lost:
            raise SourceError("\n".join(_no_column(path, ours, theirs, schema.names) for ours, theirs in lost))
        self.row_json = self._row_json(columns.get("user_id"))

    def __getitem__(self, ours: str) -> Column:
        return _mapped(self._given(ours), self._values.get(ours))

    def type_of(self, ours: str) -> DataType:
        return self.frame.select(self[ours]).schema.fields[0].dataType

    def _given(self, ours: str) -> Column:
        theirs = self._columns.get(ours)
        if theirs is None or _is_constant(theirs):
            return F.lit(theirs[1:-1] if theirs else None).cast("string")
        field = F.col("raw")
        for part in _parts(theirs):
            field = field.getField(part)
        return field

    def _row_json(self, user: str | None) -> RowJson:
        if user is None or _is_constant(user):
            return fields_json(self._schema, None)
        top, *inside = _parts(user)
        if not inside:
            return fields_json(self._schema, top)

        def row_json(raw: Column, pseudonym: Column) -> Column:
            hidden = raw.withField(top, raw.getField(top).withField(".".join(inside), pseudonym))
            return fields_json(self._schema, None)(hidden, pseudonym)

        return row_json


class JsonFields:
    """Fields of JSON lines, all text; '$.a.b' looks inside the nested field a. `raw` is one list of the line's entries."""

    def __init__(self, path: str, frame: DataFrame, columns: Mapping[str, str], values: Values, required: Sequence[str]) -> None:
        self.frame = frame.withColumn("raw", F.struct(F.map_entries("fields").alias("fields")))
        self._columns, self._values = columns, values
        self.row_json = _entries_json(columns.get("user_id"))
        named = [c for c in required if not _is_constant(columns[c])]
        keys = F.explode(F.map_keys("fields")).alias("key")
        seen = sorted(r["key"] for r in frame.limit(SAMPLE_ROWS).select(keys).distinct().collect())
        lost = [(c, _top(columns[c])) for c in named if seen and _top(columns[c]) not in seen]
        if lost:
            raise SourceError("\n".join(_no_column(path, ours, theirs, seen) for ours, theirs in lost))

    def __getitem__(self, ours: str) -> Column:
        theirs = self._columns.get(ours)
        if theirs is None or _is_constant(theirs):
            return _mapped(F.lit(theirs[1:-1] if theirs else None).cast("string"), self._values.get(ours))
        top, *inside = _parts(theirs)
        field = F.col("fields")[top]
        found = F.get_json_object(field, _json_path(inside)) if inside else field
        if ours == "user_id":  # a broken line still names its user, who must not stand in the quarantine
            name = re.escape([top, *inside][-1])
            torn = F.regexp_extract("line", rf'"{name}"\s*:\s*"?([^",}}\]\s]+)', 1)
            found = F.coalesce(found, F.nullif(torn, F.lit("")))
        return _mapped(found, self._values.get(ours))

    def type_of(self, ours: str) -> DataType:
        return StringType()


def _entries_json(user: str | None) -> RowJson:
    """RowJson of `raw.fields`, a list of (key, value) entries."""
    top, *inside = _parts(user) if user and not _is_constant(user) else [""]

    def row_json(raw: Column, pseudonym: Column) -> Column:
        def shown(entry: Column) -> Column:
            value = entry["value"]
            own = F.replace(value, F.get_json_object(value, _json_path(inside)), pseudonym) if inside else pseudonym
            return F.struct(entry["key"].alias("key"), F.when(entry["key"] == F.lit(top), own).otherwise(value).alias("value"))

        entries = F.transform(raw["fields"], shown) if top else raw["fields"]
        return F.to_json(F.map_from_entries(entries), {"ignoreNullFields": "false"})

    return row_json


def _mapped(value: Column, mapping: Mapping[str, str] | None) -> Column:
    """Their values as ours; a value that the map does not name stays."""
    if not mapping:
        return value
    pairs = F.create_map(*[F.lit(x) for pair in sorted(mapping.items()) for x in pair])
    text = value.cast("string")
    return F.coalesce(pairs[text], text)


def _is_constant(theirs: str) -> bool:
    return len(theirs) >= 2 and theirs[0] == theirs[-1] == "'"


def _parts(theirs: str) -> list[str]:
    return theirs.removeprefix("$.").split(".") if theirs.startswith("$.") else [theirs]


def _top(theirs: str) -> str:
    return _parts(theirs)[0]


def _json_path(inside: Sequence[str]) -> str:
    return "$" + "".join(f"['{p}']" for p in inside)


def _shorter_or_longer(a: str, b: str) -> bool:
    """Whether all words of one name are in the other: qty and qty_sold."""
    words = [set(re.findall(r"[0-9a-z]+", name.casefold())) for name in (a, b)]
    return all(words) and (words[0] <= words[1] or words[1] <= words[0])


def _no_column(path: str, ours: str, theirs: str, known: Sequence[str]) -> str:
    same = [k for k in known if k.casefold() == theirs.casefold()]  # other letters are another column, and no close match
    near = same or difflib.get_close_matches(theirs, known, n=1) or [k for k in known if _shorter_or_longer(theirs, k)]
    hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"
    return f"{path}: no column {theirs!r} for our {ours}; {hint}"
