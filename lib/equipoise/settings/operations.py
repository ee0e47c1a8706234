"""Settings of what watches over the nights."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from equipoise.settings.section import Count, Positive, Section, Written

Pair = tuple[Positive, Positive]
"""Where warn begins and where fail begins."""


class Monitors(Section):
    """ops.monitors and who hears of it; every pair is where warn and where fail begin."""

    told_days: Count = Field(28, description="Days before as_of whose input is judged; only the last one raises an alarm.")
    late_days: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] = Field(
        (1, 3), description="Days that the newest event may lie before the last day."
    )
    volume_sigmas: Pair = Field((5.0, 10.0), description="Spreads that a day's events may be from those of the same weekdays.")
    null_sigmas: Pair = Field((6.0, 12.0), description="Spreads that a column's share of nulls may change by.")
    null_change: Positive = Field(0.02, description="Change of a share of nulls below which nobody is told.")
    mix_sigmas: Pair = Field((5.0, 10.0), description="Spreads that a week's mix of categories may be further off than usual.")
    score_bits: Pair = Field((0.02, 0.1), description="Divergence of the mean predicted shares from the night before, bits.")
    segment_change: Pair = Field((0.05, 0.2), description="Part of the users whose segment may differ from the night before.")
    calibration_gap: Pair = Field((0.03, 0.1), description="Calibration error beyond that of a perfect model, of matured labels.")
    slow_times: Pair = Field((3.0, 10.0), description="Times its usual duration that a job may take.")
    stop_on_fail: bool = Field(False, description="End with exit code 3 when a monitor fails, so that nothing is published.")
    seed: Count = Field(1, description="Seed of the draws that noise is told from.")
    alert_file: Written = Field("", description="File that alarms are appended to, a line of JSON each; empty: none.")
    webhook_env: str = Field("", description="Environment variable with the address of a webhook that hears alarms; empty: none.")
    email_host: str = Field("", description="SMTP server that alarms are sent through; empty: none.")
    email_port: Count = Field(587, description="Its port.")
    email_from: str = Field("", description="Sender of the alarms.")
    email_to: tuple[str, ...] = Field((), description="Who gets them.")
    email_user: str = Field("", description="User of the SMTP server, who is logged in over TLS; empty: none.")
    email_password_env: str = Field("", description="Environment variable with that user's password.")

    @model_validator(mode="after")
    def _pairs_rise(self) -> Monitors:
        values = {n: getattr(self, n) for n in type(self).model_fields if n != "email_to"}
        pairs = {n: v for n, v in values.items() if isinstance(v, tuple)}
        wrong = [f"{name} = {pair}" for name, pair in pairs.items() if pair[0] > pair[1]]
        if wrong:
            raise ValueError(f"{'; '.join(wrong)}: warn must not begin above fail; swap the two numbers")
        if self.email_host and not (self.email_from and self.email_to):
            raise ValueError(f"email_host = {self.email_host!r} needs email_from and email_to")
        if self.email_user and not self.email_password_env:
            raise ValueError(f"email_user = {self.email_user!r} needs email_password_env, a variable with the password")
        return self


class Maintenance(Section):
    """Upkeep of the tables: files joined and deleted."""

    retention_hours: Annotated[int, Field(ge=168)] = Field(
        168, description="Hours that files of replaced versions stay; readers and trainings that last longer would lose theirs."
    )
    small_file_mb: Positive = Field(16.0, description="Files below so many MiB are joined.")
    most_small_files: Annotated[int, Field(ge=1)] = Field(
        8, description="Small files of one partition beyond which they are joined."
    )
    keep_model_inputs: bool = Field(
        True, description="Keep the table versions that the CURRENT model learnt from; needs room until the next one is promoted."
    )
    dry_run: bool = Field(False, description="Say what would be deleted, change nothing.")
