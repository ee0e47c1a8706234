"""The behaviour of a user as one English line for a language model, most telling first, because models read only its start.

Such as: "often soft drinks, beef; sometimes cheese; lately frozen pizza; items potato chips; active weekly, high spend".
"""

from __future__ import annotations

from typing import NamedTuple

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

LONGEST_NAME = 3
"""Words kept of a name: what follows is rarely telling ('sft drnk sngl srv btl carb ex')."""

LOOK_BACK = 12
"""Latest items among which names are looked for that the line does not tell yet."""

SHARE_WORDS = (("mostly", 0.15), ("often", 0.05), ("sometimes", 0.02), ("a little", 0.0))
"""Word and smallest decayed share. Coarse on purpose: a word stays when a share moves a little."""

RHYTHM_WORDS = ((1.5, "daily"), (4.0, "every few days"), (10.0, "weekly"), (21.0, "every few weeks"), (45.0, "monthly"))
"""Largest mean days between trips, and the word; 'rarely' beyond."""

QUIET_GAPS = 3.0
"""A user who is silent for so many of the usual gaps is called quiet."""

SPEND_WORDS = ("very low spend", "low spend", "middle spend", "high spend", "very high spend")
"""By the fifths of spend_112d among those who spent, at the same cut."""


class Parts(NamedTuple):
    """How many names a part of the line may have."""

    top: int
    lately: int
    items: int


def parts_for(max_tokens: int) -> Parts:
    """As many names as `max_tokens` word pieces hold for most users of Complete Journey; 64 give 6, 3 and 2."""
    return Parts(max(1, max_tokens // 10), max(1, max_tokens // 20), max(1, max_tokens // 32))


def behaviour_text(frame: DataFrame, parts: Parts) -> DataFrame:
    """The frame with behaviour_text. Parts without content are left out; `rhythm` never is. No part holds an id.

    top: ARRAY<STRUCT<minus_weight, name>>, the heaviest parts.top categories, heaviest first; whole: the weight of all.
    late: the same by the last window's weight, parts.top + parts.lately of them at most.
    names: ARRAY<STRING>, those of the latest items, newest first, as `plain_words` leaves them, null where nothing is to be told.
    rhythm: STRING of `rhythm_words`.

    It goes in steps: Spark evaluates an expression inside a lambda once per element, so what a lambda looks at is a column first.
    """
    named = frame.withColumns({"top": F.transform("top", _with_share), "looked": F.slice("names", 1, LOOK_BACK)})
    fresh = F.filter("late", lambda r: ~F.exists("top", lambda t: t["name"] == r["name"]))
    first = F.transform("looked", lambda w, i: F.when(F.array_position("looked", w) == i + 1, w))
    shortened = named.withColumns(
        {
            "lately": F.transform(F.slice(fresh, 1, parts.lately), lambda r: plain_words(r["name"])),
            "once": F.filter(first, lambda w: w.isNotNull() & (w != "")),
        }
    )
    new = F.slice(F.filter("once", lambda w: ~_is_told(w)), 1, parts.items)
    levels = [_phrase(word, _of_level(place)) for place, (word, _) in enumerate(SHARE_WORDS)]
    line = F.concat_ws("; ", *levels, _phrase("lately", F.col("lately")), _phrase("items", new), "rhythm")
    return shortened.withColumn("behaviour_text", line).drop("looked", "lately", "once")


def rhythm_words(profiles: DataFrame) -> DataFrame:
    """One row per row of `profiles`: user_id, cut, rhythm, such as 'active weekly, high spend'.

    Spend is put into fifths of the same cut's spenders, so it takes all users of a cut, and nothing from after it.
    """
    fifths = F.expr("percentile(spend_112d, array(0.2D, 0.4D, 0.6D, 0.8D))")  # F.percentile's own frequency bars the GPU
    bounds = profiles.filter("spend_112d > 0").groupBy("cut").agg(fifths.alias("bounds"))
    spend = F.col("spend_112d")
    above = F.size(F.filter("bounds", lambda b: b <= spend))
    tier = F.element_at(F.array(*[F.lit(w) for w in SPEND_WORDS]), F.greatest(above, F.lit(0)) + 1)
    money = F.when(F.col("monetary").isNotNull(), F.when(spend > 0, tier).otherwise("no spend lately"))
    quiet = F.when((F.col("frequency") > 1) & (F.col("recency_over_gap") >= QUIET_GAPS), F.lit("quiet now"))
    joined = profiles.join(F.broadcast(bounds), "cut", "left")
    return joined.select("user_id", "cut", F.concat_ws(", ", _rhythm(), quiet, money).alias("rhythm"))


def plain_words(name: Column) -> Column:
    """The first words of a name in small letters, single blanks for punctuation: no word piece is spent on slashes."""
    return F.substring_index(F.trim(F.regexp_replace(F.lower(name), "[ /:&()_,;.#*+-]+", " ")), " ", LONGEST_NAME)


def _rhythm() -> Column:
    gap = F.col("mean_gap_days")
    words = F.lit("active rarely")
    for longest, word in reversed(RHYTHM_WORDS):
        words = F.when(gap <= longest, F.lit(f"active {word}")).otherwise(words)
    return F.when(F.col("frequency") == 0, "only looks").when(F.col("frequency") == 1, "came once").otherwise(words)


def _with_share(ranked: Column) -> Column:
    share = F.round(-ranked["minus_weight"] / F.nullif(F.col("whole"), F.lit(0.0)), 6)
    return F.struct(share.alias("share"), ranked["name"].alias("name"), plain_words(ranked["name"]).alias("words"))


def _is_told(words: Column) -> Column:
    return F.exists("top", lambda t: t["words"] == words) | F.array_contains("lately", words)


def _of_level(place: int) -> Column:
    least = SHARE_WORDS[place][1]
    most = SHARE_WORDS[place - 1][1] if place else 2.0
    chosen = F.filter("top", lambda t: (t["share"] >= least) & (t["share"] < most))
    return F.transform(chosen, lambda t: t["words"])


def _phrase(word: str, names: Column) -> Column:
    """'word a, b', or null when there is no name."""
    return F.when(F.size(names) > 0, F.concat(F.lit(f"{word} "), F.array_join(names, ", ")))
