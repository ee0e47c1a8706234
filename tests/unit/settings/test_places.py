"""Which places a settings file may name: every one of them is checked, and told with the way out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from equipoise.errors import SettingsError
from equipoise.places import Place, beside, fault, is_remote, scheme
from equipoise.settings import Settings, parse_command_line

CONF = Path(__file__).resolve().parents[3] / "conf"
ANYWHERE, READ, HERE = Place(uri=True, written=True), Place(uri=True), Place()
SCHEMES = ("file", "s3a", "hdfs", "abfss")


@pytest.mark.parametrize(
    "path", ["warehouse", "/data/ware house", "s3a://bucket/a/b", "hdfs://name:8020/w", "file:///w", "ä/ö%20"]
)
def test_places_that_may_be_written(path: str) -> None:
    assert fault(path, ANYWHERE, SCHEMES) is None


@pytest.mark.parametrize(
    ("path", "kind", "why"),
    [
        ("a\0b", HERE, "control character"),
        ("a\nb", ANYWHERE, "control character"),
        ("a\x7f", READ, "control character"),
        ("../w", ANYWHERE, r"goes up by '\.\.'"),
        ("a/../../w", Place(written=True), r"goes up by '\.\.'"),
        ("s3a://bucket/../other", READ, r"goes up by '\.\.'"),
        ("s3a://bucket/%2e%2e/other", READ, r"goes up by '\.\.'"),
        ("package:numpy/../../etc/passwd", HERE, r"goes up by '\.\.'"),
        ("http://host/x", READ, "scheme 'http', expected one of abfss, file, hdfs, s3a"),
        ("S3://bucket/x", ANYWHERE, "scheme 's3'"),
        ("jar:/a", READ, "scheme 'jar'"),
        ("s3a://key:word@bucket/x", ANYWHERE, "holds a user or a password"),
        ("s3a://bucket/x?versionId=1", READ, "holds '\\?' or '#'"),
        ("hdfs:/w", ANYWHERE, "expected hdfs://"),
        ("file:/w", ANYWHERE, "expected file:///"),
        ("file://host/w", ANYWHERE, "expected file:///"),
        ("s3a://bucket/key", HERE, "is a URI, expected a path of this machine"),
    ],
)
def test_places_that_are_refused(path: str, kind: Place, why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(fault(path, kind, SCHEMES))


def test_what_is_read_may_lie_beside_the_settings_and_abfss_names_its_container_by_an_at() -> None:
    assert fault("../data/events.csv", READ, SCHEMES) is None
    assert fault("abfss://container@account.dfs.core.windows.net/w", ANYWHERE, SCHEMES) is None


def test_a_uri_is_told_from_a_path() -> None:
    assert [is_remote(p) for p in ("w", "/w", "file:///w", "s3a://b/w", "hdfs:/w", "package:a/b")] == [False] * 3 + [
        True,
        True,
        False,
    ]
    assert scheme("S3A://b") == "s3a"
    assert [beside(p, "x") for p in ("r.html", "a/r.html", "s3a://b/r.html")] == ["x", "a/x", "s3a://b/x"]


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, bool]]:
    """Dotted name of every setting, and whether it is marked as a place."""
    for name, info in model.model_fields.items():
        inner = [k for k in (info.annotation, *get_args(info.annotation)) if isinstance(k, type) and issubclass(k, BaseModel)]
        if inner:
            yield from leaves(inner[0], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", any(isinstance(m, Place) for m in info.metadata)


def test_every_setting_that_speaks_of_a_file_is_checked() -> None:
    """By their descriptions, so that a new one cannot be forgotten."""
    spoken = {}
    for name, marked in leaves(Settings):
        model: type[BaseModel] = Settings
        *sections, key = name.split(".")
        for section in sections:
            info = model.model_fields[section]
            kinds = (info.annotation, *get_args(info.annotation))
            model = next(k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel))
        info = model.model_fields[key]
        first = f"{key} {info.description}".split(".")[0].lower()
        if info.annotation in (str, tuple[str, ...]) and any(w in first for w in ("file", "folder", "director", "csv", "path")):
            spoken[name] = marked
    assert {n for n, marked in spoken.items() if not marked} == set()
    assert len(spoken) > 10


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--warehouse", "../elsewhere"], r"warehouse = '\.\./elsewhere' goes up by"),
        (["--warehouse", "http://host/w"], "warehouse = 'http://host/w' has the scheme 'http'"),
        (["--identity.key_file", "s3a://bucket/key"], "identity.key_file = 's3a://bucket/key' is a URI"),
        (["--report.path", "a/../../r.html"], r"report.path = 'a/\.\./\.\./r.html' goes up"),
        (["--warehouse", "s3a://bucket/w"], "two jobs at once could lose each other's commits.*set it"),
        (["--warehouse", "s3a://bucket/w", "--shared_folder", "s3a://bucket/m"], "shared_folder = 's3a://bucket/m' is a URI"),
    ],
)
def test_settings_refuse_them(flags: list[str], told: str) -> None:
    with pytest.raises(SettingsError, match=told) as error:
        parse_command_line(["--settings", str(CONF / "simulated.toml"), *flags], needs_as_of=False)
    assert error.value.exit_code == 2


def test_every_wrong_place_is_told_at_once_and_a_list_names_its_entry() -> None:
    flags = ["--warehouse", "../w", "--monitors.alert_file", "x/../y", "--training.back_translation", "0.1"]
    flags += ["--training.back_translation_models", '["there", "s3a://b/back"]']
    with pytest.raises(SettingsError) as error:
        parse_command_line(["--settings", str(CONF / "simulated.toml"), *flags], needs_as_of=False)
    for name in ("warehouse = ", "monitors.alert_file = ", "training.back_translation_models.1 = 's3a://b/back'"):
        assert name in str(error.value)


def test_a_scheme_can_be_allowed_and_models_move_with_the_shared_folder() -> None:
    flags = ["--warehouse", "gs://bucket/w", "--uri_schemes", '["gs"]', "--shared_folder", "/mnt/models"]
    found = parse_command_line(["--settings", str(CONF / "simulated.toml"), *flags], needs_as_of=False).settings
    assert (found.warehouse, found.home) == ("gs://bucket/w", "/mnt/models")
    alone = parse_command_line(["--settings", str(CONF / "simulated.toml")], needs_as_of=False).settings
    assert alone.home == alone.warehouse
