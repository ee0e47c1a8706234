"""One cluster for all its tests, and what one machine makes of the same source."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.standalone import Cluster, cluster
from tests.pipeline import ROOT, SMALL, must, submit


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    subprocess.run(["bash", ".ci/wheel.sh"], cwd=ROOT, check=True)
    with cluster(tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse that the whole pipeline filled in local mode."""
    warehouse = tmp_path_factory.mktemp("alone") / "warehouse"
    must(submit("run_all", warehouse, *SMALL))
    return warehouse
