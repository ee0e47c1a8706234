"""Vectors of the items in the examples, made once by the pretrained encoder before a tower is trained. Knows Spark."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.inference.udf import encode_texts, item_table, text_sha256
from equipoise.inference.worker import Setup

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def items_file(items: DataFrame, setup: Setup, *, max_tokens: int, into: Path) -> str:
    """Path of an `ItemTable` of the rows of feature.example_items.

    Args:
        setup: how the workers encode; its path is a local Hugging Face directory.
        into: folder on a disk that every rank mounts.
    """
    texts = items.select(text_sha256("text")).distinct().count()
    encoded = encode_texts(items, replace(setup, pretrained=True), max_tokens=max_tokens, expected=texts).persist()
    into.mkdir(parents=True, exist_ok=True)
    path = into / "items.safetensors"
    item_table(encoded).save(path)
    encoded.unpersist()
    return str(path)
