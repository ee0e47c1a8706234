"""The files of a source: what counts as data, and links that lead elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from equipoise.errors import SourceError
from equipoise.sources.paths import content_hashes, local_files


def test_data_files_of_all_levels_and_nothing_that_is_hidden(tmp_path: Path) -> None:
    for name in ("b/2.csv", "a.csv", "_log/x.csv", ".hidden", "b/.crc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert [str(f.relative_to(tmp_path)) for f in local_files(f"file://{tmp_path}")] == ["a.csv", "b/2.csv"]
    assert sorted(content_hashes(local_files(str(tmp_path)))) == ["a.csv", "b/2.csv"]


def test_links_within_the_folder_are_data_and_those_that_lead_out_are_refused(tmp_path: Path) -> None:
    data, elsewhere = tmp_path / "data", tmp_path / "passwords"
    (data / "day").mkdir(parents=True)
    (data / "day" / "1.csv").write_text("a")
    (data / "now.csv").symlink_to(data / "day" / "1.csv")
    assert [f.name for f in local_files(str(data))] == ["1.csv", "now.csv"]
    elsewhere.write_text("root")
    (data / "2.csv").symlink_to(elsewhere)
    with pytest.raises(SourceError, match=r"2\.csv: is a link to .*passwords, outside .*; put the file itself there"):
        local_files(str(data))
    linked = tmp_path / "linked"
    linked.symlink_to(data / "day")
    assert [f.name for f in local_files(str(linked))] == ["1.csv"], "the folder itself may be a link: the settings name it"
