"""Who was contacted by which campaign, who answered, and what was known of a user when a campaign began."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from equipoise.segments.history import EPOCH, Bools, Floats, History, Ints
from equipoise.segments.signals import SIGNALS, signals_at

NONE = -1
LONG_AGO = 400.0
PRIOR_CONTACTS, PRIOR_RATE = 3.0, 0.1
"""A user's rate of answers counts as if three more contacts had been answered one time in ten."""

CONTACTED = {"campaign": "array<string>", "contact_day": "array<int>", "answer_day": "array<int>"}
OF_CAMPAIGNS = ("contacts", "answers", "answer_rate", "days_since_answer", "days_since_contact", "campaign_users")
FEATURES = (*OF_CAMPAIGNS, *SIGNALS)


@dataclass(frozen=True)
class Contacts:
    """One row per user × campaign that contacted them; user: index into the users of a history. Days since 1970-01-01.

    answer: day of the first redemption of that campaign's offer, NONE without one.
    """

    user: Ints
    campaign: NDArray[np.str_]
    day: Ints
    answer: Ints

    def where(self, rows: Bools) -> Contacts:
        return Contacts(self.user[rows], self.campaign[rows], self.day[rows], self.answer[rows])

    def campaigns(self) -> list[tuple[str, int, int]]:
        """(name, first day, users contacted) of each campaign, by day and name."""
        names, at = np.unique(self.campaign, return_inverse=True)
        first = np.full(len(names), np.iinfo(np.int64).max)
        np.minimum.at(first, at, self.day)
        found = zip(names.tolist(), first.tolist(), np.bincount(at, minlength=len(names)).tolist(), strict=True)
        return sorted(found, key=lambda c: (c[1], c[0]))


def contacted(events: DataFrame, *, as_of: date) -> DataFrame:
    """One row per user with an exposure of a campaign before as_of: user_id, CONTACTED, sorted by day and campaign; equal
    lengths.

    A contact is the first exposure; an answer counts from the contact on, NONE without one.

    Args:
        events: silver.events.
    """
    mine = events.filter((F.col("event_date") < F.lit(as_of)) & F.col("campaign_id").isNotNull())
    day = F.datediff("event_date", F.lit(EPOCH))
    shown = mine.filter("event_type = 'expose'").groupBy("user_id", "campaign_id").agg(F.min(day).alias("day"))
    used = mine.filter("event_type = 'redeem'").select("user_id", "campaign_id", day.alias("used"))
    both = shown.join(used, ["user_id", "campaign_id"], "left").groupBy("user_id", "campaign_id", "day")
    pairs = both.agg(F.coalesce(F.min(F.when(F.col("used") >= F.col("day"), F.col("used"))), F.lit(NONE)).alias("answer"))
    rows = F.sort_array(F.collect_list(F.struct("day", "campaign_id", "answer"))).alias("rows")
    whole = pairs.groupBy("user_id").agg(rows)
    return whole.select(
        "user_id",
        F.col("rows.campaign_id").alias("campaign"),
        F.col("rows.day").alias("contact_day"),
        F.col("rows.answer").alias("answer_day"),
    )


def unpacked_contacts(rows: pd.DataFrame) -> Contacts:
    """Of a frame with CONTACTED, users in its order; null arrays are users without a contact."""
    parts: list[tuple[int, str, int, int]] = []
    columns = zip(rows["campaign"], rows["contact_day"], rows["answer_day"], strict=True)
    for user, (names, days, answers) in enumerate(columns):
        if names is not None and not np.isscalar(names):
            parts += [(user, str(n), int(d), int(a)) for n, d, a in zip(names, days, answers, strict=True)]
    columns_of = list(zip(*parts, strict=True)) if parts else [(), (), (), ()]
    user_of, day_of, answer_of = (np.array(columns_of[k], dtype=np.int64) for k in (0, 2, 3))
    return Contacts(user_of, np.array(columns_of[1], dtype=str), day_of, answer_of)


def features_at(history: History, contacts: Contacts, day: int, size: int) -> Floats:
    """(U, F) FEATURES of every user at the start of `day`, for a campaign that contacts `size` users; nothing on or after it
    counts.

    answer_rate: (answers + PRIOR_CONTACTS · PRIOR_RATE) ÷ (contacts + PRIOR_CONTACTS). Days since are LONG_AGO where there is
    none.
    """
    users = len(history.users)
    before = contacts.where(contacts.day < day)
    answered = before.where((before.answer != NONE) & (before.answer < day))
    number, yes = (np.bincount(c.user, minlength=users).astype(np.float64) for c in (before, answered))
    since_answer, since_contact = np.full(users, LONG_AGO), np.full(users, LONG_AGO)
    np.minimum.at(since_answer, answered.user, (day - answered.answer).astype(np.float64))
    np.minimum.at(since_contact, before.user, (day - before.day).astype(np.float64))
    rate = (yes + PRIOR_CONTACTS * PRIOR_RATE) / (number + PRIOR_CONTACTS)
    mine = [number, yes, rate, since_answer, since_contact, np.full(users, float(size))]
    return np.column_stack([*mine, signals_at(history, day)])
