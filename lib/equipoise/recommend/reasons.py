"""Why an item stands in a list, in words; every number in them is the row's own reason_value."""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column
from pyspark.sql import functions as F


def reason_text(as_of: date) -> Column:
    """The reason of a row with reason_code, reason_key, reason_value and bought (purchases among the counted events)."""
    value, key = F.col("reason_value"), F.col("reason_key")
    count = value.cast("bigint").cast("string")
    times = F.concat(count, F.when(value == 1, F.lit(" time")).otherwise(F.lit(" times")), F.lit(f" before {as_of.isoformat()}"))
    percent = F.concat(F.round(100 * value, 2).cast("decimal(12,2)").cast("string"), F.lit(" %"))
    cosine = F.round(value, 3).cast("decimal(6,3)").cast("string")
    only_bought = F.col("bought") == value.cast("bigint")
    words = {
        "bought_before": F.when(only_bought, F.concat(F.lit("Bought "), times)).otherwise(
            F.concat(F.lit("Bought, put in the cart, clicked or rated "), times)
        ),
        "looked_before": F.concat(F.lit("Looked at "), times),
        "same_users": F.concat(F.lit("Often had by the same users as "), key, F.lit(", which the user has: cosine "), cosine),
        "similar_text": F.concat(F.lit("Its text is close to the user's behaviour: cosine "), cosine),
        "popular_in_category": F.concat(
            F.lit("Popular in "), key, F.lit(", to which "), percent, F.lit(" of the list should go")
        ),
        "unseen_category": F.concat(
            F.lit("New to the user: "), key, F.lit(", expected with "), percent, F.lit(" of what comes next")
        ),
        "least_known": F.concat(
            F.lit("Least known to the user: "), key, F.lit(" with "), percent, F.lit(" of the behaviour so far")
        ),
    }
    code = F.col("reason_code")
    return F.coalesce(*[F.when(code == name, text) for name, text in words.items()])
