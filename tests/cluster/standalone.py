"""A standalone master with workers on this machine: authenticated and encrypted, from the installed pyspark."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.pipeline import AS_OF, CHAIN_SECONDS, ROOT, Ended, environment

WAIT_SECONDS = 90.0
EXECUTOR = "CoarseGrainedExecutorBackend"
MEMORY = ("--conf", "spark.driver.memory=2g", "--conf", "spark.executor.memory=1g", "--conf", "spark.executor.cores=1")
ROOM = (
    *("--conf", "spark.executor.memoryOverhead=1g", "--conf", "spark.sql.shuffle.partitions=4"),
    *("--conf", "spark.databricks.delta.snapshotPartitions=2", "--conf", "spark.buffer.pageSize=2m"),
    *("--conf", "spark.locality.wait=0s"),
)
STAYS = ("--conf", "spark.dynamicAllocation.executorIdleTimeout=600s")
"""For a whole chain: while the driver trains nobody has anything to do, and executors are slow to start."""


@dataclass(frozen=True)
class Cluster:
    """A running cluster: its address, the folder with the secret that may speak to it, and its daemons' processes."""

    master: str
    conf: Path
    logs: Path
    daemons: tuple[int, ...] = ()

    def executors(self) -> list[psutil.Process]:
        """Its running executors, the oldest first; those of another cluster on this machine are none of its business."""
        return _executors(self.daemons)

    def submit(
        self,
        script: str,
        *flags: str,
        profile: str = "cluster",
        conf: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        on_line: object = None,
        timeout: float = 1800,
    ) -> Ended:
        """spark-submit to the cluster with the code as a zip; `on_line(text)` hears every line as it comes."""
        line = [
            "spark-submit",
            "--master",
            self.master,
            "--properties-file",
            f"conf/spark/{profile}.conf",
            "--load-spark-defaults",
        ]
        line += [
            "--py-files",
            "dist/equipoise.zip",
            "--conf",
            "spark.driver.host=127.0.0.1",
            *MEMORY,
            *ROOM,
            *conf,
            script,
            *flags,
        ]
        started, said = time.monotonic(), []
        told = {**environment(), "SPARK_CONF_DIR": str(self.conf), **(env or {})}
        process = subprocess.Popen(
            line, cwd=ROOT, env=told, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        assert process.stdout is not None
        late = threading.Timer(timeout, _kill, (process,))  # not by its lines: who hangs says nothing
        late.start()
        try:
            for text in process.stdout:
                said.append(text)
                if callable(on_line):
                    on_line(text)
            code = process.wait(timeout=60)
        finally:
            late.cancel()
            _kill(process)
        return Ended(code, "".join(said), time.monotonic() - started)

    def run_all(
        self, warehouse: Path | str, *flags: str, script: str = "jobs/run_all.py", conf: Sequence[str] = (), **more: object
    ) -> Ended:
        """The whole pipeline on the small generator; with another `script`, what it runs of that."""
        told = ("--settings", "conf/simulated.toml", "--as-of", AS_OF, "--warehouse", str(warehouse))
        asked = (script, *told, f"--report.path={warehouse}/report.html", *flags)
        return self.submit(*asked, conf=(*STAYS, *conf), timeout=CHAIN_SECONDS, **more)  # type: ignore[arg-type]


def _kill(process: subprocess.Popen[str]) -> None:
    """Ends a process, which leads its group, with its children, unless it has ended."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _executors(daemons: Sequence[int]) -> list[psutil.Process]:
    """Executors that these processes started, the oldest first."""
    below = [p for d in daemons if psutil.pid_exists(d) for p in psutil.Process(d).children(recursive=True)]
    return sorted((p for p in below if _runs(p, EXECUTOR)), key=lambda p: float(p.create_time()))


def _runs(process: psutil.Process, name: str) -> bool:
    try:
        return any(name in word for word in process.cmdline())
    except psutil.Error:  # it ended meanwhile
        return False


@contextmanager
def cluster(folder: Path, workers: int = 2) -> Iterator[Cluster]:
    """A master and `workers` of one core and 2 GB each; all end with the block."""
    conf = folder / "conf"
    conf.mkdir(parents=True)
    defaults = conf / "spark-defaults.conf"
    defaults.touch(mode=0o600)
    defaults.write_text(f"spark.authenticate true\nspark.authenticate.secret {secrets.token_hex(32)}\n")
    started: list[subprocess.Popen[bytes]] = []
    try:
        log = _daemon(
            folder, conf, "master", "master.Master", ["--host", "127.0.0.1", "--port", "0", "--webui-port", "0"], started
        )
        master = _said(log, r"(spark://127\.0\.0\.1:\d+)")
        for n in range(workers):
            sizes = ["--cores", "1", "--memory", "2g", "--host", "127.0.0.1", "--webui-port", "0", "-d", str(folder / f"work{n}")]
            log = _daemon(folder, conf, f"worker{n}", "worker.Worker", [*sizes, master], started)
            _said(log, r"(Successfully registered)")
        yield Cluster(master, conf, folder, tuple(p.pid for p in started))
    finally:
        left = _executors([p.pid for p in started])  # in sessions of their own; without their worker nobody knows whose they are
        for process in started:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for executor in left:
            with suppress(psutil.NoSuchProcess):
                executor.kill()


def _daemon(folder: Path, conf: Path, name: str, kind: str, flags: Sequence[str], started: list[subprocess.Popen[bytes]]) -> Path:
    log = folder / f"{name}.log"
    env = {**environment(), "SPARK_CONF_DIR": str(conf), "SPARK_DAEMON_MEMORY": "512m", "SPARK_LOCAL_IP": "127.0.0.1"}
    env["SPARK_DAEMON_JAVA_OPTS"] = f"-Dlog4j2.configurationFile=file:{ROOT}/tests/cluster/log4j2.properties"
    with log.open("wb") as out:
        line = ["spark-class", f"org.apache.spark.deploy.{kind}", *flags]
        started.append(subprocess.Popen(line, cwd=ROOT, env=env, stdout=out, stderr=out, start_new_session=True))
    return log


def _said(log: Path, pattern: str) -> str:
    """What the pattern finds in a log, once it is there."""
    until = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < until:
        if found := re.search(pattern, log.read_text(errors="replace")):
            return found.group(1)
        time.sleep(0.5)
    raise AssertionError(
        f"{log.name} did not say {pattern!r} in {WAIT_SECONDS:.0f} s:\n{log.read_text(errors='replace')[-2000:]}"
    )
