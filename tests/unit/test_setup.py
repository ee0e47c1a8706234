"""Set-up by stand-ins for what it installs: when it installs anew, which Java it looks at; and what is packed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

CI = Path(__file__).resolve().parents[2] / ".ci"
TOOLS = ("bash", "uname", "sed", "head", "sha256sum", "cut", "cat", "rm", "touch", "id", "dirname")


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def java(folder: Path, version: str) -> None:
    script(folder / "java", f"echo 'openjdk version \"{version}.0.1\"' >&2")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose uv only writes down what it is asked; a few tools and a wrong Java on PATH, a right one in jdk."""
    for name in ("setup.sh", "venv.sh"):
        (tmp_path / ".ci").mkdir(exist_ok=True)
        shutil.copy(CI / name, tmp_path / ".ci" / name)
    script(tmp_path / ".ci" / "jars.sh", "")
    for name in ("requirements.lock", ".ci/uv.lock", "pyproject.toml"):
        (tmp_path / name).write_text("")
    for home in (".venv", ".venv-more"):
        script(tmp_path / home / "bin" / "python", "")
    script(tmp_path / ".venv" / "bin" / "uv", f'echo "$*" >> {tmp_path}/asked')
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(str(shutil.which(tool)))
    java(tmp_path / "bin", "11")
    java(tmp_path / "jdk" / "bin", "17")
    return tmp_path


def run(project: Path, *command: str, java_home: str = "jdk") -> subprocess.CompletedProcess[str]:
    env = {"PATH": str(project / "bin"), "PYTHON": "/bin/true", "JAVA_HOME": str(project / java_home)}
    return subprocess.run(["bash", *command], cwd=project, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", [(".ci/setup.sh",), (".ci/venv.sh", "more", "requirements.lock", "")])
def test_going_back_to_an_earlier_lock_installs_it_again(project: Path, command: tuple[str, ...]) -> None:
    for locked in ("1", "2", "1", "1"):
        (project / "requirements.lock").write_text(locked)
        ran = run(project, *command)
        assert ran.returncode == 0, ran.stderr
    asked = (project / "asked").read_text().splitlines()
    assert sum("pip sync" in line for line in asked) == 3


def test_the_java_that_spark_will_take_is_looked_at(project: Path) -> None:
    java(project / "old" / "bin", "8")
    java(project / "bin", "17")
    ran = run(project, ".ci/setup.sh", java_home="old")
    assert ran.returncode == 1
    assert f"Java ({project}/old/bin/java) is '8', expected 17 or 21" in ran.stderr


def test_what_may_be_run_still_may_be_out_of_a_packed_environment(tmp_path: Path) -> None:
    """Spark has tar unpack a .tar.gz, modes and all; a plain .tar it unpacks itself, and forgets them."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(CI / "pack.sh", tmp_path / ".ci" / "pack.sh")
    (tmp_path / "requirements.lock").write_text("")
    told = f'*sysconfig*) echo {tmp_path}/stdlib - - 3.11 ;; *) exec {sys.executable} "$@" ;;'
    script(tmp_path / ".venv" / "bin" / "python", f'case "$*" in {told} esac')
    for file in ("stdlib/os.py", ".venv/lib/python3.11/site-packages/torch.py"):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text("")
    pack = ["bash", ".ci/pack.sh"]
    said = [subprocess.run(pack, cwd=tmp_path, capture_output=True, text=True, check=True).stderr for _ in range(2)]
    assert ["of these packages already" in text for text in said] == [False, True]
    with tarfile.open(tmp_path / "dist" / "environment.tar.gz", "r:gz") as packed:
        modes = {m.name: m.mode for m in packed if m.isfile()}
    library = "lib/python3.11"
    assert modes.keys() == {"bin/python", "bin/python3.11", f"{library}/os.py", f"{library}/site-packages/torch.py"}
    assert sorted(name for name, mode in modes.items() if mode & 0o100) == ["bin/python", "bin/python3.11"]
    assert sorted(p.name for p in (tmp_path / "dist").iterdir()) == ["environment.mark", "environment.tar.gz"]
