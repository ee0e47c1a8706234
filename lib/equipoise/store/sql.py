"""SQL that brings the tables into an analyst's session."""

from __future__ import annotations

from equipoise.store.store import FORMAT
from equipoise.tables import CATALOGUE


def registration_sql(root: str, names: list[str] | None = None) -> list[str]:
    """Statements that make every table (or the named ones) known as layer.name; comments come from the tables."""
    chosen = sorted(names if names is not None else CATALOGUE)
    layers = sorted({n.split(".")[0] for n in chosen})
    made = [f"CREATE DATABASE IF NOT EXISTS {layer}" for layer in layers]
    root = root.rstrip("/")
    return made + [f"CREATE TABLE IF NOT EXISTS {n} USING {FORMAT} LOCATION '{root}/{n.replace('.', '/')}'" for n in chosen]


def deletion(path: str, column: str, value: str) -> str:
    """A statement that takes the rows of one value out of the table at a path."""
    return f"DELETE FROM {FORMAT}.`{path}` WHERE {column} = '{value}'"


def versioned(name: str, version: int) -> str:
    """A registered table as it was at a version, for a FROM clause."""
    return f"{name} VERSION AS OF {int(version)}"
