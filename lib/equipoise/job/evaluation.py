"""From the settings of evaluate_models to its protocol, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

from equipoise.evaluate.protocol import Protocol
from equipoise.features.cuts import cut_dates
from equipoise.recommend.lists import Policy
from equipoise.recommend.rules import Rules
from equipoise.recommend.table import Popularity
from equipoise.settings import Settings, chosen


def protocol(s: Settings, as_of: date, figures: Mapping[str, float], priced: tuple[float, dict[float, float]]) -> Protocol:
    """The settings as plain values; `figures` of the published model say which prior it began with, `priced`: see `prices`."""
    label_days, r = max(s.windows.days, s.segments.horizon_days), s.recommend
    return Protocol(
        as_of=as_of, window_days=s.windows.days, has_amounts=s.source.has_amounts,
        labels_until=s.evaluate.labels_until or as_of + timedelta(days=label_days),
        training_cuts=tuple(cut_dates(s.windows.origin, s.windows.days, as_of, s.training.training_cuts, label_days).train),
        prior=(figures.get("prior_dirichlet", s.interests.dirichlet), figures.get("prior_sharpening", s.interests.sharpening)),
        excluded=s.evaluate.exclude_categories, policy=Policy(**{**chosen(r, Policy), "as_of": as_of, "calibration": priced[0]}),
        popularity=Popularity(**chosen(s.interests, Popularity)), rules=Rules(**chosen(r, Rules)),
        seed=r.seed, foretold=priced[1], response_days=s.audiences.response_days,
        **s.segments.model_dump(include={"ladder", "horizon_days"}),
        **s.evaluate.model_dump(include={"frontier", "resamples", "floors"}),
    )  # fmt: skip
