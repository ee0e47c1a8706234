"""Errors that a caller may handle: each says what, the value, what was expected and the way out."""

from __future__ import annotations


class EquipoiseError(Exception):
    """Base of every error the suite raises on purpose; `exit_code` is what the job returns."""

    exit_code = 1


class SettingsError(EquipoiseError):
    """Settings or flags are wrong; the text lists every problem at once."""

    exit_code = 2


class SourceError(EquipoiseError):
    """A source lacks a file or a column, or holds no rows."""


class GateError(EquipoiseError):
    """A quality or promotion gate stopped the job on purpose."""

    exit_code = 3


class ContractError(EquipoiseError):
    """A frame does not keep its table's contract (schema, key, nulls), or rows would be lost."""


class StoreError(EquipoiseError):
    """A table could not be read or written as asked."""


class ConflictError(StoreError):
    """Another run works on the same slice."""


class StreamError(EquipoiseError):
    """The training stream would lose, repeat or leak rows, or would read outside its pinned list."""


class ModelError(EquipoiseError):
    """A model directory is incomplete or damaged, or a model turned out unusable."""


class OutOfMemory(ModelError):
    """A forward or backward pass did not fit; `tried`: the examples that were in it."""

    def __init__(self, text: str, *, tried: int) -> None:
        super().__init__(text)
        self.tried = tried
