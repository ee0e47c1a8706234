"""Three users told: what they liked, what moved, what they are shown and why. Pseudonyms only, first eight digits."""

from __future__ import annotations

import pandas as pd

from equipoise.report.charts import TICK, Series, dots
from equipoise.report.facts import Facts
from equipoise.report.page import Figure, Section, Shown, Story, empty
from equipoise.report.palette import BLUE, GREY, ORANGE
from equipoise.report.words import category, count, listed, number, percent, plural, sentence

ANCHOR, TITLE = "stories", "Three users"
DIGITS = 8
"""Of the pseudonym: enough to find the user in the tables again, not enough to join with anything else by accident."""

HEADINGS = {"well_known": "The one we know best", "mover": "The one who moved most", "hardly_known": "The one we hardly know"}
ROWS = 8
NOTABLE_POINTS = 0.03
"""Changes of a share below this are not told."""


def section(facts: Facts) -> Section:
    """One story for each chosen user."""
    if not facts.chosen:
        return empty(ANCHOR, TITLE, "Nobody has both interests and a list for this date.")
    lead = (
        "Chosen by rule, not by hand: the user with the heaviest history, the one whose drift in the last window is farthest "
        "above its noise, and the one with the lightest history."
    )
    return Section(ANCHOR, TITLE, (lead,), tuple(_story(facts, role, user) for role, user in facts.chosen))


def _story(facts: Facts, role: str, user: str) -> Story:
    profile, interests, windows, places = (
        frame[frame["user_id"] == user]
        for frame in (facts.person_profiles, facts.person_interests, facts.person_windows, facts.person_lists)
    )
    segment = facts.person_segments[facts.person_segments["user_id"] == user]
    moved = f"{_moved(windows)} {_drifted(facts.person_moves[facts.person_moves['user_id'] == user])}".rstrip()
    told = (("Who", _who(profile, segment)), ("Liked", _liked(interests)), ("Moved", moved), ("Shown", _shown(places)))
    paragraphs = [(name, text) for name, text in told if text]
    shown = [
        Shown(int(r["rank"]), sentence(str(r["title"])), category(str(r["category"])), str(r["slot"]), str(r["reason"]))
        for _, r in places.iterrows()
    ]
    return Story(HEADINGS[role], user[:DIGITS], paragraphs, shown, _picture(interests, user) if len(interests) > 1 else None)


def _who(profile: pd.DataFrame, segment: pd.DataFrame) -> str:
    parts = []
    if not profile.empty:
        p = profile.iloc[0]
        parts.append(
            f"{plural(p['frequency'], 'active day')} in {plural(p['tenure_days'], 'day')}, the last of them "
            f"{plural(p['recency_days'], 'day')} ago."
        )
    if not segment.empty:
        s = segment.iloc[0]
        spend = "" if pd.isna(s["expected_spend"]) else f" and an expected spend of {number(float(s['expected_spend']))}"
        parts.append(
            f"Segment {s['segment']}, with a {percent(float(s['p_buy']), 0)} chance to buy{spend} in the next "
            f"{int(s['horizon_days'])} days."
        )
    return " ".join(parts)


def _liked(interests: pd.DataFrame) -> str:
    own = interests[interests["observed_share"] > 0].sort_values(["observed_share", "category"], ascending=[False, True])
    if own.empty:
        return "Nothing is known of what this user likes; every target comes from the model."
    first = listed(
        [f"{category(str(r['category']))} ({percent(float(r['observed_share']), 0)})" for _, r in own.head(3).iterrows()]
    )
    ahead = interests.sort_values(["predicted_share", "category"], ascending=[False, True]).iloc[0]
    return (
        f"{first}, out of {plural(len(own), 'category', 'categories')} with a weight of {number(float(own['evidence'].sum()))}. "
        f"Expected next: {category(str(ahead['category']))} ({percent(float(ahead['predicted_share']), 0)} of the coming window)."
    )


def _moved(windows: pd.DataFrame) -> str:
    ends = sorted(windows["window_end"].unique())
    if len(ends) < 2:
        return "Not told: fewer than two windows have any behaviour."
    before, now = (windows[windows["window_end"] == e].set_index("category")["share"] for e in ends[-2:])
    change = now.sub(before, fill_value=0.0).reset_index(name="d").sort_values(["d", "category"], ascending=[False, True])
    up = [
        f"{category(str(r['category']))} (+{100 * r['d']:.0f} points)"
        for _, r in change.head(3).iterrows()
        if r["d"] >= NOTABLE_POINTS
    ]
    falling = change.sort_values(["d", "category"]).head(3)
    down = [
        f"{category(str(r['category']))} (−{-100 * r['d']:.0f} points)"
        for _, r in falling.iterrows()
        if r["d"] <= -NOTABLE_POINTS
    ]
    total = 50 * float(change["d"].abs().sum())
    new = [category(str(c)) for c in now.index if c not in before.index]
    told = [f"towards {listed(up)}" if up else "", f"away from {listed(down)}" if down else ""]
    words = listed([t for t in told if t]) or "by little in any one category"
    return (
        f"{total:.0f} % of the interest changed place between the last two windows, {words}; "
        f"{plural(len(new), 'category', 'categories')} of the last window {'was' if len(new) == 1 else 'were'} not in the one "
        "before."
    )


def _drifted(moves: pd.DataFrame) -> str:
    """Drift beside its band, where there are visit days enough."""
    if moves.empty:
        return "Whether that is more than noise cannot be told from so few visit days."
    drift, band = float(moves.iloc[0]["drift_js_bits"]), float(moves.iloc[0]["noise_p95_bits"])
    kind = "more than" if drift > band else "no more than"
    return f"The drift of {drift:.2f} bits is {kind} the {band:.2f} that the user's own visit days show when dealt out at random."


def _shown(places: pd.DataFrame) -> str:
    explored = places[places["slot"] == "explore"]
    new = listed([category(str(c)) for c in dict.fromkeys(explored["category"])])
    tail = f", {count(len(explored))} of them to find something out ({new})" if len(explored) else ""
    return f"{plural(len(places), 'item')} from {plural(places['category'].nunique(), 'category', 'categories')}{tail}."


def _picture(interests: pd.DataFrame, user: str) -> Figure:
    top = interests.sort_values("rank").head(ROWS)
    series = [
        Series("history", list(top["observed_share"]), GREY, TICK),
        Series("predicted", list(top["predicted_share"]), ORANGE, "D"),
        Series("target", list(top["target_share"]), BLUE),
    ]
    svg = dots([category(str(c)) for c in top["category"]], series, "share", f"Interests of user {user[:DIGITS]}")
    return Figure(f"The {len(top)} highest targets hold {percent(float(top['target_share'].sum()), 0)} of the aim", svg)
