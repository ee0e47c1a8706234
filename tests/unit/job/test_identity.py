"""The fingerprint of the code is that of its sources, from a folder and from the zip that goes to a cluster alike."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import equipoise

PACKAGE = Path(equipoise.__file__).parent
ASK = "import json; from pathlib import Path; import equipoise; from equipoise.job.identity import code_version; "
ASK += "print(json.dumps([equipoise.__file__, code_version(Path('none'))]))"


def version_of(place: Path) -> str:
    """As a process sees it that finds the package there first."""
    line = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(place)!r}); {ASK}"]
    file, version = json.loads(subprocess.run(line, capture_output=True, check=True, text=True).stdout)
    assert file.startswith(str(place))
    return str(version)


def zipped(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w") as out:
        for path in sorted(folder.rglob("*")):
            if "__pycache__" not in path.parts:
                out.write(path, path.relative_to(folder))
    return archive


def test_a_change_of_the_code_shows_in_a_folder_and_in_a_zip(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "a" / "equipoise")
    before = version_of(tmp_path / "a")
    assert version_of(zipped(tmp_path / "a", tmp_path / "a.zip")) == before
    with (tmp_path / "a" / "equipoise" / "segments" / "worth.py").open("a") as file:
        file.write("\n")
    after = version_of(tmp_path / "a")
    assert after != before
    assert version_of(zipped(tmp_path / "a", tmp_path / "b.zip")) == after
