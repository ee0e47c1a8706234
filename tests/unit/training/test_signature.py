"""Models are signed when they are published, and none is used whose signature is missing, foreign or older than its files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from equipoise.errors import ModelError
from equipoise.inference import worker
from equipoise.job.promote import run_promote
from equipoise.models.package import MANIFEST, META, SIGNATURE, checksums, verify
from equipoise.models.signature import check_signature, manifest_sha256, sign, signing_key
from equipoise.training.registry import Registry
from tests.conftest import ROOT
from tests.unit.training.packages import GOOD, hollow

KEY, OTHER = b"0123456789abcdef", b"fedcba9876543210"


@pytest.fixture
def signed(tmp_path: Path) -> Registry:
    """A registry with the model a, published under the key."""
    registry = Registry(tmp_path / "models" / "encoder", KEY)
    made = Registry(tmp_path / "elsewhere")
    hollow(made, "a", GOOD)
    registry.root.mkdir(parents=True)
    registry.publish(made.path("a"), "a")
    return registry


def forged(registry: Registry) -> None:
    """Another model card figure, and a manifest that agrees with it: the sha256 alone would not tell."""
    folder = registry.path("a")
    meta = json.loads((folder / META).read_text())
    (folder / META).write_text(json.dumps(meta | {"max_tokens": 7}))
    (folder / MANIFEST).write_text(json.dumps({"sha256": checksums(folder)}))


def test_publishing_signs_and_what_is_signed_is_used(signed: Registry) -> None:
    assert (signed.path("a") / SIGNATURE).is_file()
    verify(signed.path("a"))
    signed.promote("a")
    assert signed.trusted("a") == signed.path("a")


def test_a_forged_model_is_refused_though_its_checksums_agree(signed: Registry) -> None:
    signed.promote("a")
    forged(signed)
    verify(signed.path("a"))
    for use in (signed.trusted, signed.promote):
        with pytest.raises(ModelError, match=r"not signed with the key .* or was changed since"):
            use("a")


def test_another_key_is_refused(signed: Registry) -> None:
    with pytest.raises(ModelError, match="not signed with the key"):
        Registry(signed.root, OTHER).trusted("a")
    assert Registry(signed.root).trusted("a") == signed.path("a")  # without a key nothing is asked


def test_a_model_from_before_the_key_is_refused_until_somebody_signs_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hollow(Registry(tmp_path / "models" / "encoder"), "old", GOOD)
    (tmp_path / "models.key").write_bytes(KEY + b"\n")
    registry = Registry(tmp_path / "models" / "encoder", KEY)
    with pytest.raises(ModelError, match=r"has no manifest\.sig.*promote_model\.py --sign old"):
        registry.promote("old")
    argv = ["--settings", str(ROOT / "conf" / "demo.toml"), "--warehouse", str(tmp_path), "--sign", "old"]
    assert run_promote(argv, "summary") == 1
    assert "there is no key to sign with" in capsys.readouterr().err
    assert run_promote([*argv, f"--models.signing_key_file={tmp_path}/models.key"], "summary") == 0
    assert capsys.readouterr().out == "old is signed\n"
    registry.promote("old")


def test_a_damaged_model_is_not_signed(signed: Registry) -> None:
    (signed.path("a") / "more").write_text("x")
    with pytest.raises(ModelError, match="damaged"):
        signed.sign("a")


@pytest.mark.parametrize(("content", "text"), [(None, "cannot be read"), (b"short", "has 5 bytes, expected at least 16")])
def test_a_key_that_is_none_says_how_to_make_one(tmp_path: Path, content: bytes | None, text: str) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(ModelError, match=text) as told:
        signing_key(str(tmp_path / "key"))
    assert "openssl rand -hex 32" in str(told.value)
    assert content is None or content.decode() not in str(told.value)
    assert signing_key("") == b""


def test_workers_refuse_a_manifest_that_the_driver_did_not_see(signed: Registry) -> None:
    folder = signed.path("a")
    seen = worker.Setup(str(folder), manifest=manifest_sha256(folder))
    forged(signed)
    with pytest.raises(ModelError, match="not the one that the driver checked"):
        worker.predictor(seen)


def test_the_signature_is_that_of_the_standard(tmp_path: Path) -> None:
    """RFC 4231, test case 2."""
    (tmp_path / MANIFEST).write_bytes(b"what do ya want for nothing?")
    sign(tmp_path, b"Jefe")
    assert (tmp_path / SIGNATURE).read_text().startswith("5bdcc146bf60754e6a042426089575c7")
    check_signature(tmp_path, b"Jefe")
