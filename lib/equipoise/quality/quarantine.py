"""Rejected rows, kept whole, with no user id in the clear."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from equipoise.sources.canonical import RowJson

BETWEEN_TOKENS = r"[\s\"'`,;:|(){}\[\]<>=]"
TOKEN = r"[^\s\"'`,;:|(){}\[\]<>=]+"
"""What a user id may look like inside a line that could not be split: no blank, quote, bracket or usual separator."""


def quarantine_rows(checked: DataFrame, name: str, row_json: RowJson, known_users: DataFrame | None) -> DataFrame:
    """One row per rejected row: input, row_number, rules, row_json.

    A row whose fields are known has the pseudonym in its user field. In a line that could not be split, every word that is the
    id read from its user field or one of `known_users` (raw_user, user_id; None: there is no such line) is replaced by its
    pseudonym. An id that stands in no other row of the source and cannot be told from other words stays.
    """
    rejected = checked.filter("rejected")
    user = F.col("user_id") if "user_id" in checked.columns else F.lit(None).cast("string")
    rows = rejected.filter("line IS NULL").select(
        row_json(F.col("raw"), user).alias("row_json"), F.col("violations").alias("rules")
    )
    if known_users is not None:
        rows = rows.unionByName(_line_rows(rejected.filter("line IS NOT NULL"), known_users))
    order = Window.orderBy("row_json", _spoken_rules())
    return rows.select(
        F.lit(name).alias("input"), F.row_number().over(order).cast("bigint").alias("row_number"), "rules", "row_json"
    )


def _spoken_rules() -> Column:
    """Ids hold no blank; a list is nothing that a GPU sorts by."""
    return F.array_join("rules", " ")


def _line_rows(rejected: DataFrame, known_users: DataFrame) -> DataFrame:
    """row_json {"line": …} and rules of lines that could not be split."""
    has_user = "raw_user" in rejected.columns
    lines = rejected.select(
        (F.col("raw_user") if has_user else F.lit(None).cast("string")).alias("own_raw"),
        (F.col("user_id") if has_user else F.lit(None).cast("string")).alias("own_user"),
        "line",
        F.col("violations").alias("rules"),
    )
    several_words = F.col("own_raw").rlike(BETWEEN_TOKENS)
    hidden_phrase = F.when(several_words, F.replace("line", "own_raw", "own_user")).otherwise(F.col("line"))
    numbered = lines.withColumn("line", hidden_phrase).withColumn(
        "number", F.row_number().over(Window.orderBy("line", _spoken_rules(), "own_raw"))
    )
    words = F.posexplode(F.regexp_extract_all("line", F.lit(rf"({TOKEN}|[\s\S])"), F.lit(1)))
    pieces = numbered.select("number", "own_raw", "own_user", words.alias("position", "raw_user"))
    named = pieces.join(_matching(pieces, known_users), "raw_user", "left")
    own = F.when(F.col("raw_user") == F.col("own_raw"), F.col("own_user"))
    shown = named.withColumn("piece", F.coalesce(own, F.col("user_id"), F.col("raw_user")))
    rebuilt = shown.groupBy("number").agg(F.sort_array(F.collect_list(F.struct("position", "piece"))).alias("pieces"))
    joined = numbered.join(rebuilt, "number").withColumn("line", F.array_join(F.col("pieces.piece"), ""))
    return joined.select(F.to_json(F.struct("line")).alias("row_json"), "rules")


def _matching(pieces: DataFrame, known_users: DataFrame) -> DataFrame:
    """The known users whose id is a word of a line. Before the gate nobody knows how many lines there are: no hint."""
    return known_users.join(pieces.select("raw_user").distinct(), "raw_user", "left_semi").distinct()
