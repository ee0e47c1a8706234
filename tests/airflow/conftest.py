"""Runs in the environment of `make airflow-test` alone: an Airflow home of its own, with its own metadata database."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
DAGS = ROOT / "airflow_dags"
HERE = importlib.util.find_spec("airflow") is not None
collect_ignore_glob = [] if HERE else ["test_*.py"]

if HERE:  # Airflow reads its configuration when it is first imported
    HOME = tempfile.mkdtemp(prefix="equipoise-airflow-")
    os.environ.update(
        {
            "AIRFLOW_HOME": HOME,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME}/airflow.db",
            "AIRFLOW_CONN_SPARK_DEFAULT": '{"conn_type": "spark", "host": "local[2]"}',
        }
    )
    sys.path.insert(0, str(DAGS))

SETTINGS = """
project = "{root}"
settings = "conf/simulated.toml"
warehouse = "{warehouse}"
timezone = "Europe/Berlin"
schedule = "0 2 * * *"
start_date = "2017-01-02"
driver_memory = "2g"
retries = 1
retry_delay_minutes = 0.02
training_weekday = "monday"
{more}
"""


@pytest.fixture(scope="session")
def database() -> Iterator[None]:
    """The metadata database of the temporary home."""
    airflow = str(Path(sys.executable).with_name("airflow"))
    subprocess.run([airflow, "db", "migrate"], check=True, capture_output=True)
    yield


def settings_file(folder: Path, more: str = "") -> Path:
    """A settings file for a warehouse in `folder`."""
    path = folder / "equipoise.toml"
    path.write_text(SETTINGS.format(root=ROOT, warehouse=folder / "warehouse", more=more))
    return path


def load_dag(path: Path):  # type: ignore[no-untyped-def]
    """The DAG as Airflow loads it, after checking that nothing failed to import."""
    from airflow.dag_processing.dagbag import DagBag

    os.environ["EQUIPOISE_AIRFLOW_SETTINGS"] = str(path)
    bag = DagBag(dag_folder=str(DAGS / "equipoise.py"))
    assert bag.import_errors == {}
    return bag.dags["equipoise"]
