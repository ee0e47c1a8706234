"""Settings of the DAG from a TOML file; every problem is reported at once. Standard library only."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class DagSettingsError(ValueError):
    """The settings file is wrong; the text lists every problem with key, value, what was expected and the way out."""


@dataclass(frozen=True)
class DagSettings:
    """What the DAG needs to know of the place it runs in; times in minutes."""

    project: str
    settings: str
    warehouse: str
    timezone: str
    schedule: str
    start_date: str
    conn_id: str
    bin: str
    python: str
    profile: str
    training_profile: str
    driver_memory: str
    py_files: tuple[str, ...]
    flags: tuple[str, ...]
    env: dict[str, str]
    pool: str
    training_pool: str
    retries: int
    retry_delay_minutes: float
    timeout_minutes: float
    training_timeout_minutes: float
    training_weekday: str
    training_on_drift: bool
    quality_gate: str
    promotion_gate: str
    webhook_env: str

    def place(self, path: str) -> str:
        """A path counted from the project's folder; an address with a scheme stays as it is."""
        return path if "://" in path else str(Path(self.project, path))

    @property
    def ledger(self) -> str:
        """Where every attempt of every job stands."""
        return f"{self.warehouse.rstrip('/')}/ops/runs"

    @property
    def monitors(self) -> str:
        """Where every night's monitors stand."""
        return f"{self.warehouse.rstrip('/')}/ops/monitors"


@dataclass(frozen=True)
class _Key:
    name: str
    expected: str
    accepts: Callable[[Any], bool]
    default: Any = None  # None: the key must be there


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _place(value: Any) -> bool:
    return isinstance(value, str) and ("://" in value or value.startswith("/"))


def _zone(value: Any) -> bool:
    try:
        return _text(value) and bool(ZoneInfo(value))
    except (KeyError, ValueError, OSError):
        return False


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) for v in value)


def _env(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(v, str) for v in value.values())


def _day(value: Any) -> bool:
    return _text(value) and len(value) == 10 and value.replace("-", "").isdigit()


def _one_of(*choices: str) -> Callable[[Any], bool]:
    return lambda value: value in choices


MINUTES = "a number of minutes above 0, such as 30"
KEYS = (
    _Key("project", "the absolute path of the project's folder on every worker", lambda v: _text(v) and v.startswith("/")),
    _Key("settings", "the jobs' settings file, counted from the project's folder, such as conf/demo.toml", _text),
    _Key("warehouse", "an absolute path or an address with a scheme, such as /data/warehouse or s3a://bucket/warehouse", _place),
    _Key("timezone", "a time zone by its IANA name, the one of source.timezone, such as Europe/Berlin", _zone),
    _Key("schedule", "a cron line of five fields in quotes, such as 0 2 * * *", lambda v: _text(v) and len(v.split()) == 5),
    _Key("start_date", "the first day in quotes, as YYYY-MM-DD", _day),
    _Key("conn_id", "the id of a Spark connection in Airflow", _text, "spark_default"),
    _Key("bin", "the folder of spark-submit, counted from the project's folder", _text, ".venv/bin"),
    _Key("python", "the jobs' Python, counted from the project's folder", _text, ".venv/bin/python"),
    _Key("profile", "a Spark properties file, counted from the project's folder", _text, "conf/spark/local.conf"),
    _Key("training_profile", "a Spark properties file without spark.plugins", _text, "conf/spark/local.conf"),
    _Key("driver_memory", "memory as Spark writes it, such as 3g", _text, "3g"),
    _Key("py_files", "a list of zips of code that go with every job, counted from the project's folder", _texts, []),
    _Key("flags", "a list of texts, flags that every job gets", _texts, []),
    _Key("env", "a table of texts, environment of every job", _env, {}),
    _Key("pool", "the name of an Airflow pool", _text, "default_pool"),
    _Key("training_pool", "the name of an Airflow pool with one slot per training device", _text, "default_pool"),
    _Key("retries", "a whole number from 0", lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= 0, 2),
    _Key("retry_delay_minutes", MINUTES, _number, 5),
    _Key("timeout_minutes", MINUTES, _number, 120),
    _Key("training_timeout_minutes", MINUTES, _number, 480),
    _Key("training_weekday", f"one of {', '.join(WEEKDAYS)}, daily", _one_of(*WEEKDAYS, "daily"), "sunday"),
    _Key("training_on_drift", "true or false", lambda v: isinstance(v, bool), True),
    _Key("quality_gate", "fail (the night is red) or skip (the rest of the night is skipped)", _one_of("fail", "skip"), "fail"),
    _Key("promotion_gate", "go_on (score with CURRENT) or fail", _one_of("go_on", "fail"), "go_on"),
    _Key("webhook_env", "the name of an environment variable that holds the address, or empty", lambda v: isinstance(v, str), ""),
)


def load(path: Path) -> DagSettings:
    """The settings that a file holds.

    Raises:
        DagSettingsError: when the file cannot be read, or keys are missing, unknown or of a value that is not accepted.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise DagSettingsError(f"{path}: {error}; expected a TOML file like equipoise.toml beside the DAG") from error
    problems = _problems(found, path)
    if problems:
        raise DagSettingsError(f"{path}: {len(problems)} wrong\n" + "\n".join(f"- {p}" for p in problems))
    values = {k.name: found.get(k.name, k.default) for k in KEYS}
    return DagSettings(**{**values, **{name: tuple(values[name]) for name in ("py_files", "flags")}})


def _problems(found: dict[str, Any], path: Path) -> list[str]:
    known = {k.name: k for k in KEYS}
    told = [
        f"{name}: {found[name]!r} is not a key; expected one of {', '.join(known)}; remove it"
        for name in sorted(set(found) - set(known))
    ]
    for name, key in known.items():
        if name not in found and key.default is None:
            told.append(f"{name}: missing; expected {key.expected}; add it to {path.name}")
        elif name in found and not key.accepts(found[name]):
            told.append(f"{name}: {found[name]!r}; expected {key.expected}; change it in {path.name}")
    if not told:
        told += _shared_profile(found, known)
    return told


def _shared_profile(found: dict[str, Any], known: dict[str, _Key]) -> list[str]:
    """Training and the RAPIDS plugin do not share a Spark application."""
    value = found.get("training_profile", known["training_profile"].default)
    file = Path(found["project"]) / value
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    if any(line.strip().startswith("spark.plugins") and "com.nvidia.spark" in line for line in lines):
        return [f"training_profile: {value!r} loads the RAPIDS plugin; expected a profile without it; name one of its own"]
    return []
