"""A log with every fault goes through the job: to the row, whole in the quarantine, and with no user id in the clear."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jobs.ingest_events import JOB
from jobs.ingest_events import run as body
from pyspark.sql import SparkSession

from equipoise.job.run import run
from equipoise.store import Store
from equipoise.tables import CATALOGUE

TOML = """
warehouse = "{folder}/warehouse"
data_until = 2018-01-01
[source]
adapter = "files"
name = "shop"
timezone = "America/New_York"
category_level = 2
[source.events]
path = "{folder}/events.csv"
values = {{ event_type = {{ bought = "purchase", seen = "view" }} }}
[source.events.columns]
user_id = "customer"
item_id = "sku"
event_type = "action"
time = "at"
quantity = "qty"
amount = "paid"
text = "note"
[source.items]
path = "{folder}/items.csv"
columns = {{ item_id = "sku", title = "name", category_1 = "dept", category_2 = "aisle" }}
[identity]
key_file = "{folder}/secret.key"
[quality]
max_quarantined_share = {share}
[windows]
origin = 2017-01-02
"""
HEADER = b"customer,sku,action,at,qty,paid,note"
GOOD = [
    f"cust-{n % 7:04d},sku-{n % 5},seen,2017-03-{n % 28 + 1:02d}T10:{n % 60:02d}:00Z,1,2.50,n{n}".encode() for n in range(100)
]
BAD: list[tuple[bytes, list[str]]] = [
    (b",sku-1,seen,2017-03-01T10:00:00Z,1,2,", ["user_missing"]),
    (b"cust-0001,,bought,2017-03-01T10:00:00Z,1,2,", ["item_missing"]),
    (b"cust-0001,sku-1,stolen,2017-03-01T10:00:00Z,1,2,", ["event_type_unknown"]),
    (b"cust-0001,sku-1,seen,someday,1,2,", ["time_unreadable"]),
    (b"cust-0001,sku-1,seen,,1,2,", ["time_missing"]),
    (b"cust-0001,sku-1,seen,2018-01-01T05:00:00Z,1,2,midnight in New York", ["time_in_future"]),
    (b"cust-0001,sku-1,bought,2017-03-01T11:00:00Z,-1,-2,", ["amount_negative", "quantity_negative"]),
    (b"cust-0001,sku-1,bought,2017-03-01T12:00:00Z,two,2,", ["value_unreadable"]),
    (b"cust-0002,sku-1,bought,2017-03-01T13:00:00Z,1,2,caf\xe9", ["not_utf8"]),
    (b"cust-0003,sku-1,bought", ["broken_line"]),
    (b"cust-0004,sku-1,bought,2017-03-01T14:00:00Z,1,2,so, so", ["broken_line"]),
    (b"oops,cust-0005,sku-1,bought,2017-03-01T14:00:00Z,1,2,shifted", ["broken_line"]),
    (b'never-seen 9,sku-1,bought,2017-03-01T14:00:00Z,1,2,"torn', ["broken_line"]),
    (GOOD[3], ["duplicate"]),
]
WARNED = [
    b"cust-0001,sku-1,bought,2017-12-31T23:59:00-05:00,0,0,the last minute",
    b"cust-0001,sku-9,bought,2017-03-02T10:00:00Z,1,2,an item that no catalogue knows",
    b"cust-0001,sku-1,bought,2017-03-02T11:00:00Z,500,2,an outlier",
    "cust-0001,sku-1,bought,2017-03-02T12:00:00Z,1,2,caf\ufffd".encode(),
]
ITEMS = [b"sku,name,dept,aisle", *[f"sku-{n},Thing {n},home,{'kitchen' if n % 2 else 'garden'}".encode() for n in range(5)]]


def shop(folder: Path, rows: list[bytes], share: float) -> list[str]:
    (folder / "events.csv").write_bytes(b"\n".join([HEADER, *rows]) + b"\n")
    (folder / "items.csv").write_bytes(b"\n".join(ITEMS) + b"\n")
    (folder / "secret.key").write_text("0123456789abcdef0123456789abcdef\n")
    (folder / "shop.toml").write_text(TOML.format(folder=folder, share=share))
    return ["--settings", str(folder / "shop.toml")]


def job(argv: list[str]) -> int:
    return run(JOB, body, argv, Path("jobs/ingest_events.py"))


def test_every_fault_is_caught_whole_and_nameless(spark: SparkSession, store: Store, tmp_path: Path) -> None:
    assert job(shop(tmp_path, [*GOOD, *[b for b, _ in BAD], *WARNED], share=0.2)) == 0
    quarantine = store.read("ops.quarantine").orderBy("row_number").collect()
    assert store.read("silver.events").count() == len(GOOD) + len(WARNED)
    assert sorted(list(r["rules"]) for r in quarantine) == sorted(rules for _, rules in BAD)
    assert [r["row_number"] for r in quarantine] == list(range(1, len(BAD) + 1))
    _the_rows_are_whole({json.dumps(json.loads(r["row_json"]), sort_keys=True): r["rules"] for r in quarantine})

    metrics = {(r["table_name"], r["metric"]): (r["value"], r["status"]) for r in store.read("ops.quality_metrics").collect()}
    assert metrics["events", "rows_in"] == (118.0, "ok")
    assert metrics["events", "rows_good"] == (104.0, "ok")
    assert metrics["events", "rows_quarantined"] == (14.0, "warn")
    assert metrics["events", "rule:broken_line"] == (4.0, "warn")
    assert metrics["events", "rule:item_unknown"] == (1.0, "warn")
    assert metrics["events", "rule:quantity_outlier"] == (1.0, "warn")
    assert metrics["events", "rule:damaged_text"] == (1.0, "warn")
    assert metrics["events", "rule:dwell_negative"] == (0.0, "ok")

    items = {r["item_id"]: r for r in store.read("silver.items").collect()}
    assert (items["sku-9"]["title"], items["sku-9"]["category_2"]) == ("item sku-9", "UNKNOWN")
    assert items["sku-1"]["text"] == "Thing 1, kitchen, home"
    paths = {
        r["item_id"]: (r["category"], r["category_path"], r["weight"]) for r in store.read("silver.item_categories").collect()
    }
    assert paths["sku-1"] == ("kitchen", "home > kitchen", 1.0)
    last = store.read("silver.events").filter("text = 'the last minute'").collect()[0]
    assert (str(last["event_date"]), last["quantity"], last["event_type"]) == ("2017-12-31", 0.0, "purchase")
    _no_user_id_anywhere(store)


def _the_rows_are_whole(rows: dict[str, list[str]]) -> None:
    """Every value that stood in a row stands in the quarantine, the user id apart."""
    texts = " ".join(str(v) for t in rows for v in json.loads(t).values())
    for raw, _ in BAD:
        _user, *values = raw.decode("latin-1").replace('"', "").split(",")
        assert all(v in texts.replace('"', "") for v in values if not v.startswith("cust-")), raw
    parsed = [json.loads(t) for t in rows]
    assert {"customer", "sku", "action", "at", "qty", "paid", "note"} in [set(p) for p in parsed]
    assert [p["note"] for p in parsed if p.get("note", "") and "caf" in p["note"]] == ["café"], "no byte is lost"
    assert sum("line" in p for p in parsed) == 4
    assert any("so, so" in p.get("line", "") for p in parsed)


def _no_user_id_anywhere(store: Store) -> None:
    for table in (*JOB.writes, "ops.runs"):
        frame = store.read(table)
        everything = " ".join(str(r) for r in frame.collect())
        assert "cust-00" not in everything, table
        assert "never-seen 9" not in everything, table
        assert "0123456789abcdef0123456789abcdef" not in everything, table


@pytest.mark.slow
def test_the_gate_leaves_silver_alone_and_a_mended_source_replaces_it(spark: SparkSession, store: Store, tmp_path: Path) -> None:
    assert job(shop(tmp_path, GOOD[:10], share=0.01)) == 0
    before = store.version("silver.events")
    assert job(shop(tmp_path, [*GOOD[:20], b"torn"], share=0.01)) == 3
    assert store.version("silver.events") == before
    assert store.read("silver.events").count() == 10
    gated = store.read("ops.quality_metrics").filter("status = 'fail'").collect()
    assert {(r["table_name"], r["metric"]) for r in gated} == {("events", "rows_quarantined"), ("events", "quarantined_share")}
    assert store.read("ops.quarantine").collect()[0]["rules"] == ["broken_line"]
    message = store.read("ops.runs").filter("status = 'gated'").collect()[0]["message"]
    assert "events: 1 of 21 rows (4.76%): broken_line 1" in message

    assert job(shop(tmp_path, GOOD[:20], share=0.01)) == 0
    assert store.read("silver.events").count() == 20
    assert store.read("ops.quarantine").count() == 0
    versions = {t: store.version(t) for t in JOB.writes}
    assert job(["--settings", str(tmp_path / "shop.toml")]) == 0
    assert {t: store.version(t) for t in JOB.writes} == versions, "the same again changes nothing"


@pytest.mark.parametrize(
    ("find", "put", "code", "message"),
    [
        ('user_id = "customer"', 'user_id = "customers"', 1, "no column 'customers' for our user_id; did you mean 'customer'?"),
        ('user_id = "customer"', 'userid = "customer"', 2, "source.events.columns.user_id: missing"),
        ("events.csv", "evnets.csv", 1, "evnets.csv: does not exist; expected a file or a folder"),
        ("secret.key", "no.key", 2, "make one with: openssl rand -hex 32"),
        ("America/New_York", "America/NewYork", 2, "unknown time zone 'America/NewYork'"),
    ],
)
def test_what_is_wrong_with_the_settings_is_said(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str], find: str, put: str, code: int, message: str
) -> None:
    argv = shop(tmp_path, GOOD[:10], share=0.01)
    settings = tmp_path / "shop.toml"
    settings.write_text(settings.read_text().replace(find, put))
    assert job(argv) == code
    assert message in capsys.readouterr().err


def test_a_warehouse_holds_one_source(
    spark: SparkSession, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = spark.createDataFrame([("sku-1", "old", *["x"] * 5, "old_shop")], CATALOGUE["silver.items"].struct_type())
    store.replace(old, "silver.items", {"source": "old_shop"}, fingerprint="f", job="test")
    assert job(shop(tmp_path, GOOD[:10], share=0.01)) == 1
    said = capsys.readouterr().err
    assert "source.name is 'shop', but" in said and "holds rows of 'old_shop'" in said
    assert f"DELETE FROM delta.`{store.path('silver.items')}` WHERE source = 'old_shop';" in said
    assert store.read("silver.items").count() == 1 and store.version("silver.events") is None
    spark.sql(f"DELETE FROM delta.`{store.path('silver.items')}` WHERE source = 'old_shop'")
    assert job(["--settings", str(tmp_path / "shop.toml")]) == 0


def test_an_empty_log_is_an_error(spark: SparkSession, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert job(shop(tmp_path, [], share=0.01)) == 1
    assert "no events in events; expected at least one row" in capsys.readouterr().err
    assert store.version("silver.events") is None
