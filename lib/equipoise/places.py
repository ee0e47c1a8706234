"""Where things lie: a path of this machine or a URI; which of them a settings file may name."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import unquote

SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*):(?=/)")
LOST_COMMITS = frozenset({"s3", "s3a", "s3n"})
"""Stores where Delta 4.0.1 cannot put a file only where none is (S3SingleDriverLogStore locks within one JVM): of two drivers
that commit the same version, the later one's file takes the place of the other's, and neither is told."""

WRITABLE = "expected a folder that this user may write to, on a disk that is mounted for writing"
"""What is asked of a place that could not be written."""


@dataclass(frozen=True)
class Place:
    """Marks a setting that names a place. uri: it may lie on another store; written: the jobs write there."""

    uri: bool = False
    written: bool = False


def scheme(path: str) -> str:
    """Scheme of a URI in lower case; 'file' for a path of this machine."""
    found = SCHEME.match(path)
    return found[1].lower() if found else "file"


def is_remote(path: str) -> bool:
    """Whether it is a URI of another file system than this machine's."""
    return scheme(path) != "file"


def local(path: str) -> str:
    """A path of this machine without its scheme."""
    return path.removeprefix("file://")


def beside(path: str, name: str) -> str:
    """Another file of the same folder."""
    return f"{path.rpartition('/')[0]}/{name}" if "/" in path else name


def fault(path: str, kind: Place, schemes: Collection[str]) -> str | None:
    """Why a setting may not name this place, and the way out; None where it may."""
    if any(ord(c) < 32 or ord(c) == 127 for c in path):
        return "holds a control character, which no name of a file should; take it out"
    package, is_uri = path.startswith("package:"), SCHEME.match(path) is not None
    if is_uri:
        known = scheme(path)
        if not kind.uri:
            return "is a URI, expected a path of this machine; copy the file here and name it"
        if known not in schemes:
            listed = ", ".join(sorted(schemes))
            return f"has the scheme {known!r}, expected one of {listed}; if it is meant, add it to uri_schemes"
        if known == "file" and not re.match(r"^file:///[^/]", path):
            return "is no URI of a file here; expected file:///folder/file, or the path alone"
        if path[len(known) + 1 :][:2] != "//":
            return f"has one slash after its scheme, expected {known}://…"
        if "@" in path.split("/")[2] and not known.startswith("abfs"):  # there the container stands before the @
            return "holds a user or a password, which would stand in plans and logs; give credentials by a provider"
        if "?" in path or "#" in path:
            return "holds '?' or '#', which a path of Hadoop has no use for; take it out"
    if (kind.written or package or is_uri) and ".." in unquote(path).split("/"):
        return "goes up by '..'; name the folder itself, so that nothing is read or written elsewhere than it seems"
    return None
