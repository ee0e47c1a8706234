"""Where alarms go: a file, a webhook, e-mail. A sink that cannot be reached is said and never stops a night."""

from __future__ import annotations

import http.client
import json
import os
import smtplib
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Protocol

from equipoise.settings.operations import Monitors

TIMEOUT_SECONDS = 10.0
MOST_LINES = 30
"""Alarms that a message names; the table has them all."""


@dataclass(frozen=True)
class Alert:
    """One alarm, as a row of ops.monitors has it."""

    as_of: str
    monitor: str
    subject: str
    status: str
    message: str
    asks_training: bool
    run_id: str


class NotSet(ValueError):
    """A variable that a sink needs does not hold what it should; the text names the variable and never its value."""


class Sink(Protocol):
    """Somewhere that alarms are sent; raises NotSet, or an error of the network or the disk, when that fails."""

    @property
    def name(self) -> str:
        """For log lines: says the kind and nothing secret."""
        ...

    def send(self, title: str, alerts: Sequence[Alert]) -> None:
        """Delivers them all, or raises."""
        ...


@dataclass(frozen=True)
class FileSink:
    """A line of JSON per alarm, appended; whoever reads it tells repeated ones apart by run_id, monitor and subject."""

    path: Path

    @property
    def name(self) -> str:
        return f"file {self.path}"

    def send(self, title: str, alerts: Sequence[Alert]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(f"{json.dumps(vars(a), sort_keys=True)}\n" for a in alerts))


@dataclass(frozen=True)
class WebhookSink:
    """One POST of {"text": …, "alerts": […]} as JSON to the address in an environment variable."""

    variable: str

    @property
    def name(self) -> str:
        return f"webhook of {self.variable}"

    def send(self, title: str, alerts: Sequence[Alert]) -> None:
        address = os.environ.get(self.variable, "")
        if not address.startswith(("http://", "https://")):
            raise NotSet(f"environment variable {self.variable} holds no http address; set it where the job runs")
        body = {"text": text_of(title, alerts), "alerts": [vars(a) for a in alerts]}
        request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS).close()


@dataclass(frozen=True)
class EmailSink:
    """One message through an SMTP server; with `user` by STARTTLS and the password in an environment variable."""

    host: str
    port: int
    sender: str
    to: tuple[str, ...]
    user: str = ""
    password_variable: str = ""

    @property
    def name(self) -> str:
        return f"e-mail by {self.host}"

    def send(self, title: str, alerts: Sequence[Alert]) -> None:
        message = EmailMessage()
        message["Subject"], message["From"], message["To"] = title, self.sender, ", ".join(self.to)
        message.set_content(text_of(title, alerts))
        with smtplib.SMTP(self.host, self.port, timeout=TIMEOUT_SECONDS) as server:
            if self.user:
                password = os.environ.get(self.password_variable, "")
                if not password:
                    raise NotSet(f"environment variable {self.password_variable!r} is empty; it should hold the password")
                server.starttls()
                server.login(self.user, password)
            server.send_message(message)


def sinks(s: Monitors) -> list[Sink]:
    """Those that the settings name; relative paths count from the current folder."""
    named: list[Sink] = []
    if s.alert_file:
        named.append(FileSink(Path(s.alert_file)))
    if s.webhook_env:
        named.append(WebhookSink(s.webhook_env))
    if s.email_host:
        named.append(EmailSink(s.email_host, s.email_port, s.email_from, s.email_to, s.email_user, s.email_password_env))
    return named


def text_of(title: str, alerts: Sequence[Alert]) -> str:
    """The title, then a line per alarm, the worst first, MOST_LINES at most."""
    worst = sorted(alerts, key=lambda a: (a.status != "fail", a.monitor, a.subject))
    lines = [f"{a.status} {a.monitor} {a.subject}: {a.message}" for a in worst[:MOST_LINES]]
    more = [f"and {len(worst) - MOST_LINES} more in ops.monitors"] if len(worst) > MOST_LINES else []
    return "\n".join([title, *lines, *more])


def deliver(sinks: Sequence[Sink], title: str, alerts: Sequence[Alert], say: Callable[[str], None]) -> int:
    """Sends the alarms, if there are any, to every sink; returns how many took them. What fails is said by its kind alone, since
    errors of the network quote addresses."""
    if not alerts:
        return 0
    reached = 0
    for sink in sinks:
        try:
            sink.send(title, alerts)
            reached += 1
        except (OSError, ValueError, smtplib.SMTPException, http.client.HTTPException) as error:
            why = str(error) if isinstance(error, NotSet) else type(error).__name__
            say(f"{len(alerts)} alarms did not reach {sink.name}: {why}")
    return reached
