"""Who made a model: the manifest, which holds the sha256 of every file, signed with a key that only the jobs' user can read."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from equipoise.checksum import file_sha256
from equipoise.errors import ModelError
from equipoise.models.package import MANIFEST, SIGNATURE

MIN_KEY_BYTES = 16
MAKE_ONE = "make one with: openssl rand -hex 32 > models.key; chmod 600 models.key"


def signing_key(path: str) -> bytes:
    """The key in a file, without white space at its ends; b"" for no path, which asks for no signature.

    Raises:
        ModelError: when the file cannot be read, or holds fewer than MIN_KEY_BYTES bytes.
    """
    if not path:
        return b""
    try:
        key = Path(path).read_bytes().strip()
    except OSError as error:
        raise ModelError(f"models.signing_key_file {path}: cannot be read ({error.strerror}); {MAKE_ONE}") from None
    if len(key) < MIN_KEY_BYTES:
        raise ModelError(
            f"models.signing_key_file {path}: the key has {len(key)} bytes, expected at least {MIN_KEY_BYTES}; {MAKE_ONE}"
        )
    return key


def manifest_sha256(folder: str | Path) -> str:
    """sha256 of the manifest: names the content of a model, since the manifest names that of every file."""
    return file_sha256(Path(folder) / MANIFEST)


def sign(folder: Path, key: bytes) -> None:
    """Writes the signature, HMAC-SHA-256 of the manifest (RFC 2104), beside it."""
    (folder / SIGNATURE).write_text(f"{_signature(folder, key)}\n", encoding="utf-8")


def check_signature(folder: Path, key: bytes) -> None:
    """Nothing, where the manifest is signed with the key.

    Raises:
        ModelError: when there is no signature, or it is another one.
    """
    file = folder / SIGNATURE
    if not file.is_file():
        raise ModelError(
            f"model {str(folder)!r} has no {SIGNATURE}; expected one, since models.signing_key_file is set; if you know where "
            f"the model comes from: python jobs/promote_model.py --sign {folder.name}"
        )
    if not hmac.compare_digest(file.read_text(encoding="utf-8").strip(), _signature(folder, key)):
        raise ModelError(
            f"model {str(folder)!r} was not signed with the key of models.signing_key_file, or was changed since; do not use it: "
            "restore it from where it was made, or run finetune_encoder again"
        )


def _signature(folder: Path, key: bytes) -> str:
    return hmac.new(key, (folder / MANIFEST).read_bytes(), hashlib.sha256).hexdigest()
