"""What is installed against what the lock file says, and dist/sbom.json (CycloneDX 1.6) of all of it. Needs no network.

Checks, of the environment in .venv: every package of requirements.lock is there in its version and nothing else is; every file of every package
is what its RECORD says (sha256); every package finds the versions that it asks for; the jars are those of conf/spark/jars.sha256. Ends with 1 when something is not so.
"""

from __future__ import annotations

import base64
import hashlib
import re
import sys
import uuid
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
OURS = "equipoise"
TOOLS = {"pip", "uv"}
"""What set-up itself brings; uv is pinned in .ci/uv.lock, pip comes with Python."""


def locked(text: str) -> dict[str, tuple[str, list[str]]]:
    """Name → version and sha256 sums of what may be installed."""
    found: dict[str, tuple[str, list[str]]] = {}
    for block in re.split(r"\n(?=\S)", text):
        if pin := re.match(r"([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", block):
            found[str(canonicalize_name(pin[1]))] = (pin[2], re.findall(r"sha256:([0-9a-f]{64})", block))
    return found


def wrong_versions(there: dict[str, Distribution], lock: dict[str, tuple[str, list[str]]]) -> Iterator[str]:
    """Packages that are missing, of another version, or not in the lock file."""
    for name, (version, _) in sorted(lock.items()):
        if name not in there:
            yield f"{name} {version} is in the lock file and not installed"
        elif there[name].version != version:
            yield f"{name} is {there[name].version}, expected {version}"
    yield from (
        f"{name} {there[name].version} is installed and not in the lock file"
        for name in sorted(set(there) - set(lock) - TOOLS - {OURS})
    )


def wrong_files(there: dict[str, Distribution]) -> Iterator[str]:
    """Files that are not what the package's RECORD says."""
    for name, package in sorted(there.items()):
        for file in package.files or []:
            if file.hash is None or name == OURS:
                continue
            place = Path(str(package.locate_file(file)))
            if not place.is_file():
                yield f"{name}: {file} is missing"
                continue
            digest = hashlib.new(file.hash.mode)
            with place.open("rb") as content:
                while block := content.read(1 << 20):
                    digest.update(block)
            if base64.urlsafe_b64encode(digest.digest()).decode().rstrip("=") != file.hash.value:
                yield f"{name}: {file} is not what was installed"


def unmet(there: dict[str, Distribution]) -> Iterator[str]:
    """Versions that a package asks for and does not find."""
    for name, package in sorted(there.items()):
        for line in package.requires or []:
            asked = Requirement(line)
            if asked.marker and not asked.marker.evaluate({"extra": ""}):
                continue
            found = there.get(str(canonicalize_name(asked.name)))
            if found is None or not asked.specifier.contains(found.version, prereleases=True):
                yield f"{name} asks for {asked.name}{asked.specifier}, there is {found.version if found else 'none'}"


def jars() -> dict[str, str]:
    """Name → sha256 that the jars must have."""
    lines = (ROOT / "conf" / "spark" / "jars.sha256").read_text().split("\n")
    return {line.split()[1]: line.split()[0] for line in lines if line.strip()}


def wrong_jars() -> Iterator[str]:
    """Jars that are missing or others."""
    for name, wanted in sorted(jars().items()):
        place = ROOT / ".jars" / name
        if not place.is_file():
            yield f"{name} is missing; run make setup"
        elif hashlib.sha256(place.read_bytes()).hexdigest() != wanted:
            yield f"{name} is not the jar that was pinned"


def licence(package: Distribution) -> str | None:
    """What a package says of its licence, in a line."""
    told = package.metadata
    classified = [c.split(" :: ")[-1] for c in told.get_all("Classifier") or [] if c.startswith("License ::")]
    short = next((t for t in (told.get("License-Expression"), *classified, told.get("License")) if t and len(t) < 100), None)
    return short.replace("\n", " ") if short else None


def bill(there: dict[str, Distribution], lock: dict[str, tuple[str, list[str]]]) -> str:
    """The software bill of materials, checked against its schema."""
    made = Bom(serial_number=uuid.uuid5(uuid.NAMESPACE_URL, repr((sorted(lock.items()), sorted(jars().items())))))
    made.metadata.component = Component(name=OURS, version=there[OURS].version, type=ComponentType.APPLICATION)
    for name, (version, _) in sorted(lock.items()):
        said = licence(there[name]) if name in there else None
        made.components.add(
            Component(
                name=name,
                version=version,
                purl=PackageURL("pypi", None, name, version),
                bom_ref=f"{name}=={version}",
                licenses=[DisjunctiveLicense(name=said)] if said else None,
            )
        )
    for name, digest in sorted(jars().items()):
        artifact, version = re.match(r"(.+?)-(\d[\w.]*)\.jar$", name).groups()  # type: ignore[union-attr]
        made.components.add(
            Component(name=artifact, version=version, bom_ref=name, hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)])
        )
    made.register_dependency(made.metadata.component, list(made.components))
    text = JsonV1Dot6(made).output_as_string(indent=2)
    if problem := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise SystemExit(f"the bill of materials does not keep the schema of CycloneDX 1.6: {problem}")
    return text


def main() -> int:
    site = next((ROOT / ".venv" / "lib").glob("python3.*")) / "site-packages"
    there = {str(canonicalize_name(d.metadata["Name"])): d for d in distributions(path=[str(site)])}
    lock = locked((ROOT / "requirements.lock").read_text())
    checks = {
        "versions": list(wrong_versions(there, lock)),
        "requirements of packages": list(unmet(there)),
        "files": list(wrong_files(there)),
        "jars": list(wrong_jars()),
    }
    for name, problems in checks.items():
        print(f"{name}: {'as pinned' if not problems else f'{len(problems)} problems'}")
        print("".join(f"  {p}\n" for p in problems[:20]), end="")
    target = ROOT / "dist" / "sbom.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(bill(there, lock) + "\n", encoding="utf-8")
    print(f"{len(lock)} packages and {len(jars())} jars in {target.relative_to(ROOT)}")
    return int(any(checks.values()))


if __name__ == "__main__":
    sys.exit(main())
