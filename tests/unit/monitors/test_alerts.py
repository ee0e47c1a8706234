"""Sinks: a file, a webhook and a mail server of the test's own; what cannot be reached is said without its address."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from equipoise.monitors.alerts import MOST_LINES, Alert, EmailSink, FileSink, WebhookSink, deliver, text_of

ONE = Alert("2020-07-06", "volume", "all", "fail", "no events", False, "f" * 64)


@pytest.fixture
def heard() -> Iterator[tuple[str, list[Any]]]:
    bodies: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/secret-path", bodies
    server.shutdown()
    server.server_close()


def test_a_webhook_hears_once(heard: tuple[str, list[Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    address, bodies = heard
    monkeypatch.setenv("ALARMS", address)
    said: list[str] = []
    assert deliver([WebhookSink("ALARMS")], "night", [ONE], said.append) == 1
    assert bodies == [{"text": "night\nfail volume all: no events", "alerts": [vars(ONE)]}]
    assert said == []


def test_an_unreachable_webhook_is_said_without_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALARMS", "http://127.0.0.1:9/secret-path")
    said: list[str] = []
    assert deliver([WebhookSink("ALARMS")], "night", [ONE], said.append) == 0
    monkeypatch.setenv("ALARMS", "file:///etc/passwd")
    assert deliver([WebhookSink("ALARMS")], "night", [ONE], said.append) == 0
    for address in ("http://h/secret path", "http://h:secret/"):
        monkeypatch.setenv("ALARMS", address)
        assert deliver([WebhookSink("ALARMS")], "night", [ONE], said.append) == 0
    assert len(said) == 4
    assert not [line for line in said if "secret" in line or "passwd" in line]


def test_a_file_keeps_every_alarm(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "new" / "alarms.jsonl")
    for _ in range(2):
        deliver([sink], "night", [ONE, ONE], print)
    assert [json.loads(line) for line in sink.path.read_text().splitlines()] == [vars(ONE)] * 4


def test_no_alarm_sends_nothing(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "alarms.jsonl")
    assert deliver([sink], "night", [], print) == 0
    assert not sink.path.exists()


def test_one_sink_that_fails_does_not_keep_the_others_from_hearing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    good, bad = FileSink(tmp_path / "alarms.jsonl"), FileSink(tmp_path / "a" / "b")
    said: list[str] = []
    assert deliver([bad, good], "night", [ONE], said.append) == 1
    assert len(good.path.read_text().splitlines()) == len(said) == 1


class Mail(socketserver.StreamRequestHandler):
    """As much of SMTP as one message needs."""

    got: list[str]

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        data = False
        for raw in self.rfile:
            line = raw.decode().rstrip("\r\n")
            type(self).got.append(line)
            if data and line != ".":
                continue
            if data:
                data = False
                self.wfile.write(b"250 ok\r\n")
            elif line.lower() == "data":
                data = True
                self.wfile.write(b"354 go on\r\n")
            elif line.lower() == "quit":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                self.wfile.write(b"250 ok\r\n")


def test_e_mail_goes_to_everybody_named(monkeypatch: pytest.MonkeyPatch) -> None:
    Mail.got = []
    with socketserver.TCPServer(("127.0.0.1", 0), Mail) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sink = EmailSink("127.0.0.1", server.server_address[1], "jobs@example.org", ("a@example.org", "b@example.org"))
        assert deliver([sink], "two alarms", [ONE], print) == 1
        server.shutdown()
    assert [line for line in Mail.got if line.lower().startswith("rcpt to")] == [f"rcpt TO:<{n}@example.org>" for n in "ab"]
    assert "Subject: two alarms" in Mail.got
    assert "fail volume all: no events" in Mail.got


def test_a_password_comes_from_the_environment_or_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAIL_PASSWORD", raising=False)
    with socketserver.TCPServer(("127.0.0.1", 0), Mail) as server:
        Mail.got = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sink = EmailSink("127.0.0.1", server.server_address[1], "j@e.org", ("a@e.org",), "jobs", "MAIL_PASSWORD")
        said: list[str] = []
        assert deliver([sink], "night", [ONE], said.append) == 0
        server.shutdown()
    assert "MAIL_PASSWORD" in said[0]


def test_a_message_names_the_worst_first_and_not_everything() -> None:
    many = [Alert("2020-07-06", "volume", f"{n:03d}", "warn", "x", False, "r") for n in range(MOST_LINES + 5)]
    lines = text_of("night", [*many, ONE]).split("\n")
    assert lines[1] == "fail volume all: no events"
    assert lines[-1] == "and 6 more in ops.monitors"
