"""Settings from one TOML file and flags, parsed first and validated together, every problem shown at once."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from equipoise.errors import SettingsError
from equipoise.settings.model import Settings

JOB_FLAGS = {"settings": "TOML file with the settings.", "as-of": "Date D: only events before D count. YYYY-MM-DD."}


@dataclass(frozen=True)
class Invocation:
    """What a command line says: validated settings, the as-of date, and the folder relative paths count from."""

    settings: Settings
    as_of: date | None
    settings_path: Path


def parse_command_line(argv: Sequence[str], *, needs_as_of: bool) -> Invocation:
    """Settings from `--settings FILE`, `--as-of D` and any setting as `--section.key VALUE`.

    Raises:
        SettingsError: with every problem of the file and the flags in one text.
    """
    flags, problems = _read_flags(argv)
    path = Path(flags.pop("settings", ""))
    as_of = _date(flags.pop("as-of", None), problems)
    if needs_as_of and as_of is None and not any(p.startswith("--as-of") for p in problems):
        problems.append("--as-of: missing; expected a date, such as --as-of 2017-11-06")
    tree = _read_toml(path, problems)
    for flag, value in flags.items():
        _put(tree, flag, value, problems)
    settings = validate(tree, problems, set(flags))
    if problems or settings is None:
        listed = "\n".join(f"  {p}" for p in problems)
        raise SettingsError(f"{path or 'settings'}: {len(problems)} problem(s)\n{listed}")
    return Invocation(settings, as_of, path)


def validate(tree: dict[str, Any], problems: list[str], flags: set[str]) -> Settings | None:
    """The settings of a parsed tree, or None with every problem appended to `problems`."""
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        for e in error.errors():
            where = ".".join(str(part) for part in e["loc"]) or "settings"
            label = f"--{where}" if where.replace("_", "-") in flags or where in flags else where
            if e["type"] == "extra_forbidden":
                problems.append(f"{label}: unknown; {_nearest(where)}")
            elif e["type"] == "missing":
                problems.append(f"{label}: missing; {_description(where)}")
            else:
                given = "" if isinstance(e["input"], dict) else f" (given: {e['input']!r})"
                problems.append(f"{label}: {e['msg'].removeprefix('Value error, ')}{given}")
        return None


def help_text(job: str, summary: str, needs_as_of: bool) -> str:
    """The text of `--help`: every flag with its default and meaning."""
    lines = [f"{job}: {summary}", "", "flags:"]
    for name, text in JOB_FLAGS.items():
        if name != "as-of" or needs_as_of:
            lines.append(f"  --{name:<38} {text}")
    for name, info in _leaves(Settings):
        silent = info.is_required() or info.default_factory or info.default is None or isinstance(info.default, dict)
        default = "" if silent else f" [{info.default}]"
        lines.append(f"  --{name:<38} {info.description or ''}{default}")
    return "\n".join(lines)


def _read_flags(argv: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    flags: dict[str, str] = {}
    problems: list[str] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            problems.append(f"{word!r}: not a flag; expected --name VALUE")
            continue
        name, equals, value = word.removeprefix("--").partition("=")
        if not equals:
            if not words or words[0].startswith("--"):
                problems.append(f"--{name}: no value; expected --{name} VALUE")
                continue
            value = words.pop(0)
        key = name if name in JOB_FLAGS else name.replace("-", "_")
        if name not in JOB_FLAGS and key not in {n for n, _ in _leaves(Settings)} and not key.startswith("source."):
            problems.append(f"--{name}: unknown flag; {_nearest(key, [*JOB_FLAGS])}")
            continue
        flags[key] = value
    return flags, problems


def _read_toml(path: Path, problems: list[str]) -> dict[str, Any]:
    if not str(path) or str(path) == ".":
        problems.append("--settings: missing; expected a TOML file, such as --settings conf/demo.toml")
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        problems.append(f"--settings: no file {path}; expected a TOML file, such as conf/demo.toml")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        problems.append(f"--settings: {path} cannot be read as TOML: {error}")
    return {}


def _date(text: str | None, problems: list[str]) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        problems.append(f"--as-of: {text!r} is not a date; expected YYYY-MM-DD")
        return None


def _put(tree: dict[str, Any], dotted: str, value: str, problems: list[str]) -> None:
    *sections, key = dotted.split(".")
    node = tree
    for section in sections:
        child = node.setdefault(section, {})
        if not isinstance(child, dict):
            return
        node = child
    if value[:1] not in ("[", "{"):
        node[key] = value
        return
    try:
        node[key] = tomllib.loads(f"v = {value}")["v"]
    except tomllib.TOMLDecodeError as error:
        way_out = f"""write texts in double quotes and the whole in single ones, such as --{dotted} '["a", "b"]'"""
        problems.append(f"--{dotted}: {value!r} is no list or table as TOML writes it: {error}; {way_out}")


def _sections(model: type[BaseModel], dotted: str) -> type[BaseModel] | None:
    for part in (p for p in dotted.split(".")[:-1] if not p.isdigit()):  # digits: the place in a list of tables
        field = model.model_fields.get(part)
        inner = _model_of(field) if field else None
        if inner is None:
            return None
        model = inner
    return model


def _model_of(field: FieldInfo) -> type[BaseModel] | None:
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        inner = _model_of(field)
        if inner is None or get_origin(field.annotation) is tuple:
            yield f"{prefix}{name}", field
        else:
            yield from _leaves(inner, f"{prefix}{name}.")


def _nearest(dotted: str, extra: Sequence[str] = ()) -> str:
    names = [n for n, _ in _leaves(Settings)] + list(Settings.model_fields) + list(extra)
    near = difflib.get_close_matches(dotted, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    parent = _sections(Settings, dotted)
    known = sorted(parent.model_fields) if parent else sorted(Settings.model_fields)
    return f"expected one of {', '.join(known)}"


def _description(dotted: str) -> str:
    parent = _sections(Settings, dotted)
    field = parent.model_fields.get(dotted.split(".")[-1]) if parent else None
    meaning = field.description if field and field.description else "expected a value"
    return f"{meaning} Set it in the settings file or as a flag."
