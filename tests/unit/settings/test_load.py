"""Settings: every problem at once, nearest names, every shipped file loads."""

from __future__ import annotations

from pathlib import Path

import pytest

from equipoise.errors import SettingsError
from equipoise.settings import help_text, parse_command_line, resolve

CONF = Path(__file__).resolve().parents[3] / "conf"
SHIPPED = sorted(CONF.rglob("*.toml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.name)
def test_every_shipped_file_loads(path: Path) -> None:
    assert parse_command_line(["--settings", str(path)], needs_as_of=False).settings.source.name


def test_flags_win_over_the_file_and_are_typed() -> None:
    flags = ["--recommend.k", "12", "--source.has-amounts=true", "--evaluate.frontier", "[0.0, 0.5]", "--as-of", "2017-11-06"]
    got = parse_command_line(["--settings", str(CONF / "demo.toml"), *flags], needs_as_of=True)
    assert got.settings.recommend.k == 12
    assert got.settings.evaluate.frontier == (0.0, 0.5)
    assert str(got.as_of) == "2017-11-06"


def test_all_problems_of_file_and_flags_come_at_once(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(
        '[source]\nadapter = "nothing"\nname = "Bad Name"\ntimezone = "Mars/Olympus"\n[windows]\norigin = "soon"\ndayz = 3\n'
    )
    with pytest.raises(SettingsError) as error:
        parse_command_line(["--settings", str(file), "--recomend.k", "3", "--as-of", "yesterday", "oops"], needs_as_of=True)
    text = str(error.value)
    for part in (
        "source.adapter",
        "source.name",
        "source.timezone: unknown time zone 'Mars/Olympus'",
        "identity: missing",
        "windows.origin",
        "windows.dayz: unknown; did you mean windows.days?",
        "--recomend.k: unknown flag; did you mean recommend.k?",
        "--as-of: 'yesterday' is not a date",
        "'oops': not a flag",
    ):
        assert part in text, text
    assert error.value.exit_code == 2


def test_a_flag_may_be_empty_and_half_a_list_is_told() -> None:
    demo = ["--settings", str(CONF / "demo.toml")]
    assert parse_command_line([*demo, "--monitors.alert_file", ""], needs_as_of=False).settings.monitors.alert_file == ""
    with pytest.raises(SettingsError) as error:
        parse_command_line([*demo, "--data_until", "", "--recommend.never_items", "[A, B]"], needs_as_of=False)
    told = str(error.value)
    assert "--data_until: " in told and "--recommend.never_items: '[A, B]' is no list or table as TOML writes it" in told
    assert """--recommend.never_items '["a", "b"]'""" in told and error.value.exit_code == 2


def test_contradictions_are_found() -> None:
    with pytest.raises(SettingsError, match="explore_slots = 10 must be less than k = 10"):
        parse_command_line(["--settings", str(CONF / "demo.toml"), "--recommend.explore_slots", "10"], needs_as_of=False)


def test_a_model_that_goes_on_is_not_pre_trained() -> None:
    flags = ["--training.warm_start", "current", "--training.pretraining", "categories"]
    with pytest.raises(SettingsError, match=r"warm_start = 'current' does not go with pretraining = 'categories'.*'none'"):
        parse_command_line(["--settings", str(CONF / "demo.toml"), *flags], needs_as_of=False)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(SettingsError, match=r"no file conf/none\.toml"):
        parse_command_line(["--settings", "conf/none.toml"], needs_as_of=False)


def test_help_lists_every_setting() -> None:
    text = help_text("job", "does it", needs_as_of=True)
    assert "--recommend.calibration" in text and "--as-of" in text and "[auto]" in text and "[0.01]" in text


def test_resolve_knows_packages_absolute_paths_and_uris(tmp_path: Path) -> None:
    assert resolve("x/y", tmp_path) == str(tmp_path / "x/y")
    assert resolve("/a/b", tmp_path) == "/a/b"
    assert resolve("s3a://b/c", tmp_path) == "s3a://b/c"
    assert resolve("package:pytest/x", tmp_path).endswith("/pytest/x")
    with pytest.raises(ValueError, match=r"'nowhere_at_all' of .* is not installed"):
        resolve("package:nowhere_at_all/x", tmp_path)
