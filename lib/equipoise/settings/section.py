"""What every section of the settings is made of."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A group of settings; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def chosen(section: Section, into: Any) -> dict[str, Any]:
    """The settings of a section that a dataclass or named tuple has fields for."""
    names = {f.name for f in fields(into)} if is_dataclass(into) else set(into._fields)
    return section.model_dump(include=names)
