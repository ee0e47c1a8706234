"""Which versions of which tables make one whole night, and the files beside the tables."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from equipoise.errors import ContractError
from equipoise.report.facts import Read
from equipoise.tables import CATALOGUE
from equipoise.tables.ops import PUBLISHED

JOBS = {
    "gold.item_rules": "mine_associations",
    "gold.user_interests": "score_users",
    "gold.user_segments": "segment_users",
    "gold.user_category_values": "segment_users",
    "gold.segment_transitions": "segment_users",
    "gold.segment_profiles": "segment_users",
    "gold.interest_migration": "track_migration",
    "gold.category_transitions": "track_migration",
    "gold.user_profiles": "profile_users",
    "gold.audiences": "build_audiences",
    "gold.audience_summary": "build_audiences",
    "gold.exploration_response": "collect_feedback",
    "gold.exploration_budgets": "collect_feedback",
    "gold.user_item_values": "value_items",
    "gold.balance": "recommend_items",
    "gold.policy_estimates": "recommend_items",
    "gold.rule_effects": "recommend_items",
    "gold.recommendations": "recommend_items",
}
"""Tables that a night must have, and the job that writes each."""

MAY_BE_EMPTY = frozenset(
    {"gold.category_transitions", "gold.rule_effects", "gold.item_rules", "gold.policy_estimates"}
    | {"gold.segment_transitions", "gold.audiences", "gold.audience_summary", "gold.evaluation"}
)
"""Where nobody was active in two windows running; where no rule took anything; where nobody was shown a list; in a first night
with little history: their jobs write another table that shows whether they ran. Where no campaign is planned; where nothing is
bought together: every chain ends before this job when those fail. Where the label window is not over: that is judged later."""

VIEWS_FILE = "views.sql"


def model_of_night(read: Read, as_of: date) -> str | None:
    """The one model behind a date's gold tables; None when no model had a part in them.

    Raises:
        ContractError: when a table lacks the date, or the tables come from different models: half a night is not published.
    """
    made: dict[str, str] = {}
    for table, job in JOBS.items():
        rows = read(table).filter(F.col("as_of") == F.lit(as_of)).groupBy("model_id").count().collect()
        if not rows and table not in MAY_BE_EMPTY:
            raise ContractError(
                f"{table} has no rows for {as_of}, so there is no whole night to publish; run {job} --as-of {as_of} first"
            )
        made |= {f"{r['model_id']}": table for r in rows if r["model_id"] is not None}
    if len(made) > 1:
        listed = ", ".join(f"{table}: model {model}" for model, table in sorted(made.items()))
        raise ContractError(
            f"the tables of {as_of} come from different models ({listed}); run {' and '.join(dict.fromkeys(JOBS.values()))} again"
        )
    return next(iter(made), None)


def versions(pinned: Mapping[str, int], read: Read, as_of: date) -> dict[str, int]:
    """The tables to publish: of the pinned ones, all that are not cut by date, those that hold the date, and those in which no
    row is an answer: a question asked of them gets none instead of an error."""
    held = {t: v for t, v in pinned.items() if "as_of" not in CATALOGUE[t].slice_by or t in MAY_BE_EMPTY}
    dated = {t: v for t, v in pinned.items() if t not in held}
    return held | {t: v for t, v in dated.items() if not read(t).filter(F.col("as_of") == F.lit(as_of)).isEmpty()}


def published_frame(spark: SparkSession, published: Mapping[str, int], as_of: date, run_id: str) -> DataFrame:
    """Rows of ops.published for one date."""
    rows = [(as_of, table, version, run_id) for table, version in sorted(published.items())]
    return spark.createDataFrame(rows, PUBLISHED.struct_type())


def with_earlier(published: DataFrame, mine: Mapping[str, int], as_of: date) -> list[tuple[date, str, int]]:
    """What ops.published will hold once this date is in it."""
    others = published.filter(F.col("as_of") != F.lit(as_of)).collect()
    earlier = [(r["as_of"], r["table_name"], int(r["version"])) for r in others]
    return earlier + [(as_of, table, version) for table, version in mine.items()]


def card_text(model_path: str | None) -> str | None:
    """MODEL_CARD.md of a model's folder, or None."""
    card = Path(model_path) / "MODEL_CARD.md" if model_path else None
    return card.read_text(encoding="utf-8") if card and card.is_file() else None


def training_log(logs: Path | None) -> str | None:
    """metrics.jsonl of a training's log folder, or None: logs may be cleared away, models live longer."""
    file = logs / "metrics.jsonl" if logs else None
    return file.read_text(encoding="utf-8") if file and file.is_file() else None
