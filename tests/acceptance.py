"""Laws that must hold in any warehouse after the whole pipeline; each returns the rows that break it, as text."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from equipoise.store import Store
from equipoise.tables.vocabulary import KNOWING_EVENT_TYPES

REASON_TOLERANCE = 1e-4  # vectors are float32


class Laws:
    """The laws of one as-of date of one warehouse."""

    def __init__(self, store: Store, as_of: date, k: int, explore_slots: int) -> None:
        self.store, self.as_of, self.k, self.explore_slots = store, as_of, k, explore_slots
        self.events = store.read("silver.events").filter(F.col("event_date") < F.lit(as_of))

    def slice(self, name: str) -> DataFrame:
        return self.store.read(name).filter(F.col("as_of") == F.lit(self.as_of))

    def one_segment_row_per_user(self) -> list[str]:
        users = self.events.filter("event_type <> 'expose'").select("user_id").distinct()
        rows = self.slice("gold.user_segments")
        lost = users.join(rows, "user_id", "left_anti").count()
        extra = rows.join(users, "user_id", "left_anti").count()
        doubled = rows.count() - rows.select("user_id").distinct().count()
        return [f"{n} {what}" for n, what in ((lost, "users without"), (extra, "rows of nobody"), (doubled, "doubled")) if n]

    def probabilities_sum_to_one(self) -> list[str]:
        off = self.slice("gold.user_segments").filter("abs(p_o + p_interest + p_buy - 1) > 1e-6").count()
        return [f"{off} users whose probabilities do not sum to 1"] if off else []

    def target_shares_sum_to_one(self) -> list[str]:
        sums = self.slice("gold.user_interests").groupBy("user_id").agg(F.sum("target_share").alias("s"))
        off = sums.filter("abs(s - 1) > 1e-6").count()
        return [f"{off} users whose target shares do not sum to 1"] if off else []

    def lists_are_complete(self) -> list[str]:
        rows = self.slice("gold.recommendations")
        shape = rows.groupBy("user_id").agg(
            F.count("*").alias("rows"),
            F.countDistinct("item_id").alias("items"),
            F.min("rank").alias("first"),
            F.max("rank").alias("last"),
            F.countDistinct("rank").alias("ranks"),
            F.sum((F.col("slot") == "explore").cast("int")).alias("explore"),
        )
        k = self.k
        off = shape.filter(
            f"rows <> {k} OR items <> {k} OR first <> 1 OR last <> {k} OR ranks <> {k} OR explore <> {self.explore_slots}"
        )
        users = self.slice("gold.user_segments").select("user_id")
        lost = users.join(rows, "user_id", "left_anti").count()
        found = [f"{off.count()} users with a broken list, such as {off.first()}"] if off.count() else []
        return [*found, f"{lost} users without a list"] if lost else found

    def explored_categories_are_unseen(self) -> list[str]:
        knowing = self.events.filter(F.col("event_type").isin(*KNOWING_EVENT_TYPES))
        seen = knowing.join(self.store.read("silver.item_categories"), "item_id").select("user_id", "category").distinct()
        explored = self.slice("gold.recommendations").filter("slot = 'explore' AND reason_code <> 'least_known'")
        off = explored.join(seen, ["user_id", "category"], "left_semi").count()
        return [f"{off} explored categories that the user had seen"] if off else []

    def reasons_join(self) -> list[str]:
        columns = ("user_id", "rank", "item_id", "reason_code", "reason_key", "reason_value")
        rows = self.slice("gold.recommendations").select(*columns)
        found = []
        for code, truth in self._truths().items():
            mine = rows.filter(F.col("reason_code") == code)
            joined = mine.join(truth, [c for c in truth.columns if c != "true_value"], "left")
            wrong = F.col("true_value").isNull() | (F.abs(F.col("true_value") - F.col("reason_value")) > REASON_TOLERANCE)
            off = joined.filter(wrong)
            if off.count():
                found.append(f"{off.count()} of {mine.count()} reasons {code} without a true row, such as {off.first()}")
        other = rows.filter(~F.col("reason_code").isin(*self._truths())).count()
        return [*found, f"{other} rows with an unknown reason_code"] if other else found

    def _truths(self) -> dict[str, DataFrame]:
        interests = self.slice("gold.user_interests").withColumn("reason_key", F.col("category"))
        by_category = {
            code: interests.select("user_id", "reason_key", F.col(column).alias("true_value"))
            for code, column in (
                ("popular_in_category", "target_share"),
                ("unseen_category", "predicted_share"),
                ("least_known", "observed_share"),
            )
        }
        knowing = self.events.filter(F.col("event_type").isin(*KNOWING_EVENT_TYPES))
        times = F.count("*").cast("double").alias("true_value")
        bought = knowing.groupBy("user_id", F.col("item_id").alias("reason_key")).agg(times)
        looks = self.events.filter("event_type <> 'expose' AND item_id IS NOT NULL")
        looked = looks.groupBy("user_id", F.col("item_id").alias("reason_key")).agg(times)
        users = self.slice("feature.user_vectors").select("user_id", F.col("vector").alias("u"))
        items = self.store.read("feature.item_vectors").select(F.col("item_id").alias("reason_key"), F.col("vector").alias("i"))
        similar = self.slice("gold.recommendations").filter("reason_code = 'similar_text'")
        named = similar.select("user_id", "reason_key").distinct()
        dot = F.aggregate(F.zip_with("u", "i", lambda a, b: a.cast("double") * b), F.lit(0.0), lambda a, b: a + b)
        cosine = named.join(users, "user_id").join(items, "reason_key").select("user_id", "reason_key", dot.alias("true_value"))
        brought = self.slice("gold.user_item_values").withColumnRenamed("neighbour_id", "reason_key")
        pairs = brought.select("user_id", "item_id", "reason_key", F.col("similarity").alias("true_value"))
        shared = pairs.join(looked.select("user_id", "reason_key"), ["user_id", "reason_key"])
        return {**by_category, "bought_before": bought, "looked_before": looked, "same_users": shared, "similar_text": cosine}

    def relevance_is_the_value(self) -> list[str]:
        """relevance = p_next_trip ÷ the user's highest, 0 outside the candidates; every candidate's classes sum to 1."""
        values = self.slice("gold.user_item_values")
        best = values.groupBy("user_id").agg(F.max("p_next_trip").alias("best"))
        chances = values.select("user_id", "item_id", "p_next_trip").join(best, "user_id")
        truth = F.coalesce(F.col("p_next_trip") / F.nullif("best", F.lit(0.0)), F.lit(0.0))
        listed = self.slice("gold.recommendations").join(chances, ["user_id", "item_id"], "left")
        off = listed.filter(F.abs(F.col("relevance") - truth) > 1e-9).count()
        impossible = "abs(p_o + p_interest + p_buy - 1) > 1e-6 OR events < known_events OR known_events < purchases"
        sums = values.filter(impossible).count()
        return [f"{n} {what}" for n, what in ((off, "rows with another relevance"), (sums, "values that cannot be")) if n]

    def balance_names_one_weight(self) -> list[str]:
        rows = self.slice("gold.balance").orderBy("calibration").collect()
        chosen = [r["calibration"] for r in rows if r["chosen"]]
        out = [] if len(chosen) == 1 else [f"{len(chosen)} weights chosen, expected 1"]
        if not rows or rows[0]["calibration"] != 0.0 or rows[0]["accuracy_loss"] != 0.0:
            out.append("the first weight is not 0, or costs something")
        return out + [f"λ = {r['calibration']:g} gains accuracy" for r in rows if r["accuracy_loss"] < -1e-9]

    def feedback_is_of_lists(self) -> list[str]:
        """Every exposure counts once, is an event, and is a place of a list; only explore rows carry what was expected."""
        lists = self.store.read("gold.recommendations")
        unlogged = lists.filter("slot = 'exploit' AND expected_response IS NOT NULL").count()
        told = self.store.read("ops.feedback").withColumn("event_id", F.col("exposure_id"))
        twice = told.count() - told.select("as_of", "user_id", "item_id").distinct().count()
        shown = self.store.read("silver.events").filter("event_type = 'expose'")
        nowhere = told.join(shown, ["event_id", "user_id", "item_id"], "left_anti").count()
        unlisted = told.join(lists, ["as_of", "user_id", "item_id", "rank", "slot", "propensity"], "left_anti").count()
        found = ((unlogged, "exploit rows with a guess"), (twice, "places twice"), (nowhere, "exposures that are no events"))
        return [f"{n} {what}" for n, what in (*found, (unlisted, "exposures of no list")) if n]

    def migration_has_every_closed_window(self) -> list[str]:
        """One row per user and closed window since the origin with weight; nothing of a window that is still open."""
        moved = self.slice("gold.interest_migration")
        shares = self.store.read("feature.category_shares").filter(F.col("closed") & (F.col("window_end") <= F.lit(self.as_of)))
        since = moved.agg(F.min("window_start").alias("first"))
        expected = shares.select("user_id", "window_end").distinct().crossJoin(since).filter(F.col("window_end") > F.col("first"))
        key = ["user_id", "window_end"]
        lost = expected.join(moved, key, "left_anti").count()
        extra = moved.join(expected, key, "left_anti").count()
        open_ = moved.filter(F.col("window_end") > F.lit(self.as_of)).count()
        return [
            f"{n} {what}" for n, what in ((lost, "windows lost"), (extra, "windows of nothing"), (open_, "open windows")) if n
        ]

    def migration_has_its_evidence(self) -> list[str]:
        """migrated = drift above its band, known only where a band is; a category is gained, lost or returning, never two."""
        moved = self.slice("gold.interest_migration")
        off = moved.filter(
            "NOT (migrated <=> (drift_js_bits > noise_p95_bits + 1e-9)) OR (noise_p95_bits IS NULL) <> (noise_mean_bits IS NULL) "
            "OR (drift_js_bits IS NULL) <> (previous_start IS NULL) OR previous_start >= window_start OR drift_js_bits NOT "
            "BETWEEN 0 AND 1"
        ).count()
        twice = moved.filter(
            "size(array_distinct(concat(gained, lost, returning))) <> size(gained) + size(lost) + size(returning)"
        )
        turns = moved.filter("change_point").groupBy("user_id").count().filter("count > 1").count()
        wrong = ((off, "rows without evidence"), (twice.count(), "rows with a category twice"), (turns, "users who change twice"))
        return [f"{n} {what}" for n, what in wrong if n]

    def transitions_sum_to_one(self) -> list[str]:
        rows = self.slice("gold.category_transitions")
        sums = rows.groupBy("segment", "from_category").agg(F.sum("probability").alias("s"), F.sum("population_share").alias("p"))
        off = sums.filter("abs(s - 1) > 1e-6 OR abs(p - 1) > 1e-6")
        least = rows.filter("probability < 0 OR (users < 1 AND to_category <> '(rest)')").count()
        named = [f"{off.count()} rows of transitions that do not sum to 1, such as {off.first()}"] if off.count() else []
        return [*named, f"{least} transitions that nobody took"] if least else named

    def rows_are_conserved(self) -> list[str]:
        """rows in = silver.events + ops.quarantine, per input, from the newest ingest's own counts."""
        metrics = self.store.read("ops.quality_metrics").filter("metric IN ('rows_in', 'rows_good', 'rows_quarantined')")
        names = ["rows_in", "rows_good", "rows_quarantined"]
        wide = metrics.groupBy("run_id", "table_name").pivot("metric", names).agg(F.first("value"))
        off = wide.filter("rows_in <> rows_good + rows_quarantined").collect()
        return [f"{r['table_name']}: {r}" for r in off]

    def broken(self) -> dict[str, list[str]]:
        """Every broken law with its examples; empty when all hold."""
        laws = (
            self.one_segment_row_per_user,
            self.probabilities_sum_to_one,
            self.target_shares_sum_to_one,
            self.lists_are_complete,
            self.explored_categories_are_unseen,
            self.reasons_join,
            self.relevance_is_the_value,
            self.balance_names_one_weight,
            self.feedback_is_of_lists,
            self.migration_has_every_closed_window,
            self.migration_has_its_evidence,
            self.transitions_sum_to_one,
            self.rows_are_conserved,
        )
        results = {law.__name__: law() for law in laws}
        return {name: found for name, found in results.items() if found}
