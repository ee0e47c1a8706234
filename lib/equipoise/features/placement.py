"""Which key lands in which partition: Spark's own hash, so that partition i can be asked for by name."""

from __future__ import annotations

MASK = 0xFFFFFFFF
SPARK_SEED = 42
"""Seed of HashPartitioning (org.apache.spark.sql.catalyst.expressions.Murmur3Hash)."""


def salts(partitions: int) -> list[int]:
    """One INT per partition: `repartition(partitions, salt)` puts rows with the i-th salt into partition i.

    A plain `repartition(n, file_number)` hashes the number: several files share a partition and others stay empty.
    """
    found: dict[int, int] = {}
    candidate = 0
    while len(found) < partitions:
        found.setdefault(_signed(murmur3_int(candidate)) % partitions, candidate)
        candidate += 1
    return [found[i] for i in range(partitions)]


def murmur3_int(value: int, seed: int = SPARK_SEED) -> int:
    """Murmur3_x86_32 of one 32-bit integer, unsigned (Appleby, MurmurHash3.cpp; Spark's Murmur3_x86_32.hashInt)."""
    k = (value & MASK) * 0xCC9E2D51 & MASK
    k = _rotate(k, 15) * 0x1B873593 & MASK
    h = (_rotate(seed ^ k, 13) * 5 + 0xE6546B64) & MASK
    h ^= 4  # length in bytes
    h = (h ^ h >> 16) * 0x85EBCA6B & MASK
    h = (h ^ h >> 13) * 0xC2B2AE35 & MASK
    return h ^ h >> 16


def _rotate(x: int, bits: int) -> int:
    return (x << bits | x >> (32 - bits)) & MASK


def _signed(x: int) -> int:
    return x - (1 << 32) if x >> 31 else x
