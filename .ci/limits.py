"""Limits that keep the house habitable: module and job sizes, hosts and paths that must not be committed, one door to Delta."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULE_LINES, JOB_LINES = 400, 80
DELTA = re.compile(r"""format\(\s*["']delta["']|["']delta["']\s*[,)\]]|\bdelta\.`|_delta_log|from delta\b|import delta\b""")
DELTA_ALLOWED = ("lib/equipoise/store/", "lib/equipoise/tables/schema.py", "lib/equipoise/spark/", "lib/equipoise/settings/")
HOST = re.compile(r"https?://(?:[\w.-]*\.)?(?:" + "|".join(["pypi", "pythonhosted", "maven", "repo1", "npmjs", "crates"]) + r")[\w.-]*")


def problems() -> list[str]:
    """Every broken limit, one line each."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True)
    found: list[str] = []
    for name in sorted(listed.stdout.split()):
        path = ROOT / name
        if not path.is_file() or path.suffix in (".png", ".ico"):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        lines = text.count("\n")
        if name.startswith("lib/") and name.endswith(".py") and lines > MODULE_LINES:
            found.append(f"{name}: {lines} lines, at most {MODULE_LINES}; split it")
        if name.startswith("jobs/") and name.endswith(".py") and lines > JOB_LINES:
            found.append(f"{name}: {lines} lines, at most {JOB_LINES}; move logic to lib/")
        if HOST.search(text):
            found.append(f"{name}: names a package host")
        if str(ROOT) in text:
            found.append(f"{name}: carries a path of this machine")
        if name.startswith(("lib/", "jobs/")) and name.endswith(".py") and not name.startswith(DELTA_ALLOWED) and DELTA.search(text):
            found.append(f"{name}: names the delta format; only store may")
        if name.startswith("lib/") and re.search(r"\bpetastorm\b", text) and "/stream/" not in name and re.search(r"^\s*(import|from) petastorm", text, re.M):
            found.append(f"{name}: imports petastorm; only stream may")
    return found


if __name__ == "__main__":
    broken = problems()
    sys.stdout.write("\n".join([*broken, f"limits: {len(broken)} broken"]) + "\n")
    sys.exit(bool(broken))
