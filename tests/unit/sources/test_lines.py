"""Every line of a text file comes out: split, or marked broken and whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from equipoise.errors import SourceError
from equipoise.sources.lines import read_json_lines, read_separated


def write(folder: Path, name: str, *lines: bytes) -> str:
    path = folder / name
    path.write_bytes(b"\n".join(lines) + b"\n")
    return str(path)


def test_csv(spark: SparkSession, tmp_path: Path) -> None:
    table: list[tuple[bytes, tuple[str | None, ...] | None, bool, bool]] = [
        # line, fields (None: broken), bad_utf8, replaced
        (b"1,2,x", ("1", "2", "x"), False, False),
        (b'1,"2,3","a ""b"""', ("1", "2,3", 'a "b"'), False, False),
        (b"1,,", ("1", None, None), False, False),
        (b"1,2", None, False, False),
        (b"1,2,3,4", None, False, False),
        (b'1,2,"torn', None, False, False),
        (b'1,2,12" pipe', ("1", "2", '12" pipe'), False, False),
        (b"1,2,caf\xe9", ("1", "2", "café"), True, False),
        ("1,2,caf\ufffd".encode(), ("1", "2", "caf\ufffd"), False, True),
        ("1,2,naïve".encode(), ("1", "2", "naïve"), False, False),
    ]
    file = write(tmp_path, "a.csv", b"\xef\xbb\xbfu,i,broken", *[t[0] for t in table[:5]], b"", *[t[0] for t in table[5:]])
    rows = read_separated(spark, [file], "csv").coalesce(1).collect()
    got = [(None if r["broken"] else tuple(r["raw"]), r["bad_utf8"], r["replaced"]) for r in rows]
    assert got == [t[1:] for t in table]
    assert [r["line"] for r in rows] == [t[0].decode() if t[1] is None else None for t in table]
    assert rows[0]["raw"].asDict() == {"u": "1", "i": "2", "broken": "x"}, "their names may be ours"


def test_tsv_has_no_quotes(spark: SparkSession, tmp_path: Path) -> None:
    file = write(tmp_path, "a.tsv", b"u:token\tt:token_seq", b'1\t"Quoted, or not', b"1\t2\t3")
    rows = read_separated(spark, [file], "tsv").coalesce(1).collect()
    assert [(r["broken"], r["raw"]["t:token_seq"]) for r in rows] == [(False, '"Quoted, or not'), (True, "2")]


def test_files_must_agree(spark: SparkSession, tmp_path: Path) -> None:
    a, b = write(tmp_path, "a.csv", b"u,i", b"1,2"), write(tmp_path, "b.csv", b"i,u", b"2,1")
    with pytest.raises(SourceError, match=r"b\.csv: header 'i,u' differs from 'u,i'"):
        read_separated(spark, [a, b], "csv")
    assert read_separated(spark, [a, write(tmp_path, "c.csv", b"u,i", b"3,4")], "csv").count() == 2
    with pytest.raises(SourceError, match="empty"):
        read_separated(spark, [write(tmp_path, "d.csv", b"")], "csv")
    with pytest.raises(SourceError, match="empty or repeated column names"):
        read_separated(spark, [write(tmp_path, "e.csv", b"u,u", b"1,2")], "csv")


def test_json_lines(spark: SparkSession, tmp_path: Path) -> None:
    table: list[tuple[bytes, dict[str, str | None] | None]] = [
        (b'{"u": 1, "x": {"a": [1, 2]}, "n": null}', {"u": "1", "x": '{"a":[1,2]}', "n": None}),
        (b'{"u": "caf\\u00e9"}', {"u": "café"}),
        (b'{"u": 1', None),
        (b"[1, 2]", None),
        (b'"text"', None),
        (b'{"u": 1} {"u": 2}', None),
        (b'{"u": 1}, {"u": 2}', None),
        (b'{"u": 1} and more', None),
        (b'{"u": 1, "u": 2}', None),
        (b"{}", {}),
        (b'{"u": "caf\xe9"}', {"u": "café"}),
    ]
    file = write(tmp_path, "a.jsonl", *[t[0] for t in table])
    rows = read_json_lines(spark, [file]).coalesce(1).collect()
    assert [None if r["broken"] else r["fields"] for r in rows] == [t[1] for t in table]
    assert [r["line"] for r in rows] == [t[0].decode() if t[1] is None else None for t in table]
    assert [r["bad_utf8"] for r in rows] == [False] * 10 + [True]
