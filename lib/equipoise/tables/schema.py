"""What a table is, as data: one object makes the Spark schema, the Delta DDL and the data dictionary."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

OLDER = "the row was written before the column existed"
NAME = re.compile(r"^[a-z_][a-z0-9_]{0,62}$")


@dataclass(frozen=True)
class Column:
    """One column. `null_means` is what null says; None makes the column NOT NULL."""

    name: str
    type: str
    comment: str
    null_means: str | None = None

    @property
    def nullable(self) -> bool:
        return self.null_means is not None

    @property
    def full_comment(self) -> str:
        """The comment that Delta and the data dictionary carry, with the meaning of null."""
        return self.comment if self.null_means is None else f"{self.comment} Null: {self.null_means}."


@dataclass(frozen=True)
class Table:
    """One table: `key` is unique in it; a run replaces the rows that share `slice_by` with what it writes.

    folders: columns whose values get a folder each, because a night replaces single ones of them.
    """

    layer: str
    name: str
    grain: str
    comment: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    slice_by: tuple[str, ...] = ()
    checks: dict[str, str] = field(default_factory=dict)
    folders: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [c.name for c in self.columns]
        bad = [n for n in (self.layer, self.name, *names) if not NAME.match(n)]
        lost = [n for n in (*self.key, *self.slice_by, *self.folders) if n not in names]
        if bad or lost or len(set(names)) != len(names):
            raise ValueError(f"table {self.full_name}: bad names {bad}, key or slice not among the columns {lost}")

    @property
    def full_name(self) -> str:
        return f"{self.layer}.{self.name}"

    @property
    def column_names(self) -> list[str]:
        return [c.name for c in self.columns]

    def ddl_columns(self) -> str:
        """Column list for CREATE TABLE, with NOT NULL and comments."""
        return _ddl(self.columns)

    def grow_sql(self, path: str, there: Sequence[str]) -> str:
        """ALTER TABLE for a table that an earlier version made with the columns `there`, or ''. Rows that it has get nulls, so that
        the new columns cannot be NOT NULL in it; what is written from now on is checked all the same."""
        new = [replace(c, null_means=c.null_means or OLDER) for c in self.columns if c.name not in there]
        return f"ALTER TABLE delta.`{path}` ADD COLUMNS ({_ddl(new)})" if new else ""

    def struct_type(self) -> StructType:
        """The Spark schema; nullability as declared."""
        from pyspark.sql.types import StructField, StructType

        plain = StructType.fromDDL(", ".join(f"`{c.name}` {c.type}" for c in self.columns))
        assert isinstance(plain, StructType)
        return StructType([StructField(c.name, f.dataType, c.nullable) for c, f in zip(self.columns, plain.fields, strict=True)])

    def create_sql(self, path: str, extra_comment: str = "") -> str:
        """CREATE TABLE for Delta: deletion vectors and column mapping off, CHECKs in the first commit."""
        props = {
            "delta.enableDeletionVectors": "false",
            "delta.columnMapping.mode": "none",
            **{f"delta.constraints.{k}": v for k, v in self.checks.items()},
        }
        listed = ", ".join(f"{_sql_string(k)} = {_sql_string(v)}" for k, v in props.items())
        comment = _sql_string(f"{self.comment} One row per {self.grain}.{extra_comment}")
        return f"CREATE TABLE IF NOT EXISTS delta.`{path}` ({self.ddl_columns()}) USING delta COMMENT {comment} TBLPROPERTIES ({listed})"


def _ddl(columns: Iterable[Column]) -> str:
    return ", ".join(
        f"`{c.name}` {c.type}{'' if c.nullable else ' NOT NULL'} COMMENT {_sql_string(c.full_comment)}" for c in columns
    )


def _sql_string(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
