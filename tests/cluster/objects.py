"""A server on this machine that speaks S3 (moto), and what lies in it as files."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.pipeline import ROOT

SERVER = ROOT / ".venv-s3" / "bin" / "moto_server"
BUCKET = "shop"
KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY"
"""Made up; the server lets everyone in, but what is handed out must not be told."""
WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Objects:
    """A running server with an empty bucket."""

    address: str

    @property
    def conf(self) -> tuple[str, ...]:
        """How Spark finds it."""
        keys = {"endpoint": self.address, "path.style.access": "true", "endpoint.region": "us-east-1"}
        return tuple(word for key, value in keys.items() for word in ("--conf", f"spark.hadoop.fs.s3a.{key}={value}"))

    @property
    def environment(self) -> dict[str, str]:
        """How the driver gets its keys."""
        return {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}

    def names(self, prefix: str) -> list[str]:
        """Keys of all objects that begin so."""
        found: list[str] = []
        more = ""
        while True:
            query = urllib.parse.urlencode({"list-type": "2", "prefix": prefix} | ({"continuation-token": more} if more else {}))
            tree = ET.fromstring(self._get(f"?{query}"))
            space = tree.tag.partition("}")[0] + "}"
            found += [str(e.text) for e in tree.iter(f"{space}Key")]
            token = tree.find(f"{space}NextContinuationToken")
            if token is None or not token.text:
                return found
            more = token.text

    def download(self, prefix: str, into: Path) -> Path:
        """Every object that begins so, as a file below `into`."""
        for name in self.names(f"{prefix}/"):
            if not name.endswith("/"):
                file = into / name.removeprefix(f"{prefix}/")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(self._get(f"/{urllib.parse.quote(name)}"))
        return into

    def upload(self, folder: Path, prefix: str) -> None:
        """Every file below a folder as an object; hidden ones, Hadoop's checksums of local files, are not for this store."""
        for file in sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")):
            self._ask("PUT", f"/{urllib.parse.quote(f'{prefix}/{file.relative_to(folder)}')}", file.read_bytes())

    def _get(self, rest: str) -> bytes:
        return self._ask("GET", rest)

    def _ask(self, method: str, rest: str, body: bytes | None = None) -> bytes:
        # The server wants to be told who asks, and believes it.
        told = {"Authorization": f"AWS {KEY}:unsigned", "Content-Type": "application/octet-stream"}
        asked = urllib.request.Request(f"{self.address}/{BUCKET}{rest}", body, told, method=method)
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return bytes(answer.read())


@contextmanager
def objects(log: Path) -> Iterator[Objects]:
    """The server, which ends with the block and everything in it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("wb") as out:
        line = [str(SERVER), "-H", "127.0.0.1", "-p", str(port)]
        server = subprocess.Popen(line, stdout=out, stderr=out, start_new_session=True)
    found = Objects(f"http://127.0.0.1:{port}")
    try:
        until = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                urllib.request.urlopen(urllib.request.Request(f"{found.address}/{BUCKET}", method="PUT"), timeout=10).close()
                break
            except urllib.error.URLError:
                assert time.monotonic() < until and server.poll() is None, log.read_text(errors="replace")[-2000:]
                time.sleep(0.5)
        yield found
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
