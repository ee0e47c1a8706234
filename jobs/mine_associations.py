"""Says what is bought together with what: gold.item_rules, for product types and for categories.

spark-submit --properties-file conf/spark/local.conf --load-spark-defaults \\
    jobs/mine_associations.py --settings conf/demo.toml --as-of 2017-11-06
"""

from __future__ import annotations

import json
from pathlib import Path

from pyspark.sql import functions as F

from equipoise.associations.baskets import categories, first_purchase, lines, product_types
from equipoise.associations.mine import Mining, as_frame, level_rules
from equipoise.associations.rules import Bounds
from equipoise.job import Context, Job, main
from equipoise.settings import Settings, chosen


def decisive(s: Settings, _: Path) -> dict[str, str]:
    """The one setting of the lists that baskets heed too."""
    return {"excluded": json.dumps(s.recommend.exclude_categories)}


JOB = Job(
    name="mine_associations",
    reads=("silver.events", "silver.items", "silver.item_categories"),
    writes=("gold.item_rules",),
    sections=("associations",),
    extra_inputs=decisive,
)


def run(ctx: Context) -> None:
    s, excluded = ctx.settings.associations, ctx.settings.recommend.exclude_categories
    mining, bounds = Mining(**chosen(s, Mining)), Bounds(**chosen(s, Bounds))
    events = ctx.read("silver.events").filter(F.col("event_date") < F.lit(ctx.as_of))
    items = ctx.read("silver.items")
    bought = first_purchase(events)
    named = {
        "product_type": product_types(items, excluded),
        "category": categories(items, ctx.read("silver.item_categories"), excluded),
    }
    found = {
        level: level_rules(lines(events, names, as_of=ctx.as_of, days=s.days, bought=bought), level, mining, bounds, ctx.say)
        for level, names in named.items()
    }
    ctx.replace("gold.item_rules", as_frame(found, events), {"as_of": ctx.as_of})


if __name__ == "__main__":
    main(JOB, run)
