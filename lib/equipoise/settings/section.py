"""What every section of the settings is made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from equipoise.places import Place

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]
LocalFile = Annotated[str, Place()]
"""A file or folder of this machine that is read."""
Readable = Annotated[str, Place(uri=True)]
"""A file or folder that is read, here or on another store."""
Written = Annotated[str, Place(written=True)]
"""A file or folder of this machine that is written."""
Anywhere = Annotated[str, Place(uri=True, written=True)]
"""A file or folder that is written, here or on another store."""


class Section(BaseModel):
    """A group of settings; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def chosen(section: Section, into: Any) -> dict[str, Any]:
    """The settings of a section that a dataclass or named tuple has fields for."""
    names = {f.name for f in fields(into)} if is_dataclass(into) else set(into._fields)
    return section.model_dump(include=names)


def places(section: Section, prefix: str = "") -> Iterator[tuple[str, str, Place]]:
    """Every place that the settings name: dotted name of the setting, its value, what kind of place it asks for."""
    for name, info in type(section).model_fields.items():
        value, kind = getattr(section, name), next((m for m in info.metadata if isinstance(m, Place)), None)
        for at, one in enumerate(value) if isinstance(value, tuple) else [(None, value)]:
            label = f"{prefix}{name}" if at is None else f"{prefix}{name}.{at}"
            if isinstance(one, Section):
                yield from places(one, f"{label}.")
            elif kind and one:
                yield label, one, kind
