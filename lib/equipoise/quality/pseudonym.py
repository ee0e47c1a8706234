"""User ids → pseudonyms: HMAC-SHA-256 under a key that only the workers read, from its file."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pandas as pd
from pyspark.sql import Column
from pyspark.sql.pandas.functions import pandas_udf

from equipoise.errors import SettingsError

DIGITS = 32
MIN_KEY_BYTES = 16
MAKE_ONE = "make one with: openssl rand -hex 32"
PUBLISHED_MARK = b"# published key"
"""First words of a key file that everyone may read; what follows on that line is for people."""

KNOWN_PUBLISHED_SHA256 = frozenset({"d74218094c10e2fe4b20d3863885c00e3174450d6c9e43d551330be1a8a42253"})
"""Keys that this project has published: refused even where somebody cut the mark off."""


def read_key(path: str, *, published_key: bool) -> bytes:
    """The key in a file: its text without a marked first line and without the line's end.

    Raises:
        SettingsError: when the file is missing, the key too short, or the key is published and `published_key` is false.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise SettingsError(f"identity.key_file {path}: cannot be read ({error.strerror}); {MAKE_ONE}") from None
    marked = content.startswith(PUBLISHED_MARK)
    key = (content.partition(b"\n")[2] if marked else content).strip()
    if len(key) < MIN_KEY_BYTES:
        raise SettingsError(
            f"identity.key_file {path}: the key has {len(key)} bytes, expected at least {MIN_KEY_BYTES}; {MAKE_ONE}"
        )
    published = marked or hashlib.sha256(key).hexdigest() in KNOWN_PUBLISHED_SHA256
    if published and not published_key:
        raise SettingsError(
            f"identity.key_file {path}: this key is published, so anyone could undo the pseudonyms; {MAKE_ONE} "
            "(only a demo may set identity.published_key = true)"
        )
    return key


def key_id(key: bytes) -> str:
    """A name for the key that does not give it away; part of a run's fingerprint, since a new key makes every pseudonym new."""
    return hmac.digest(key, b"equipoise key id", "sha256").hex()[:16]


def pseudonym(raw_user: str, key: bytes) -> str:
    """HMAC-SHA-256 of the id's UTF-8 bytes, first 32 hex digits."""
    return hmac.digest(key, raw_user.encode(), "sha256").hex()[:DIGITS]


def pseudonyms(path: str, *, published_key: bool) -> Callable[[Column], Column]:
    """A function column of raw ids → column of pseudonyms, null for null. Each distinct id of an Arrow batch is hashed once.

    Only the path travels to the workers, so the file must be there under the same path.
    """

    def hashed(batches: Iterator[pd.Series[str]]) -> Iterator[pd.Series[str]]:
        key = read_key(path, published_key=published_key)
        for ids in batches:
            known = {u: pseudonym(u, key) for u in ids.dropna().unique()}
            yield ids.map(known).astype(object)

    # at run time pandas' Series takes no type argument
    series = Iterator[pd.Series]  # type: ignore[type-arg]
    hashed.__annotations__ = {"batches": series, "return": series}
    return cast("Callable[[Column], Column]", cast(Any, pandas_udf)(hashed, "string"))
