"""Spark's profiles agree with each other where they must, explain themselves, and name files that are there."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "conf" / "spark"
PROFILES = {p.stem: dict(re.findall(r"^(spark\S+)\s+(\S.*)$", p.read_text(), re.M)) for p in FOLDER.glob("*.conf")}
CLUSTERS = ("cluster", "cluster_training", "rapids", "s3")


def test_every_profile_has_what_jobs_refuse_to_start_without() -> None:
    assert set(PROFILES) == {"local", "explain", *CLUSTERS}
    for key in ("spark.sql.extensions", "spark.sql.catalog.spark_catalog", "spark.sql.session.timeZone"):
        assert len({p[key] for p in PROFILES.values()}) == 1, key
    jars = {name: p["spark.jars"] for name, p in PROFILES.items()}
    assert {j for name, j in jars.items() if name != "s3"} == {jars["local"]}
    assert jars["s3"].startswith(f"{jars['local']},")


def test_an_object_store_has_the_jars_that_are_checked_the_log_store_that_is_meant_and_no_keys() -> None:
    store, cluster = PROFILES["s3"], PROFILES["cluster"]
    checked = {line.split()[1] for line in (FOLDER / "s3.sha256").read_text().splitlines()}
    assert {Path(j).name for j in store["spark.jars"].removeprefix(cluster["spark.jars"]).strip(",").split(",")} == checked
    assert store["spark.delta.logStore.s3a.impl"] == "io.delta.storage.S3SingleDriverLogStore"
    assert not [k for k in store if "access.key" in k or "secret" in k or "session.token" in k]
    own = ("spark.jars", "spark.delta.logStore", "spark.hadoop.fs.s3a")
    assert {k: v for k, v in store.items() if not k.startswith(own)} == {k: v for k, v in cluster.items() if k != "spark.jars"}


@pytest.mark.parametrize("name", ["local", *CLUSTERS])
def test_a_flipped_bit_in_a_data_file_is_noticed(name: str) -> None:
    assert PROFILES[name]["spark.hadoop.parquet.page.verify-checksum.enabled"] == "true"


@pytest.mark.parametrize("name", CLUSTERS)
def test_a_cluster_is_authenticated_encrypted_and_keeps_no_secret_in_its_profile(name: str) -> None:
    profile = PROFILES[name]
    for key in ("spark.authenticate", "spark.network.crypto.enabled", "spark.io.encryption.enabled"):
        assert profile[key] == "true"
    assert "spark.authenticate.secret" not in profile
    assert "spark.master" not in profile
    redacted = re.compile(profile["spark.redaction.regex"])
    for key in ("spark.authenticate.secret", "fs.s3a.access.key", "monitors.webhook_env", "some.password", "x.token"):
        assert redacted.search(key), key
    assert not redacted.search("spark.executor.memory")


def test_training_has_neither_the_plugin_nor_executors_that_come_and_go() -> None:
    training = PROFILES["cluster_training"]
    assert not [k for k in training if k.startswith(("spark.plugins", "spark.rapids", "spark.dynamicAllocation"))]
    assert training["spark.executor.instances"] == training["spark.cores.max"], "cores.max counts on a standalone master alone"
    assert training["spark.executor.cores"] == "1"
    assert PROFILES["cluster"]["spark.dynamicAllocation.enabled"] == "true"
    assert PROFILES["rapids"]["spark.plugins"] == PROFILES["explain"]["spark.plugins"]


def test_the_jar_of_the_plugin_is_the_one_that_is_checked() -> None:
    checked = (FOLDER / "rapids.sha256").read_text().split()[1].lstrip("*")
    for name in ("rapids", "explain"):
        assert PROFILES[name]["spark.driver.extraClassPath"] == f".jars/{checked}"
    project, executors = "/opt/equipoise", PROFILES["rapids"]  # executors start in folders of their own
    for key in ("spark.executor.extraClassPath", "spark.executorEnv.PYTHONPATH"):
        assert executors[key] == f"{project}/.jars/{checked}"
    script = executors["spark.executor.resource.gpu.discoveryScript"]
    assert script.startswith(f"{project}/") and (ROOT / script.removeprefix(f"{project}/")).is_file()


def test_tasks_share_a_device_and_torch_has_room_beside_them() -> None:
    profile = PROFILES["rapids"]
    assert float(profile["spark.task.resource.gpu.amount"]) * int(profile["spark.executor.cores"]) == 1.0
    assert profile["spark.rapids.python.memory.gpu.pooling.enabled"] == "false"
    assert float(profile["spark.rapids.memory.gpu.maxAllocFraction"]) <= 0.5


@pytest.mark.parametrize(("seen", "addresses"), [("0\n1\n", ["0", "1"]), ("", []), (None, [])])
def test_the_discovery_script_says_which_devices_there_are(tmp_path: Path, seen: str | None, addresses: list[str]) -> None:
    if seen is not None:
        fake = tmp_path / "nvidia-smi"
        fake.write_text(f"#!/bin/sh\nprintf '%s' '{seen}'\n")
        fake.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin"}
    told = subprocess.run([str(FOLDER / "gpu_addresses.sh")], env=env, capture_output=True, check=True, text=True).stdout
    assert json.loads(told) == {"name": "gpu", "addresses": addresses}
